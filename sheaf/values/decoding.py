"""A value put together: node by node, each made of those before it.

A list, dict or object is made empty and then filled, so that those inside it may hold it, too. One that holds what
cannot be made empty, such as a tuple that is not there yet, is filled at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sheaf.core.errors import ValueUnreadable
from sheaf.values import structure
from sheaf.values.container import Message
from sheaf.values.kind import Cell, Kind, kinds
from sheaf.values.limits import Limits
from sheaf.values.references import Reference
from sheaf.values.resolver import Resolver

_UNMADE: Any = object()
#: The hash of objects whose class has none of its own: it looks at no part of them.
_BY_IDENTITY: Any = object.__hash__


class NotYet(Exception):
    """A node is needed whose turn has not come, and of which there is no empty form."""


class Decoding:
    """One message on its way to a value."""

    def __init__(self, message: Message, resolver: Resolver, references: Sequence[Reference], limits: Limits) -> None:
        self.resolver = resolver
        self.references = references
        self.limits = limits
        #: Classes that were found to be the program's, of objects that are their attributes.
        self.simple_classes: set[type] = set()
        self._root, self._nodes, self._targets = structure.check(message.json, limits)
        self._frames: list[memoryview | None] = list(message.frames)
        #: Nodes that wait to be filled until all others are made, in their order.
        self._late: dict[int, None] = {}
        self._made: list[Any] = [_UNMADE] * len(self._nodes)
        #: How many parts are looked at when the node's hash is taken.
        self._weights: list[int] = []
        self._hashed_parts = 0

    def run(self) -> Any:
        """Raises ValueUnreadable."""
        targets, weights = self._targets, self._weights
        for number, node in enumerate(self._nodes):
            if not self._build(number, node):
                self._late[number] = None
            weights.append(self._weight(number) if targets[number] else 1 + len(node) // 8)
        for number in list(self._late):
            del self._late[number]
            if not self._build(number, self._nodes[number]):
                raise ValueUnreadable("the message is damaged: a node holds itself where that cannot be")
        return self.value(self._root)

    def value(self, cell: Cell) -> Any:
        """What a cell represents. Raises NotYet."""
        if type(cell) is not list:
            return cell
        target = cell[0]
        if type(target) is not int:
            return target
        made = self._made[target]
        return made if made is not _UNMADE else self._make_early(target)

    def values(self, cells: Sequence[Cell]) -> list[Any]:
        return [cell if type(cell) is not list else self.value(cell) for cell in cells]

    def expect(self, cell: Cell, kind: type) -> Any:
        """What a cell represents, which has to be of exactly this type."""
        value = self.value(cell)
        if type(value) is not kind:
            raise ValueUnreadable(f"the message is damaged: {type(value).__name__} where a {kind.__name__} should be")
        return value

    def filled(self, cell: Cell, kind: type) -> Any:
        """The same for what is copied from, so that it has to be filled already, and what it holds. Raises NotYet."""
        if type(cell) is list and type(cell[0]) is int:
            number = cell[0]
            if number >= len(self._weights) or (
                self._late and (number in self._late or any(target in self._late for target in self._targets[number]))
            ):
                raise NotYet
        return self.expect(cell, kind)

    def frame(self, number: Cell) -> memoryview:
        """The bytes of a frame, each of which belongs to one node: else few bytes would make many."""
        frame = self._frames[number] if type(number) is int and 0 <= number < len(self._frames) else None
        if frame is None:
            raise ValueUnreadable(f"the message is damaged: the frame {number!r} is not there, or belongs to another")
        self._frames[number] = None
        return frame

    def will_hash(self, cells: Sequence[Cell]) -> None:
        """Count what it takes to use these as keys. Raises ValueUnreadable if it is too much, or NotYet."""
        weights = self._weights
        for cell in cells:
            if type(cell) is list and type(cell[0]) is int:
                if cell[0] >= len(weights):
                    raise NotYet  # in a circle: its hash may depend on what it does not hold yet
                self._hashed_parts += weights[cell[0]]
        if self._hashed_parts > self.limits.hashed_parts:
            raise ValueUnreadable(
                f"the keys and members of sets have more than {self.limits.hashed_parts:,} parts, which is more than "
                "is accepted"
            )

    def _build(self, number: int, node: list[Any]) -> bool:
        """Make a node and fill it. False: it has to wait until all are made."""
        kind = self._kind(node)
        try:
            if self._made[number] is _UNMADE:
                self._made[number] = kind.make(self, node)
            if kind.fill is not None:
                kind.fill(self, self._made[number], node)
        except NotYet:
            if kind.fill is not None and self._made[number] is not _UNMADE:
                return False
            raise ValueUnreadable(f"the message is damaged: a {node[0]} needs what comes after it") from None
        except ValueUnreadable:
            raise
        except Exception as error:
            raise ValueUnreadable(
                f"a {node[0][:40]} cannot be rebuilt from what came: {type(error).__name__}: {str(error)[:200]}"
            ) from error
        return True

    def _make_early(self, number: int) -> Any:
        node = self._nodes[number]
        kind = self._kind(node)
        if kind.fill is None:
            raise NotYet
        made = self._made[number] = kind.make(self, node)
        return made

    def _weight(self, number: int) -> int:
        """How many parts are looked at to take the hash of a node, at most."""
        weights = self._weights
        parts = 1 + len(self._nodes[number]) // 8
        if type(self._made[number]).__hash__ is not _BY_IDENTITY:
            parts += sum([weights[target] for target in self._targets[number] if target < number])
        return parts

    @staticmethod
    def _kind(node: list[Any]) -> Kind:
        kind = kinds.get(node[0])
        if kind is None:
            raise ValueUnreadable(
                f"the message has a {node[0][:40]!r}, which this version of Sheaf does not know; "
                "have both sides run the same version"
            )
        return kind
