"""Leave out what was there before, of any number of texts, in a bounded memory.

The first million different texts are kept in memory, and passed on at once. What comes after that and is none of
them is put on the disk, in the draft's folder: the texts in one file, and for each its digest and its place in one of
256 others, by the digest's first byte. When the input has ended, each of those fits into the memory: it says which of
its texts came before. Then the texts are read once more, and passed on without these.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from hashlib import blake2b
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

from sheaf.core.bitmap import Bitmap
from sheaf.submission.draft import Draft

#: Different texts that are kept in memory: about 100 bytes each.
IN_MEMORY = 1_000_000
#: A digest, and the number of its text among those on the disk.
_ENTRY = struct.Struct("<16sQ")
#: Texts that are passed on at once.
_AT_ONCE = 4096


def unique(blocks: Iterable[list[str]], draft: Draft, in_memory: int = IN_MEMORY) -> Iterator[list[str]]:
    """Yield the texts of the blocks, each once, in their order; count the others in the draft's tally.

    Texts are compared by 16 bytes of digest: two of a billion share one with a probability of 10^-20.
    """
    seen: set[bytes] = set()
    with ExitStack() as stack:
        spilled: _Spilled | None = None
        for block in blocks:
            digests = [blake2b(text.encode(), digest_size=16).digest() for text in block]
            fresh = set(digests)
            if len(fresh) == len(block) and len(seen) + len(block) <= in_memory and seen.isdisjoint(fresh):
                seen |= fresh
                yield block
                continue
            new = []
            for text, digest in zip(block, digests, strict=True):
                if digest in seen:
                    draft.tally.duplicates += 1
                elif len(seen) < in_memory:
                    seen.add(digest)
                    new.append(text)
                else:
                    spilled = spilled or stack.enter_context(_Spilled(draft.folder))
                    spilled.add(digest, text)
            yield new
        seen.clear()
        if spilled is not None:
            for new in spilled.unique():
                yield new
            draft.tally.duplicates += spilled.duplicates


class _Spilled:
    """Texts on the disk, in a folder that goes away with the object."""

    def __init__(self, folder: Path) -> None:
        self.duplicates = 0
        self._count = 0
        self._stack = ExitStack()
        self._folder = Path(self._stack.enter_context(TemporaryDirectory(prefix="unique-", dir=folder)))
        self._texts = self._file("texts")
        self._buckets = [self._file(f"{number:02x}") for number in range(256)]

    def __enter__(self) -> _Spilled:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _file(self, name: str) -> BinaryIO:
        return self._stack.enter_context(open(self._folder / name, "w+b", buffering=1 << 16))

    def add(self, digest: bytes, text: str) -> None:
        self._texts.write(text.encode() + b"\n")
        self._buckets[digest[0]].write(_ENTRY.pack(digest, self._count))
        self._count += 1

    def unique(self) -> Iterator[list[str]]:
        """Yield the texts that did not come before among these."""
        again = Bitmap(self._count)
        for bucket in self._buckets:
            bucket.seek(0)
            seen: set[bytes] = set()
            for digest, number in _ENTRY.iter_unpack(bucket.read()):
                if digest in seen:
                    again.add(number, number + 1)
                seen.add(digest)
        self.duplicates = again.count()
        self._texts.seek(0)
        for first in range(0, self._count, _AT_ONCE):
            count = min(_AT_ONCE, self._count - first)
            marks = again.bits(first, count)
            lines = [next(self._texts) for _ in range(count)]
            yield [line[:-1].decode() for place, line in enumerate(lines) if not marks >> place & 1]
