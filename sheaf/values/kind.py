"""What a kind of object is, and the two registries that sheaf/values/kinds fills: writers by type, kinds by tag.

The first argument of every writer is the `Encoding`, that of every maker the `Decoding`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

#: A string, number, boolean or None; or a list of one element: a node's number, or plain JSON.
Cell = Any
Node = list[Any]
#: Turns an object into a node; None: it is plain JSON and stays as it is.
Writer = Callable[[Any, Any], Node | None]
Maker = Callable[[Any, Node], Any]


class Kind(NamedTuple):
    """How a node becomes an object."""

    make: Maker
    #: Fills in the contents; None if `make` does. It resolves all of them before it changes anything.
    fill: Callable[[Any, Any, Node], None] | None = None


#: By tag.
kinds: dict[str, Kind] = {}
#: By exact type.
writers: dict[type, Writer] = {}


def writes(*types: type) -> Callable[[Writer], Writer]:
    """Register a function as the writer of types."""

    def register(write: Writer) -> Writer:
        writers.update(dict.fromkeys(types, write))
        return write

    return register


def makes(*tags: str) -> Callable[[Maker], Maker]:
    """Register a function that creates complete objects from nodes of these tags."""

    def register(make: Maker) -> Maker:
        kinds.update(dict.fromkeys(tags, Kind(make)))
        return make

    return register
