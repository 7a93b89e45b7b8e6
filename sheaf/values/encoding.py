"""Take a value apart: each object that is more than plain JSON becomes a node, which refers to others by number.

A node is `[tag, cell, cell, …]`. A cell is a string, number, boolean or null; `[7]`, a reference to node 7; or `[x]`, a
list or dict `x` of plain JSON, inline. Except in cycles, nodes follow those they refer to.

Most values contain no object twice, no lone surrogate and no integer beyond 64 bits. So the first attempt leaves plain
lists and dicts as they are and does not look at strings and integers. If that fails, a second, careful attempt turns
every list and dict into a node and checks every scalar.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sheaf.core.errors import ValueNotSendable
from sheaf.values.kind import Cell, Writer, writers
from sheaf.values.limits import Limits
from sheaf.values.references import Reference, reference_for
from sheaf.values.resolver import Resolver

_SCALARS = {str, int, bool, float, type(None)}
_INT64 = range(-(1 << 63), 1 << 64)


class NotPlain(Exception):
    """An object inside plain JSON occurs twice, so the quick attempt fails."""


class Unsendable(Exception):
    """Something cannot be sent: why, and what to do instead. Collects the path to it while it propagates."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why
        self._steps: list[str] = []

    def at(self, step: str) -> None:
        self._steps.append(step)

    def error(self, label: str) -> ValueNotSendable:
        place = label + "".join(reversed(self._steps))
        return ValueNotSendable(f"{place if len(place) <= 300 else f'{place[:300]}…'}: {self.why}")


class Encoding:
    """The state of encoding one value."""

    def __init__(
        self,
        resolver: Resolver,
        references: Sequence[Reference],
        limits: Limits,
        writer_for: Callable[[type], Writer],
        *,
        careful: bool = False,
    ) -> None:
        self.resolver = resolver
        self.references = references
        self.limits = limits
        self.nodes: list[list[Any]] = []
        self.frames: list[memoryview] = []
        self._careful = careful
        self._writer_for = writer_for
        self._cells: dict[int, list[Any]] = {}
        #: Temporary objects, kept alive so that their ids are not reused.
        self._kept: list[Any] = []
        self._depth = 0
        self._writers: dict[type, Writer] = {}
        self._numbers: dict[str, Cell] = {}

    def cell(self, value: Any) -> Cell:
        """Return what stands for a value in a node. Raises Unsendable."""
        kind = type(value)
        if kind in _SCALARS:
            return self._scalar(kind, value) if self._careful or kind is float else value
        known = self._cells.get(id(value))
        if known is not None:
            if type(known[0]) is not int:
                raise NotPlain
            return known
        known = self._cells[id(value)] = [-1]
        self._depth += 1
        if self._depth > self.limits.depth:
            raise Unsendable(
                f"values nested more than {self.limits.depth} levels deep cannot be sent; send a flat list instead"
            )
        if kind is list:
            node = self._list(value)
        elif kind is dict:
            node = self._dict(value)
        else:
            writer = self._writers.get(kind)
            node = (writer or self._find_writer(kind))(self, value)
        self._depth -= 1
        if node is None:
            known[0] = value
        else:
            known[0] = len(self.nodes)
            self.nodes.append(node)
        return known

    def cells(self, values: Iterable[Any]) -> list[Cell]:
        """Return the cells of a sequence; errors name the index."""
        found: list[Cell] = []
        try:
            for value in values:
                found.append(self.cell(value))  # noqa: PERF401  the length is the index of what failed
        except Unsendable as error:
            error.at(f"[{len(found)}]")
            raise
        return found

    def members(self, values: Iterable[Any]) -> list[Cell]:
        """Return the cells of a set, whose members have no index."""
        try:
            return [self.cell(value) for value in values]
        except Unsendable as error:
            error.at("{…}")
            raise

    def pairs(self, value: dict[Any, Any]) -> list[Cell]:
        """Return the cells of a dict: key, value, key, value."""
        found: list[Cell] = []
        for key, part in value.items():
            try:
                found.append(key if type(key) is str and not self._careful else self._key(key))
                found.append(self.cell(part))
            except Unsendable as error:
                if len(found) % 2:
                    error.at(f"[{_shown(key)}]")
                raise
        return found

    def attributes(self, values: dict[str, Any]) -> list[Cell]:
        """Return the cells of an object's attributes: name, value, name, value."""
        found: list[Cell] = []
        for name, part in values.items():
            try:
                found += (self.cell(name), self.cell(part))
            except Unsendable as error:
                error.at(f".{name}")
                raise
        return found

    def attribute_dict(self, values: dict[str, Any]) -> Cell:
        """Return the cell of a dict of attributes."""
        return self.inline(values) or self._node(["dict", *self.attributes(values)])

    def part(self, value: Any, step: str) -> Cell:
        """Return the cell of one part; errors name it as `step`."""
        try:
            return self.cell(value)
        except Unsendable as error:
            error.at(step)
            raise

    def temporary(self, value: Any) -> Any:
        """Keep a temporary object alive until the value is encoded."""
        self._kept.append(value)
        return value

    def inline(self, value: dict[str, Any]) -> Cell | None:
        """Return the inline cell of a dict with string keys, or None if its values are not all plain scalars."""
        return [value] if not self._careful and _are_leaves(value.values()) else None

    def remember(self, kind: type, writer: Writer) -> None:
        """Use this writer for all further objects of a type."""
        self._writers[kind] = writer

    def frame(self, data: Any) -> int:
        """Add a frame; return its number."""
        view = memoryview(data)
        self.frames.append(view if view.contiguous and view.format == "B" else memoryview(view.tobytes()))
        return len(self.frames) - 1

    def apart(self) -> Encoding:
        """Return a new encoding with the same options, for a trial that may fail."""
        return Encoding(self.resolver, self.references, self.limits, self._writer_for, careful=True)

    def _key(self, key: Any) -> Cell:
        try:
            return self.cell(key)
        except Unsendable as error:
            error.at(f" (the key {_shown(key)})")
            raise

    def _list(self, value: list[Any]) -> list[Any] | None:
        """Return the node of a list, or None if all of it is plain JSON."""
        if self._careful:
            return ["list", *self.cells(value)]
        if _are_leaves(value):
            return None
        cells = self.cells(value)
        return None if _all_plain(cells) else ["list", *cells]

    def _dict(self, value: dict[Any, Any]) -> list[Any] | None:
        if self._careful:
            return ["dict", *self.pairs(value)]
        if _are_leaves(value.values()) and _all_texts(value):
            return None
        cells = self.pairs(value)
        return None if _all_plain(cells) and _all_texts(value) else ["dict", *cells]

    def _scalar(self, kind: type, value: Any) -> Cell:
        """Return the cell of a float, or, in the careful attempt, of any scalar."""
        if kind is float:
            if math.isfinite(value):
                return value
            return self._number("nan" if math.isnan(value) else "inf" if value > 0 else "-inf")
        if kind is int and value not in _INT64:
            if value.bit_length() > self.limits.integer_bits:
                raise Unsendable(f"an integer of {value.bit_length():,} bits cannot be sent; send it as bytes")
            return self._node(["int", hex(value)])
        if kind is str and not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                return self._node(["text", self.frame(value.encode("utf-8", "surrogatepass"))])
        return value

    def _number(self, text: str) -> Cell:
        if text not in self._numbers:
            self._numbers[text] = self._node(["float", text])
        return self._numbers[text]

    def _node(self, node: list[Any]) -> Cell:
        self.nodes.append(node)
        return [len(self.nodes) - 1]

    def _find_writer(self, kind: type) -> Writer:
        """Look up the writer of a type, once per message."""
        writer = writers.get(kind) if not self.references else None
        if writer is None:
            reference = reference_for(kind, self.references) if self.references else None
            writer = self._writer_for(kind) if reference is None else _refers(reference)
        self._writers[kind] = writer
        return writer


def _refers(reference: Reference) -> Writer:
    def write(encoding: Encoding, value: Any) -> list[Any]:
        try:
            described = reference.describe(value)
        except Unsendable:
            raise
        except Exception as error:
            raise Unsendable(f"{_article(type(value).__name__)} cannot be sent: {error}") from error
        return ["reference", reference.tag, encoding.cell(encoding.temporary(described))]

    return write


def _are_leaves(values: Any) -> bool:
    """Whether all are scalars that JSON can hold; strings and integers are only checked by orjson."""
    kinds = set(map(type, values))
    if not kinds <= _SCALARS:
        return False
    if float not in kinds or (len(kinds) == 1 and math.isfinite(sum(values))):
        return True
    # For infinities and NaN the difference is NaN.
    return not [value for value in values if type(value) is float and value - value != 0.0]


def _all_texts(keys: Any) -> bool:
    return set(map(type, keys)) <= {str}


def _all_plain(cells: Sequence[Cell]) -> bool:
    return not any(type(cell) is list and type(cell[0]) is int for cell in cells)


def _shown(key: Any) -> str:
    """Return how a key is shown in a path. Only the repr of built-in types is asked for."""
    if type(key) in (str, int, bytes, bool, float, type(None)):
        text = repr(key)
        return text if len(text) <= 60 else f"{text[:60]}…"
    return f"<{type(key).__name__}>"


def _article(name: str) -> str:
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"
