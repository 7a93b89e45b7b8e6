"""The container: four bytes of magic and kind, then JSON alone, or a frame table, JSON, and the frames.

    "SV1J"  JSON                                                                  a value that is plain JSON
    "SV1T"  u32 bytes of JSON, u32 frames, u64 bytes of each frame, JSON, frames   everything else

Numbers are little-endian. Each frame starts at a multiple of 8, after padding with zeros, and nothing follows the
last one. Frames have lengths but no offsets, so they cannot overlap.
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
_NEITHER = "starts with {!r}, which is not how an encoded value starts; run the same version of Sheaf on both sides"


class Message(NamedTuple):
    """The parts of a message. The frames are views of it."""

    #: The JSON is the value itself.
    plain: bool
    json: Any
    frames: Sequence[memoryview]


def padding(length: int) -> int:
    return -length % _ALIGNMENT


def pack(json: bytes, frames: Sequence[memoryview]) -> list[Buffer]:
    """Return the parts of a message in order, without copying the frames."""
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
    """Check every length before allocating anything of that length. Raises ValueUnreadable."""
    view = memoryview(data)
    if view.nbytes > limits.message_bytes:
        raise ValueUnreadable(
            f"the value takes {view.nbytes:,} bytes, more than the limit of {limits.message_bytes:,}; "
            "send the name of a file on the volume instead"
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
    if not count and body + json_bytes == view.nbytes:
        return Message(False, _parse(view[body:], limits), ())
    lengths = struct.unpack_from(f"<{count}Q", view, _HEAD.size)
    frames = _frames(view, body + json_bytes, lengths)
    return Message(False, _parse(view[body : body + json_bytes], limits), frames)


def _frames(view: memoryview, place: int, lengths: Sequence[int]) -> list[memoryview]:
    """Cut out the frames. Raises ValueUnreadable unless they end exactly where the message ends."""
    frames = []
    for length in lengths:
        place += padding(place)
        if length > view.nbytes - place:
            raise _cut_short()
        frames.append(view[place : place + length])
        place += length
    if place != view.nbytes:
        raise ValueUnreadable(f"the message is damaged: {view.nbytes - place:,} bytes follow the last frame")
    return frames


def _parse(text: memoryview, limits: Limits) -> Any:
    if text.nbytes > limits.json_bytes:
        raise ValueUnreadable(
            f"the value takes {text.nbytes:,} bytes of JSON, more than the limit of {limits.json_bytes:,}; "
            "send large data as bytes, as an array, or as the name of a file"
        )
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ValueUnreadable(f"the message is damaged: {error}") from error


def _cut_short() -> ValueUnreadable:
    return ValueUnreadable("the message is damaged: it is shorter than its header says")
