"""The list of a run's items on the volume: one line each, and where every 16th of them starts.

Both files have checksums, one for each page of theirs. Those of a short list are in the manifest; of a longer one
they are a file of their own, whose checksum is in the manifest. Lists of Sheaf before checksums have none.
"""

from __future__ import annotations

import hashlib
import os
import sys
from array import array
from collections.abc import Sequence
from itertools import accumulate, islice, pairwise
from pathlib import Path
from typing import BinaryIO

import xxhash

from sheaf.core.files import NotReadable, read_file
from sheaf.core.page_checksums import FileDamaged, PagedFile, PageSums, page_count

#: Items per kept offset: 0.5 bytes an item, and at most 15 lines to skip.
OFFSET_STRIDE = 16
#: The list's files.
ITEMS, OFFSETS, SUMS = "items", "items.offsets", "items.sums"
#: Bytes per checksum: up to this many more are read at each end of what is wanted, and this many are refused for
#: one that has changed.
PAGE = 8 << 10
#: Checksums that fit in the manifest itself; more of them are a file.
_INLINE_SUMS = 64
#: Bytes up to which neighbours of the wanted lines are read with them; beyond, only what is wanted is held in memory.
_TOGETHER_BYTES = 4 << 20
#: Noted offsets that are compared at once with a list that has no checksums.
_CHECKED_STRIDES = 4096
_NUMBER_BYTES = 8


class ItemList:
    """The list of `count` items in a folder. `size` and `sums`: what `ItemWriter.seal()` returned; -1: no checksums."""

    def __init__(self, folder: Path, count: int, size: int = -1, sums: str = "") -> None:
        self._folder = folder
        self._count = count
        self._size = size
        self._sums_text = sums
        #: Of both files, once they were read and found to be right.
        self._sums: tuple[Sequence[int], Sequence[int]] | None = None

    def read(self, first: int, count: int) -> list[str]:
        """Return the texts of `count` items from `first` on, in one read, one decode and one split.

        Raises FileDamaged.
        """
        stride, stop = first // OFFSET_STRIDE, -(-(first + count) // OFFSET_STRIDE)
        start, end = self._noted(stride, stop)
        with self._open_items() as source:
            start, end = self._checked(start, source.size if end is None else end, source.size)
            skip = first - stride * OFFSET_STRIDE
            if end - start > _TOGETHER_BYTES:
                with source.lines(start, end) as stream:
                    for _ in range(skip):
                        stream.readline()
                    data, skip, lines = memoryview(b"".join(islice(stream, count))), 0, count
            else:
                data = source.read(start, end)
                lines = min(stop * OFFSET_STRIDE, self._count) - stride * OFFSET_STRIDE
        texts = _split(data, first + count)
        if len(texts) != lines:
            raise FileDamaged(ITEMS, f"ends before item {first + count - 1}, or has lines that it should not have")
        return texts[skip : skip + count]

    def check(self) -> None:
        """Compare all of the list with its checksums; one without, with its offsets. Raises FileDamaged."""
        if self._size < 0:
            self._compare_with_offsets()
            return
        with self._open_offsets() as source:
            source.check()
        with self._open_items() as source:
            source.check()

    @property
    def bytes(self) -> int:
        """How long the list is; 0 if it is gone."""
        try:
            return self._size if self._size >= 0 else (self._folder / ITEMS).stat().st_size
        except OSError:
            return 0

    def _open_items(self) -> PagedFile:
        source = PagedFile(self._folder / ITEMS, PAGE, self._all_sums()[0], None)
        if self._size in (-1, source.size):
            return source
        with source:
            sizes = f"({source.size:,} bytes instead of {self._size:,})"
            if source.size > self._size:
                raise FileDamaged(ITEMS, f"is longer than it was written {sizes}")
            if source.last_byte() in (b"", b"\n"):
                raise FileDamaged(ITEMS, f"ends before item {self._count - 1} {sizes}")
            raise FileDamaged(ITEMS, f"ends in the middle of a line {sizes}")

    def _open_offsets(self) -> PagedFile:
        size = page_count(self._count, OFFSET_STRIDE) * _NUMBER_BYTES
        return PagedFile(self._folder / OFFSETS, PAGE, self._all_sums()[1], size)

    def _noted(self, stride: int, stop: int) -> tuple[int, int | None]:
        """The noted offset before the wanted lines and, if there is one, the first after them."""
        noted = page_count(self._count, OFFSET_STRIDE)
        with self._open_offsets() as source:
            offsets = _numbers(source.read(stride * _NUMBER_BYTES, min(stop + 1, noted) * _NUMBER_BYTES))
        return offsets[0], offsets[-1] if stop < noted else None

    def _checked(self, start: int, end: int, size: int) -> tuple[int, int]:
        if start >= size:
            raise FileDamaged(ITEMS, f"ends before item {self._count - 1}")
        if not start < end <= size:
            raise FileDamaged(OFFSETS, f"notes lines from byte {start:,} to {end:,} of a list of {size:,} bytes")
        return start, end

    def _all_sums(self) -> tuple[Sequence[int] | None, Sequence[int] | None]:
        if self._size < 0:
            return None, None
        if self._sums is None:
            pages = page_count(self._size, PAGE)
            noted_bytes = page_count(self._count, OFFSET_STRIDE) * _NUMBER_BYTES
            sums = self._read_sums(pages + page_count(noted_bytes, PAGE))
            self._sums = sums[:pages], sums[pages:]
        return self._sums

    def _read_sums(self, count: int) -> array[int]:
        """Those in the manifest, or in the file that the manifest has the checksum of."""
        if count <= _INLINE_SUMS:
            data = _from_hex(self._sums_text)
        else:
            try:
                data = read_file(self._folder / SUMS)
            except NotReadable as error:
                raise FileDamaged(SUMS, str(error)) from error
            if xxhash.xxh3_64_hexdigest(data) != self._sums_text:
                raise FileDamaged(SUMS, "is not what was written")
        if len(data) != count * _NUMBER_BYTES:
            raise FileDamaged("run.json", f"has no checksums for {count} pages")
        return _numbers(data)

    def _compare_with_offsets(self) -> None:
        """Each noted offset is the start of a line, 16 lines after the one before it."""
        noted = page_count(self._count, OFFSET_STRIDE)
        with self._open_offsets() as offsets, self._open_items() as source:
            for stride in range(0, noted, _CHECKED_STRIDES):
                stop = min(stride + _CHECKED_STRIDES, noted)
                starts = list(_numbers(offsets.read(stride * _NUMBER_BYTES, min(stop + 1, noted) * _NUMBER_BYTES)))
                if stop == noted:
                    starts.append(source.size)
                for number, (start, end) in enumerate(pairwise(starts), stride):
                    data = bytes(source.read(*self._checked(start, end, source.size)))
                    lines = min(OFFSET_STRIDE, self._count - number * OFFSET_STRIDE)
                    if data.count(b"\n") != lines or not data.endswith(b"\n"):
                        item = number * OFFSET_STRIDE
                        raise FileDamaged(ITEMS, f"does not have the items from {item} on where its offsets say")


def _split(data: memoryview, end: int) -> list[str]:
    if not len(data) or data[-1] != ord("\n"):
        raise FileDamaged(ITEMS, "ends in the middle of a line" if len(data) else f"ends before item {end - 1}")
    try:
        # Without the last line's end: what is split there would be one more item.
        return str(data[:-1], "utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise FileDamaged(ITEMS, f"is not UTF-8 ({error.reason}, in the lines before item {end})") from error


def _from_hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""


def _numbers(data: bytes | memoryview) -> array[int]:
    numbers = array("Q")
    numbers.frombytes(data)
    return _little_endian(numbers)


def _little_endian(numbers: array[int]) -> array[int]:
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


class ItemWriter:
    """Writes a list, its digest and its checksums."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lines = open(folder / ITEMS, "wb")  # noqa: SIM115  closed by close()
        self._offsets = open(folder / OFFSETS, "wb")  # noqa: SIM115
        self._sums, self._offset_sums = PageSums(PAGE), PageSums(PAGE)
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
        offsets = _little_endian(noted).tobytes()
        self._offsets.write(offsets)
        self._lines.write(data)
        self._offset_sums.add(offsets)
        self._sums.add(data)
        self.digest.update(data)
        self.bytes += len(data)
        self.count += len(texts)

    def seal(self, *, sync: bool = False) -> tuple[int, str]:
        """Close the list; return its bytes and its checksums, for the manifest."""
        self.close(sync=sync)
        sums = self._sums.all() + self._offset_sums.all()
        data = _little_endian(sums).tobytes()
        if len(sums) <= _INLINE_SUMS:
            return self.bytes, data.hex()
        with open(self._folder / SUMS, "wb") as stream:
            stream.write(data)
            _finish(stream, sync=sync)
        return self.bytes, xxhash.xxh3_64_hexdigest(data)

    def close(self, *, sync: bool = False) -> None:
        for stream in (self._lines, self._offsets):
            _finish(stream, sync=sync)
            stream.close()


def _finish(stream: BinaryIO, *, sync: bool) -> None:
    stream.flush()
    if sync:
        os.fsync(stream.fileno())
