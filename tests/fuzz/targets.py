"""Every parser of foreign bytes."""

from __future__ import annotations

from tests.fuzz import answers, bodies, lists, values, volume
from tests.fuzz.target import TARGETS

__all__ = ["TARGETS", "answers", "bodies", "lists", "values", "volume"]
