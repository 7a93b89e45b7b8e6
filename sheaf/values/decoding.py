"""Rebuild a value node by node, each from the nodes before it.

Lists, dicts and objects are created empty and then filled, so that cycles can close. One that refers to something that
cannot exist empty, such as a tuple further on, is filled at the end.
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
#: The default hash, which looks at no part of the object.
_BY_IDENTITY: Any = object.__hash__


class NotYet(Exception):
    """A node was needed before its turn, and it cannot be created empty."""


class Decoding:
    """The state of decoding one message."""

    def __init__(self, message: Message, resolver: Resolver, references: Sequence[Reference], limits: Limits) -> None:
        self.resolver = resolver
        self.references = references
        self.limits = limits
        #: Classes already found to be the program's own, and to consist of their attributes only.
        self.simple_classes: set[type] = set()
        self._root, self._nodes, self._targets = structure.check(message.json, limits)
        self._frames: list[memoryview | None] = list(message.frames)
        #: Nodes that are filled after all others exist, in order.
        self._late: dict[int, None] = {}
        self._made: list[Any] = [_UNMADE] * len(self._nodes)
        #: For each node built so far, how many parts hashing it may visit.
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
                raise ValueUnreadable("the message is damaged: a node contains itself where that is impossible")
        return self.value(self._root)

    def value(self, cell: Cell) -> Any:
        """Return what a cell stands for. Raises NotYet."""
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
        """Return what a cell stands for, if it is of exactly this type. Raises ValueUnreadable, NotYet."""
        value = self.value(cell)
        if type(value) is not kind:
            raise ValueUnreadable(f"the message is damaged: expected a {kind.__name__}, found a {type(value).__name__}")
        return value

    def filled(self, cell: Cell, kind: type) -> Any:
        """Like expect(), for a value that is copied from: it and its parts must already be filled. Raises NotYet."""
        if type(cell) is list and type(cell[0]) is int:
            number = cell[0]
            if number >= len(self._weights) or (
                self._late and (number in self._late or any(target in self._late for target in self._targets[number]))
            ):
                raise NotYet
        return self.expect(cell, kind)

    def frame(self, number: Cell) -> memoryview:
        """Return a frame, once: if nodes could share it, a small message could expand to a large value."""
        frame = self._frames[number] if type(number) is int and 0 <= number < len(self._frames) else None
        if frame is None:
            raise ValueUnreadable(f"the message is damaged: frame {number!r} does not exist or belongs to another node")
        self._frames[number] = None
        return frame

    def will_hash(self, cells: Sequence[Cell]) -> None:
        """Account for the work of hashing these. Raises ValueUnreadable beyond the limit, NotYet in a cycle."""
        weights = self._weights
        for cell in cells:
            if type(cell) is list and type(cell[0]) is int:
                if cell[0] >= len(weights):
                    raise NotYet  # its hash may depend on attributes that it does not have yet
                self._hashed_parts += weights[cell[0]]
        if self._hashed_parts > self.limits.hashed_parts:
            raise ValueUnreadable(
                f"hashing the value's keys and set members would visit more than {self.limits.hashed_parts:,} parts, "
                "the limit"
            )

    def _build(self, number: int, node: list[Any]) -> bool:
        """Create a node and fill it. Returns False if filling has to wait until all nodes exist."""
        kind = self._kind(node)
        try:
            if self._made[number] is _UNMADE:
                self._made[number] = kind.make(self, node)
            if kind.fill is not None:
                kind.fill(self, self._made[number], node)
        except NotYet:
            if kind.fill is not None and self._made[number] is not _UNMADE:
                return False
            raise ValueUnreadable(f"the message is damaged: the {node[0]} refers to a later node") from None
        except ValueUnreadable:
            raise
        except Exception as error:
            raise ValueUnreadable(
                f"the {node[0][:40]} could not be rebuilt: {type(error).__name__}: {str(error)[:200]}"
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
        """Return how many parts hashing a node may visit."""
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
                f"the message has the tag {node[0][:40]!r}, which this version of Sheaf does not know; "
                "run the same version on both sides"
            )
        return kind
