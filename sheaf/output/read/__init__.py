"""Reading an output by its index: progress, failures, single records, and all of them in order."""
