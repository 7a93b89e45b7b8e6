"""What is not copied but referred to: locks, queues, ends of pipes, proxies. The caller says how each is named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Reference:
    """A class whose objects travel by name: `describe` gives what `rebuild` makes the same object of elsewhere.

    Subclasses travel the same way, as what the class is. What `describe` returns may be any value that can be sent;
    what it raises is reported with the object's place. `rebuild` is called with whatever came: it has to check it.
    """

    #: The word in the message, of the same meaning on both sides.
    tag: str
    kind: type
    describe: Callable[[Any], Any]
    rebuild: Callable[[Any], Any]


def reference_for(kind: type, references: Sequence[Reference]) -> Reference | None:
    """The reference for objects of a class: that of the nearest class it derives from."""
    known = {reference.kind: reference for reference in references}
    return next((known[base] for base in kind.__mro__ if base in known), None)
