"""Item indexes in bulk: ranges of consecutive numbers, bit masks of batches, and lists of numbers in few bytes.

A commit may hold 10,000 tiny items: what happens here happens per range, or inside one call, never per item.
"""

from __future__ import annotations

import sys
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence

from isal import isal_zlib

#: Consecutive indexes: the first one, and the one after the last.
Range = tuple[int, int]

#: Bytes per number, and `array`'s code for it.
_WIDTHS = {1: "B", 2: "H", 4: "I", 8: "Q"}
#: Added to the width in the first byte of a packed list whose numbers are compressed.
_COMPRESSED = 0x80
#: Shorter lists are not worth the compressor's call.
_COMPRESS_FROM = 64


def to_ranges(indexes: Sequence[int]) -> list[Range]:
    """Return the ranges that a strictly ascending list of indexes consists of. Costs O(ranges · log length)."""
    ranges: list[Range] = []
    start, count = 0, len(indexes)
    while start < count:
        end = _end_of_range(indexes, start)
        ranges.append((indexes[start], indexes[end - 1] + 1))
        start = end
    return ranges


def _end_of_range(indexes: Sequence[int], start: int) -> int:
    """The position after the last index that is consecutive to the one at `start`."""
    count = len(indexes)
    shift = indexes[start] - start
    if indexes[count - 1] - shift == count - 1:
        return count
    inside, outside, step = start, start + 1, 1
    while outside < count and indexes[outside] - shift == outside:
        inside, outside = outside, outside + step
        step *= 2
    if outside - inside == 1:
        return outside
    # Strictly ascending, so positions inside the range come first, all those outside after them.
    return bisect_left(
        range(count), True, inside, min(outside, count), key=lambda position: indexes[position] - shift != position
    )


def to_masks(ranges: Iterable[Range], batch_size: int) -> dict[int, int]:
    """Return, per batch that the ranges touch, a mask with these items' bits set (bit 0: the batch's first item)."""
    masks: dict[int, int] = {}
    for first, end in ranges:
        position = first
        while position < end:
            number, offset = divmod(position, batch_size)
            count = min(end - position, batch_size - offset)
            masks[number] = masks.get(number, 0) | (((1 << count) - 1) << offset)
            position += count
    return masks


def set_bits(mask: int) -> list[int]:
    """Return the positions of the bits that are set, ascending."""
    return [position for position, bit in enumerate(f"{mask:b}"[::-1]) if bit == "1"]


def pack(numbers: Sequence[int]) -> bytes:
    """Return a list of numbers, none of them negative, in few bytes."""
    if not numbers:
        return b""
    largest = max(numbers)
    width = next(width for width in _WIDTHS if largest < 1 << 8 * width)
    body = _little_endian(array(_WIDTHS[width], numbers)).tobytes()
    if len(body) >= _COMPRESS_FROM:
        squeezed = isal_zlib.compress(body, 1)
        if len(squeezed) < len(body):
            return bytes([width | _COMPRESSED]) + squeezed
    return bytes([width]) + body


def unpack(packed: bytes) -> list[int]:
    """The reverse of pack(). Raises ValueError for bytes that it cannot have made."""
    if not packed:
        return []
    width, body = packed[0] & ~_COMPRESSED, packed[1:]
    if width not in _WIDTHS:
        raise ValueError(f"a packed list cannot begin with the byte {packed[0]}")
    try:
        numbers = array(_WIDTHS[width], zlib.decompress(body) if packed[0] & _COMPRESSED else body)
    except zlib.error as error:
        raise ValueError(f"a packed list does not decompress: {error}") from error
    return _little_endian(numbers).tolist()


def _little_endian(numbers: array[int]) -> array[int]:
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def pack_ranges(ranges: Iterable[Range]) -> bytes:
    """Pack ascending ranges: per range the gap to the one before it, and its length."""
    numbers: list[int] = []
    position = 0
    for first, end in ranges:
        numbers += (first - position, end - first)
        position = end
    return pack(numbers)


def unpack_ranges(packed: bytes) -> list[Range]:
    """The reverse of pack_ranges()."""
    ranges: list[Range] = []
    position = 0
    numbers = iter(unpack(packed))
    for gap, length in zip(numbers, numbers, strict=True):
        ranges.append((position + gap, position + gap + length))
        position += gap + length
    return ranges


def count_of(ranges: Iterable[Range]) -> int:
    """How many indexes the ranges hold."""
    return sum(end - first for first, end in ranges)


def place_of(ranges: Iterable[Range], index: int) -> int | None:
    """Return how many indexes of the ranges come before this one, or None if it is in none of them."""
    before = 0
    for first, end in ranges:
        if first <= index < end:
            return before + index - first
        before += end - first
    return None
