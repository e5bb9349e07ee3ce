"""The sensors that start runs for missing history, and the run requests they make. Called by `definitions`."""
