"""The state of a zone: the minute grid, its ten-minute panes, the progress of each cadence, and records."""
