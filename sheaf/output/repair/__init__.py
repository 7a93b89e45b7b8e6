"""Checking an output against its index and its runs, and bringing them back in step."""
