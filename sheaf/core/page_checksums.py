"""Checksums over a file's pages: any part of it is read with the pages around it, and they are checked."""

from __future__ import annotations

import io
import os
from array import array
from collections.abc import Sequence
from pathlib import Path

import xxhash

from sheaf.core.files import NotReadable, open_file


class FileDamaged(Exception):
    """A file is not what was written. Has its name, and says how it is, in words that follow the name."""

    def __init__(self, name: str, what: str) -> None:
        super().__init__(f"{name} {what}")
        self.name = name
        self.what = what


def page_count(size: int, page: int) -> int:
    return -(-size // page)


class PageSums:
    """Makes the checksums of what is written, page by page."""

    def __init__(self, page: int) -> None:
        self._page = page
        self._room = page
        self._hash = xxhash.xxh3_64()
        self._sums = array("Q")

    def add(self, data: bytes) -> None:
        view = memoryview(data)
        while len(view) >= self._room:
            self._hash.update(view[: self._room])
            self._sums.append(self._hash.intdigest())
            self._hash.reset()
            view, self._room = view[self._room :], self._page
        self._hash.update(view)
        self._room -= len(view)

    def all(self) -> array[int]:
        """The checksums of all pages, the last one as far as it is filled."""
        sums = self._sums[:]
        if self._room < self._page:
            sums.append(self._hash.intdigest())
        return sums


class PagedFile:
    """A file that is open for reading; `with` closes it. Without checksums it is read as it is."""

    def __init__(self, path: Path, page: int, sums: Sequence[int] | None, size: int | None) -> None:
        """`size`: how long it was written; None: not known. Raises FileDamaged."""
        self._name = path.name
        self._page = page
        self._sums = sums
        try:
            self._descriptor = open_file(path)
        except NotReadable as error:
            raise FileDamaged(self._name, str(error)) from error
        #: Bytes of the file.
        self.size = os.fstat(self._descriptor).st_size
        if size is not None and self.size != size:
            with self:
                raise self._damaged(f"has {self.size:,} bytes instead of {size:,}")

    def __enter__(self) -> PagedFile:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def read(self, start: int, end: int) -> memoryview:
        """Return the bytes from `start` to `end`. Raises FileDamaged if their pages are not those that were written."""
        if self._sums is None:
            return memoryview(self._read(start, end))
        first = start // self._page * self._page
        view = memoryview(self._read(first, min(page_count(end, self._page) * self._page, self.size)))
        for at in range(0, len(view), self._page):
            number = (first + at) // self._page
            if xxhash.xxh3_64_intdigest(view[at : at + self._page]) != self._sums[number]:
                raise self._damaged(
                    f"is not what was written (between bytes {number * self._page:,} and "
                    f"{min((number + 1) * self._page, self.size):,})"
                )
        return view[start - first : end - first]

    def lines(self, start: int, end: int) -> io.BufferedReader:
        """The part between them as a stream, of which a page at a time is held."""
        return io.BufferedReader(_Stream(self, start, end, self._page), self._page)

    def last_byte(self) -> bytes:
        """As it is; empty of an empty file."""
        return self._read(self.size - 1, self.size) if self.size else b""

    def check(self) -> None:
        """Read all of it. Raises FileDamaged."""
        step = self._page * max(1, (1 << 20) // self._page)
        for start in range(0, self.size, step):
            self.read(start, min(start + step, self.size))

    def _read(self, start: int, end: int) -> bytes:
        pieces = []
        while start < end:
            try:
                # One call reads 2 GiB at most.
                piece = os.pread(self._descriptor, end - start, start)
            except OSError as error:
                raise self._damaged(f"cannot be read ({error.strerror}, at byte {start:,})") from error
            if not piece:
                raise self._damaged(f"ends at byte {start:,}")
            pieces.append(piece)
            start += len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _damaged(self, what: str) -> FileDamaged:
        return FileDamaged(self._name, what)


class _Stream(io.RawIOBase):
    """A part of a paged file, as a stream for reading lines."""

    def __init__(self, source: PagedFile, start: int, end: int, page: int) -> None:
        self._source, self._at, self._end, self._page = source, start, end, page

    def readable(self) -> bool:
        return True

    def readinto(self, target: memoryview) -> int:  # type: ignore[override]
        boundary = (self._at // self._page + 1) * self._page
        end = min(self._end, boundary, self._at + len(target))
        if end <= self._at:
            return 0
        data = self._source.read(self._at, end)
        target[: len(data)] = data
        self._at = end
        return len(data)
