"""The state of a zone: the minute grid, ten-minute panes of it, and the progress of each cadence."""
