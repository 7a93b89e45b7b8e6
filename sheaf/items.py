"""The list of a run's items on the volume: one line each, and where every 16th of them starts."""

from __future__ import annotations

import hashlib
import os
import sys
from array import array
from collections.abc import Sequence
from itertools import accumulate, islice
from pathlib import Path

#: One offset is kept per so many items: 0.5 bytes an item, and at most 15 lines to skip.
OFFSET_STRIDE = 16
#: Bytes up to which neighbours of the wanted lines are read with them; beyond, only what is wanted is held in memory.
_TOGETHER_BYTES = 4 << 20


class ListDamaged(Exception):
    """The list is not what was written: it is gone, or it ends too early. Says which."""


def read_items(folder: Path, first: int, count: int) -> list[str]:
    """Return the texts of `count` items from `first` on, in one read, one decode and one split.

    Raises ListDamaged.
    """
    skip = first % OFFSET_STRIDE
    try:
        offsets = _offsets(folder, first // OFFSET_STRIDE, -(-(first + count) // OFFSET_STRIDE))
        with open(folder / "items", "rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            if not offsets or offsets[0] >= size:
                raise ListDamaged(f"ends before item {first + count - 1}")
            stream.seek(offsets[0])
            length = (offsets[-1] if len(offsets) > 1 else size) - offsets[0]
            if length > _TOGETHER_BYTES:
                for _ in range(skip):
                    stream.readline()
                data, skip = b"".join(islice(stream, count)), 0
            else:
                data = stream.read(length)
    except FileNotFoundError as error:
        raise ListDamaged("is gone") from error
    if not data.endswith(b"\n"):
        raise ListDamaged("ends in the middle of a line")
    # Without the last line's end: what is split there would be one more item.
    texts = data[:-1].decode().split("\n")[skip : skip + count]
    if len(texts) < count:
        raise ListDamaged(f"ends before item {first + count - 1}")
    return texts


def _offsets(folder: Path, noted: int, end: int) -> array[int]:
    """The noted offset before the wanted lines and, if there is one, the first behind them."""
    offsets = array("Q")
    with open(folder / "items.offsets", "rb") as stream:
        for place in (noted, end):
            stream.seek(place * offsets.itemsize)
            offsets.frombytes(stream.read(offsets.itemsize))
    return _little_endian(offsets)


def _little_endian(numbers: array[int]) -> array[int]:
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


class ItemWriter:
    """Writes a list, and keeps its digest."""

    def __init__(self, folder: Path) -> None:
        self._lines = open(folder / "items", "wb")  # noqa: SIM115  closed by close()
        self._offsets = open(folder / "items.offsets", "wb")  # noqa: SIM115
        self.digest = hashlib.sha256()
        self.count = 0
        self.bytes = 0

    def add(self, texts: Sequence[str]) -> None:
        """Append items, which must hold no newlines. Many at once cost a fraction of as many calls."""
        if not texts:
            return
        data = ("\n".join(texts) + "\n").encode()
        lengths = map(len, texts if len(data) == sum(map(len, texts)) + len(texts) else map(str.encode, texts))
        starts = accumulate(lengths, lambda position, length: position + length + 1, initial=self.bytes)
        noted = array("Q", islice(starts, -self.count % OFFSET_STRIDE, len(texts), OFFSET_STRIDE))
        self._offsets.write(_little_endian(noted))
        self._lines.write(data)
        self.digest.update(data)
        self.bytes += len(data)
        self.count += len(texts)

    def close(self, *, sync: bool = False) -> None:
        for stream in (self._lines, self._offsets):
            stream.flush()
            if sync:
                os.fsync(stream.fileno())
            stream.close()
