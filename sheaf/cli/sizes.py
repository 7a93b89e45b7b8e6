"""Sizes as people type them."""

from __future__ import annotations

import re

import click

_SIZE = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[kmg]?)(?P<binary>i?)b?", re.IGNORECASE)
_UNITS = {"": 0, "k": 1, "m": 2, "g": 3}


def size(text: str) -> int:
    """Read `500000`, `500k`, `16M` or `16MiB`: with an i binary, without it decimal. Raises click.BadParameter."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise click.BadParameter(f"{text!r} is not a size; write it as 500k, 16M or 16MiB")
    base = 1024 if match["binary"] else 1000
    return int(float(match["number"]) * base ** _UNITS[match["unit"].lower()])
