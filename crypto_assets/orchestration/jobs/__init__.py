"""Jobs and their schedules: over assets, refresh, rollback, replaced files. Called by `definitions`."""
