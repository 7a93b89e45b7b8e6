"""A look at an Arrow IPC stream before a library reads it: its messages fit, and none of it is compressed.

A reader unpacks what is compressed, to any size that the stream names. What Sheaf writes is not compressed, so a stream
that has a compressed batch was made elsewhere. The library checks what is inside (`validate`).

A message is 0xFFFFFFFF, its header's length, a flatbuffer as the header, and a body; docs.arrow.apache.org, "Columnar
format", has the tables whose fields are numbered here.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from sheaf.core.errors import ValueUnreadable

_CONTINUES = 0xFFFFFFFF
#: Kinds of headers, and the fields looked at: of Message, DictionaryBatch, RecordBatch.
_SCHEMA, _DICTIONARY, _BATCH = 1, 2, 3
_HEADER_TYPE, _HEADER, _BODY_LENGTH = 1, 2, 3
_DICTIONARY_DATA, _ROWS, _ARRAYS, _COMPRESSION = 1, 0, 1, 3
#: Of each array of a batch: its length, and how many of its values are null.
_ARRAY_BYTES = 16


class _Table(NamedTuple):
    """A table of a flatbuffer: fields are found by way of its vtable."""

    data: memoryview
    place: int

    def at(self, field: int) -> int:
        """Where a field lies; 0: it is not set."""
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
    """Return how long its arrays say that they are, together. Raises ValueUnreadable unless all of it fits."""
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
    """How long the body of a message is, and how many values its arrays have."""
    message = _Table(header, _number(header, "<I", 0))
    kind_at, body_at = message.at(_HEADER_TYPE), message.at(_BODY_LENGTH)
    kind = _number(header, "<B", kind_at) if kind_at else 0
    body = _number(header, "<q", body_at) if body_at else 0
    if kind == _SCHEMA:
        return body, 0
    if kind not in (_DICTIONARY, _BATCH):
        raise ValueUnreadable("an Arrow stream with something that is neither a schema nor a batch is not accepted")
    batch = message.table(_HEADER)
    if kind == _DICTIONARY:
        batch = batch.table(_DICTIONARY_DATA)
    if batch.at(_COMPRESSION):
        raise ValueUnreadable("an Arrow stream that is compressed is not accepted: it may unpack to any size")
    return body, _values(batch)


def _values(batch: _Table) -> int:
    """How long the arrays of a batch are, together, and the batch itself."""
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
