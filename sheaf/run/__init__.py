"""A run on the volume: its items, its manifest, and where runs are found."""
