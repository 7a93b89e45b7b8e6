"""Inspect an Arrow IPC stream before a library reads it: its messages fit, and no batch is compressed.

A reader would decompress a batch to whatever size the stream claims. Sheaf writes no compressed streams, so such a one
is forged. The contents of the buffers are checked afterwards, by `Table.validate(full=True)`.

A message is 0xFFFFFFFF, the length of its header, the header (a flatbuffer), and a body. The fields numbered here are
those of the tables in "Columnar format" at arrow.apache.org.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from sheaf.core.errors import ValueUnreadable

_CONTINUES = 0xFFFFFFFF
#: Header types, and the fields of Message, DictionaryBatch and RecordBatch that are read.
_SCHEMA, _DICTIONARY, _BATCH = 1, 2, 3
_HEADER_TYPE, _HEADER, _BODY_LENGTH = 1, 2, 3
_DICTIONARY_DATA, _ROWS, _ARRAYS, _COMPRESSION = 1, 0, 1, 3
#: Of a FieldNode: the length of an array, and its null count.
_ARRAY_BYTES = 16


class _Table(NamedTuple):
    """A table of a flatbuffer, whose fields are found through its vtable."""

    data: memoryview
    place: int

    def at(self, field: int) -> int:
        """Return the position of a field; 0 if it is not set."""
        vtable = self.place - _number(self.data, "<i", self.place)
        size = _number(self.data, "<H", vtable)
        offset = _number(self.data, "<H", vtable + 4 + 2 * field) if 4 + 2 * field < size else 0
        return self.place + offset if offset else 0

    def table(self, field: int) -> _Table:
        place = self.at(field)
        if not place:
            raise _damaged()
        return _Table(self.data, place + _number(self.data, "<I", place))


def _number(data: memoryview, form: str, place: int) -> int:
    if place < 0:
        raise _damaged()
    try:
        return int(struct.unpack_from(form, data, place)[0])
    except struct.error:
        raise _damaged() from None


def check(stream: memoryview) -> int:
    """Return the total length that its arrays claim. Raises ValueUnreadable unless all messages fit."""
    place, values = 0, 0
    while place < stream.nbytes:
        length = _number(stream, "<I", place)
        place += 4
        if length == _CONTINUES:
            length = _number(stream, "<I", place)
            place += 4
        if length == 0:
            break
        if length > stream.nbytes - place:
            raise _damaged()
        body, more = _look(stream[place : place + length])
        values += more
        place += length
        if not 0 <= body <= stream.nbytes - place:
            raise _damaged()
        place += body
    return values


def _look(header: memoryview) -> tuple[int, int]:
    """Return the length of a message's body, and the total length that its arrays claim."""
    message = _Table(header, _number(header, "<I", 0))
    kind_at, body_at = message.at(_HEADER_TYPE), message.at(_BODY_LENGTH)
    kind = _number(header, "<B", kind_at) if kind_at else 0
    body = _number(header, "<q", body_at) if body_at else 0
    if kind == _SCHEMA:
        return body, 0
    if kind not in (_DICTIONARY, _BATCH):
        raise ValueUnreadable("an Arrow stream may only contain schemas and batches")
    batch = message.table(_HEADER)
    if kind == _DICTIONARY:
        batch = batch.table(_DICTIONARY_DATA)
    if batch.at(_COMPRESSION):
        raise ValueUnreadable("a compressed Arrow stream is not accepted, as it could expand to any size")
    return body, _values(batch)


def _values(batch: _Table) -> int:
    """Return the total length that a batch and its arrays claim."""
    rows_at, arrays_at = batch.at(_ROWS), batch.at(_ARRAYS)
    lengths = [_number(batch.data, "<q", rows_at)] if rows_at else []
    if arrays_at:
        arrays = arrays_at + _number(batch.data, "<I", arrays_at)
        count = _number(batch.data, "<I", arrays)
        if count * _ARRAY_BYTES > batch.data.nbytes:
            raise _damaged()
        lengths += [_number(batch.data, "<q", arrays + 4 + number * _ARRAY_BYTES) for number in range(count)]
    if lengths and min(lengths) < 0:
        raise _damaged()
    return sum(lengths)


def _damaged() -> ValueUnreadable:
    return ValueUnreadable("the Arrow stream is damaged")
