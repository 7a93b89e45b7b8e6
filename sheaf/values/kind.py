"""What a kind of object is, and the two tables that sheaf/values/kinds fills: how each is written, and how it is made.

(The first argument of all these functions is the `Encoding` or the `Decoding` that calls them.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

#: A number, text, truth value or None; or a list of one part: a node's number, or plain JSON.
Cell = Any
Node = list[Any]
#: Writes an object as a node; None: it is plain and stays as it is.
Writer = Callable[[Any, Any], Node | None]
Maker = Callable[[Any, Node], Any]


class Kind(NamedTuple):
    """How a node becomes an object."""

    make: Maker
    #: Puts into it what it holds; None if `make` does it. It takes all of that before it changes anything.
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
    """Register a function as what makes the objects of tags, complete."""

    def register(make: Maker) -> Maker:
        kinds.update(dict.fromkeys(tags, Kind(make)))
        return make

    return register
