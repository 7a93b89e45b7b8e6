"""What a fuzz target is: a parser of foreign bytes under its invariants, and inputs to begin with."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

Check = Callable[[bytes], None]


class Target(NamedTuple):
    """One parser. `check` raises for an input that shows a mistake, and for no other."""

    name: str
    check: Check
    #: Inputs that are parsed to their end: others are made of them.
    seeds: tuple[bytes, ...]
    #: What means something to the parser.
    tokens: tuple[bytes, ...]


#: All of them, by name.
TARGETS: dict[str, Target] = {}


def target(*seeds: bytes, tokens: tuple[bytes, ...] = ()) -> Callable[[Check], Check]:
    """Register a function as a target, under its name."""

    def register(check: Check) -> Check:
        name = check.__name__
        TARGETS[name] = Target(name, check, seeds, tokens)
        return check

    return register


def split(data: bytes, separator: bytes = b"\n") -> tuple[bytes, bytes]:
    """Two inputs in one."""
    first, _, rest = data.partition(separator)
    return first, rest


def number(data: bytes) -> tuple[int, bytes]:
    """A small number, and the rest."""
    return (data[0], data[1:]) if data else (0, b"")
