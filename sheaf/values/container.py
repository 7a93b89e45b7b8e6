"""The bytes of a message: four of magic and kind, then JSON alone, or a table of frames, JSON, and the frames.

    "SV1J"  JSON                                                                  a value that is plain JSON
    "SV1T"  u32 bytes of JSON, u32 frames, u64 bytes of each frame, JSON, frames   everything else

Numbers are little-endian. Each frame begins at a multiple of 8; between them there are only zeros up to there,
and nothing follows the last, so that frames cannot overlap.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson

from sheaf.core.errors import ValueUnreadable
from sheaf.values.limits import Limits

Buffer = bytes | bytearray | memoryview

PLAIN, TAGGED = b"SV1J", b"SV1T"
_HEAD = struct.Struct("<4sII")
_LENGTH_BYTES, _ALIGNMENT = 8, 8
_NEITHER = "begins with {!r}, which is not how a value begins; it was not sent by this version of Sheaf"


class Message(NamedTuple):
    """What a message holds; the frames are views of it."""

    #: None of its JSON is tagged.
    plain: bool
    json: Any
    frames: Sequence[memoryview]


def padding(length: int) -> int:
    return -length % _ALIGNMENT


def pack(json: bytes, frames: Sequence[memoryview]) -> list[Buffer]:
    """The parts of a message in their order; the frames are not copied."""
    lengths = struct.pack(f"<{len(frames)}Q", *(frame.nbytes for frame in frames))
    head = _HEAD.pack(TAGGED, len(json), len(frames)) + lengths + json
    if not frames:
        return [head]
    parts: list[Buffer] = [head + bytes(padding(len(head)))]
    for number, frame in enumerate(frames, 1):
        parts.append(frame)
        if number < len(frames) and (gap := padding(frame.nbytes)):
            parts.append(bytes(gap))
    return parts


def unpack(data: Buffer, limits: Limits) -> Message:
    """Raises ValueUnreadable unless every length fits, before anything of that length is made."""
    view = memoryview(data)
    if view.nbytes > limits.message_bytes:
        raise ValueUnreadable(
            f"the value takes {view.nbytes:,} bytes, and no more than {limits.message_bytes:,} are accepted; "
            "pass the name of a file on the volume instead"
        )
    view = view.cast("B") if view.format != "B" or view.ndim != 1 else view
    kind = bytes(view[:4])
    if kind == PLAIN:
        return Message(True, _parse(view[4:], limits), ())
    if kind != TAGGED:
        raise ValueUnreadable(f"the message {_NEITHER.format(kind)}")
    if view.nbytes < _HEAD.size:
        raise _cut_short()
    _, json_bytes, count = _HEAD.unpack_from(view)
    body = _HEAD.size + count * _LENGTH_BYTES
    if body + json_bytes > view.nbytes:
        raise _cut_short()
    lengths = struct.unpack_from(f"<{count}Q", view, _HEAD.size)
    frames = _frames(view, body + json_bytes, lengths)
    return Message(False, _parse(view[body : body + json_bytes], limits), frames)


def _frames(view: memoryview, place: int, lengths: Sequence[int]) -> list[memoryview]:
    """The frames, one after another. Raises ValueUnreadable unless they end where the message ends."""
    frames = []
    for length in lengths:
        place += padding(place)
        if length > view.nbytes - place:
            raise _cut_short()
        frames.append(view[place : place + length])
        place += length
    if place != view.nbytes:
        raise ValueUnreadable(f"the message has {view.nbytes - place:,} bytes more than it says; it is damaged")
    return frames


def _parse(text: memoryview, limits: Limits) -> Any:
    if text.nbytes > limits.json_bytes:
        raise ValueUnreadable(
            f"the value has {text.nbytes:,} bytes beside its frames, and no more than {limits.json_bytes:,} are "
            "accepted; send large data as bytes or as an array, or the name of a file"
        )
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ValueUnreadable(f"the message is damaged: {error}") from error


def _cut_short() -> ValueUnreadable:
    return ValueUnreadable("the message is shorter than it says; it was cut off, or is damaged")
