"""A task to begin with: `sheaf map sample:word_count README.md -o words.jsonl`."""

from __future__ import annotations


def word_count(line: str) -> int:
    """Count the words of one line."""
    return len(line.split())
