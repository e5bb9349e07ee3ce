"""The sensors that have missing history asked for, and the run requests they make. Called by `definitions`."""
