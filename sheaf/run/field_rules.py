"""What the fields of a run's description may hold. A field names its rule beside its default, as its metadata."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

#: What SQLite can count.
_LARGEST_NUMBER = 2**63 - 1
#: Seconds beyond which adding to them would overflow.
_LONGEST_S = 1e9
_KEY = "rule"


class Rule(NamedTuple):
    """Whether a value is valid in a field, and what should be there, for a person."""

    allows: Callable[[Any], bool]
    wanted: str


def rule(allows: Callable[[Any], bool], wanted: str) -> Mapping[str, Rule]:
    """The metadata of a field: `items: int = field(metadata=rule(…))`."""
    return {_KEY: Rule(allows, wanted)}


def rule_of(field: dataclasses.Field[Any]) -> Rule:
    found: Rule = field.metadata[_KEY]
    return found


def whole(least: int = 0, most: int = _LARGEST_NUMBER) -> Mapping[str, Rule]:
    """Metadata of a field that holds a whole number."""
    upper = f" to {most:,}" if most <= 2**24 else " on"
    return rule(lambda value: is_whole(value, least, most), f"a whole number from {least}{upper}")


def is_whole(value: object, least: int = 0, most: int = _LARGEST_NUMBER) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _is_text(value: object) -> bool:
    """A text that can be written to a terminal, a database and a file's name; names may hold odd bytes of those."""
    if not isinstance(value, str):
        return False
    try:
        os.fsencode(value)
    except UnicodeEncodeError:
        return False
    return True


def _is_seconds(value: object) -> bool:
    # The comparison is false for NaN, too.
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= _LONGEST_S


def _is_range(value: object) -> bool:
    if not isinstance(value, tuple) or len(value) != 3:
        return False
    return all(isinstance(part, int) and not isinstance(part, bool) for part in value) and value[2] != 0


def _is_texts(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_text, value)) and all(map(_is_text, value.values()))


TEXT = rule(_is_text, "a text")
TEXT_OR_NULL = rule(lambda value: value is None or _is_text(value), "null or a text")
TASK_NAME = rule(lambda value: _is_text(value) and value != "", "the name of a task")
OBJECT = rule(lambda value: isinstance(value, dict), "an object")
TEXTS = rule(_is_texts, "an object of texts")
SECONDS_OR_NULL = rule(lambda value: value is None or _is_seconds(value), "null or a positive number of seconds")
RANGE_OR_NULL = rule(
    lambda value: value is None or _is_range(value), "null or three whole numbers, the last of them not 0"
)
TRUTH = rule(lambda value: isinstance(value, bool), "true or false")
