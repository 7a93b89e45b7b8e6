"""Sheaf: many workers, one file, every result exactly once."""

__version__ = "0.1.0"
