"""The producer: turns a list of items into a run."""
