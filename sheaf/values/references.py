"""Objects that are sent by reference instead of being copied: locks, queues, pipe ends, proxies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Reference:
    """A class whose objects are sent by reference: `rebuild` gets what `describe` returned, and opens the same object.

    Subclasses are sent as instances of the class. `describe` may return anything that can be sent; an exception that it
    raises becomes an error that names the object's path. `rebuild` has to validate its argument, which may be forged.
    """

    #: The name of the class in messages, the same on both sides.
    tag: str
    kind: type
    describe: Callable[[Any], Any]
    rebuild: Callable[[Any], Any]


def reference_for(kind: type, references: Sequence[Reference]) -> Reference | None:
    """Return the reference for a class or its nearest base that has one."""
    known = {reference.kind: reference for reference in references}
    return next((known[base] for base in kind.__mro__ if base in known), None)
