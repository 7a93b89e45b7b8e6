"""Following a run to its end, on a terminal or in a log."""
