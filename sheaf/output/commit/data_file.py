"""The output file itself: is it the one that was committed to, what is beyond the committed length, and the append.

Everything here happens under the fence. OSErrors are the caller's to translate.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from isal import isal_zlib

from sheaf.core.errors import OutputError, OutputMissing, OutputReplaced, OutputShortened
from sheaf.output.index.intent import START_BYTES, Intent
from sheaf.output.index.rows import State
from sheaf.run.run import sync_folder

#: Bytes at either end of the committed part by which the file is recognised.
EDGE_BYTES = 4096
#: Buffers passed to the kernel in one call (its limit, IOV_MAX).
BUFFERS = 1024
#: ... and bytes. For a longer write some file systems take pages of 2 MiB and more, which a virtual machine may have to
#: get from its host first: the same bytes then cost up to twelve times as much (docs/decisions/0016-short-writes.md).
WRITE_BYTES = 512 << 10
#: Bytes of a file that are kept in memory at once.
_COPY_BYTES = 1 << 20
_STRAY_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
#: Errors of opening a stray file where there is something that we should not write to.
_NOT_OURS = (errno.EACCES, errno.EPERM, errno.EISDIR, errno.ELOOP, errno.ENXIO)
#: Records, in memory of our own or shared with the process that made them.
Buffer = bytes | memoryview


class FileGrew(OutputError):
    """Another program has appended to the output during the transaction: the next one moves that aside."""


class OutputFile:
    """Opened anew for every commit: the file that is at the path now is the one that counts."""

    def __init__(self, path: Path, descriptor: int, length: int) -> None:
        self.path = path
        self._descriptor = descriptor
        #: L, the committed length.
        self.length = length
        status = os.fstat(descriptor)
        self.size = status.st_size
        self.identity = f"{status.st_dev}:{status.st_ino}"
        self._is_regular = stat.S_ISREG(status.st_mode)
        self._head = b""
        self._tail = b""
        self._appending = 0

    @classmethod
    def open(cls, path: Path, state: State) -> OutputFile:
        """Open the file, or create it if nothing was ever committed. Raises OutputMissing."""
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError as error:
            if state.length > 0:
                raise OutputMissing(
                    f"{path} is gone, but its index says that {state.length} bytes were committed to it; bring the "
                    f"file back, or have them loaded again: sheaf repair {path.name}"
                ) from error
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            sync_folder(path.parent)
        return cls(path, descriptor, state.length)

    def close(self) -> None:
        os.close(self._descriptor)

    def check(self, state: State) -> None:
        """Raise OutputShortened or OutputReplaced unless this is the file that was committed to, or a copy of it."""
        if not self._is_regular:
            raise OutputReplaced(f"{self.path} is not a regular file any more; bring the right file back")
        if self.size < self.length:
            raise OutputShortened(
                f"{self.path} has {self.size} bytes, but {self.length} were committed: {self.length - self.size} bytes "
                f"are gone; bring the file back, or have what is lost loaded again: sheaf repair {self.path.name}"
            )
        known = self.identity == state.identity
        if not known and self.length == 0 and self.size > 0:
            raise OutputReplaced(
                f"{self.path} holds {self.size} bytes, but nothing was committed to it yet: another program wrote it; "
                "move it away (it is not touched), or choose another output"
            )
        self._tail = self._read(self.length - min(self.length, EDGE_BYTES), min(self.length, EDGE_BYTES))
        self._head = self._tail if self.length <= EDGE_BYTES else b""
        if isal_zlib.crc32(self._tail) != state.tail or not (known or self._has_head(state.head)):
            raise OutputReplaced(
                f"{self.path} is not the file that was committed to: its bytes before {self.length} differ from what "
                f"was written; bring the right file back, or see what is whole: sheaf repair {self.path.name}"
            )

    def _has_head(self, checksum: int) -> bool:
        return int(isal_zlib.crc32(self._read(0, min(self.length, EDGE_BYTES)))) == checksum

    def _read(self, offset: int, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = os.pread(self._descriptor, count - len(data), offset + len(data))
            if not more:
                break
            data += more
        return data

    def remove_excess(self, intent: Intent | None) -> Path | None:
        """Make the file end at L: cut our own torn append, move a stranger's bytes aside. Return where to, if any."""
        excess = self.size - self.length
        start = self._read(self.length, min(excess, START_BYTES))
        aside = None
        if intent is None or not intent.explains(self.length, start, excess):
            aside = self._move_aside()
        os.ftruncate(self._descriptor, self.length)
        self.sync()
        return aside

    def _move_aside(self) -> Path:
        """Copy what is beyond L to the end of `<output>.stray-<n>`; n grows only if one cannot be appended to."""
        number, descriptor = 1, -1
        while descriptor < 0:
            path = self.path.with_name(f"{self.path.name}.stray-{number}")
            try:
                descriptor = os.open(path, _STRAY_FLAGS, 0o666)
            except OSError as error:
                if error.errno not in _NOT_OURS:
                    raise
                number += 1
        try:
            self._copy_excess(descriptor)
        finally:
            os.close(descriptor)
        sync_folder(path.parent)
        return path

    def _copy_excess(self, target: int) -> None:
        before = os.fstat(target).st_size
        try:
            for offset in range(self.length, self.size, _COPY_BYTES):
                data = self._read(offset, min(_COPY_BYTES, self.size - offset))
                _write_all(target, [data], before + offset - self.length)
            os.fsync(target)
        except OSError:
            # Else the next try would leave the same bytes there twice.
            with suppress(OSError):
                os.ftruncate(target, before)
            raise

    def append(self, buffers: Sequence[Buffer], step: Callable[[str], None], *, to_be_synced: bool) -> None:
        """Write the buffers at L. After an error, or a crash, any part of them may be in the file.

        Raises FileGrew, with nothing written, if the file does not end at L any more.
        """
        if os.fstat(self._descriptor).st_size != self.length:
            raise FileGrew(f"another program has just changed the end of {self.path}; try again")
        self._appending = sum(map(len, buffers))
        offset = self.length
        for portion in _portions(buffers):
            count = _write_all(self._descriptor, portion, offset)
            if to_be_synced and count < self._appending:
                # The disk begins with this portion while we copy the next: sync() then has a quarter as long to wait.
                self._drop_cache(offset, count)
            offset += count
            step("append")

    def undo(self) -> None:
        """Cut what append() has written, unless a stranger has written after it."""
        if 0 < os.fstat(self._descriptor).st_size - self.length <= self._appending:
            os.ftruncate(self._descriptor, self.length)

    def sync(self) -> None:
        os.fdatasync(self._descriptor)
        if not self._appending:
            return
        # What is on the disk need not stay in memory as well. A container's limit counts it: once that is reached,
        # every further write has to find room first, and takes three times as long (decision 16).
        self._drop_cache(self.length, self._appending)

    def _drop_cache(self, offset: int, count: int) -> None:
        """Free what is on the disk of these bytes, and have the kernel begin to write what is not; wait for neither."""
        os.posix_fadvise(self._descriptor, offset, count, os.POSIX_FADV_DONTNEED)

    def edges_after(self, buffers: Sequence[Buffer], state: State) -> tuple[int, int]:
        """Return the checksums of the file's head and tail as they are once these buffers are committed."""
        tail: list[bytes] = []
        missing = EDGE_BYTES
        for buffer in reversed(buffers):
            if missing <= 0:
                break
            tail.insert(0, bytes(buffer[-missing:]))
            missing -= len(tail[0])
        joined = b"".join(tail)
        new_tail = (self._tail + joined)[-EDGE_BYTES:]
        if self.length >= EDGE_BYTES:
            return state.head, int(isal_zlib.crc32(new_tail))
        head = self._head
        for buffer in buffers:
            if len(head) >= EDGE_BYTES:
                break
            head += bytes(buffer[: EDGE_BYTES - len(head)])
        return int(isal_zlib.crc32(head)), int(isal_zlib.crc32(new_tail))


def checksum_of(source: BinaryIO, offset: int, length: int) -> tuple[int, int]:
    """Return the CRC-32 of `length` bytes of a file, and how many of these are gone."""
    source.seek(offset)
    checksum, left = 0, length
    while left and (data := source.read(min(left, _COPY_BYTES))):
        checksum = isal_zlib.crc32(data, checksum)
        left -= len(data)
    return checksum, left


def edges_of(source: BinaryIO, length: int) -> tuple[int, int]:
    """Return the checksums of the first and the last bytes of a file's first `length`."""
    edge = min(length, EDGE_BYTES)
    return checksum_of(source, 0, edge)[0], checksum_of(source, length - edge, edge)[0]


def _portions(buffers: Sequence[Buffer]) -> Iterator[list[Buffer]]:
    """The buffers, divided into what is written in one call."""
    portion: list[Buffer] = []
    size = 0
    for buffer in buffers:
        for start in range(0, len(buffer), WRITE_BYTES):
            data = buffer if len(buffer) <= WRITE_BYTES else memoryview(buffer)[start : start + WRITE_BYTES]
            if portion and (size + len(data) > WRITE_BYTES or len(portion) == BUFFERS):
                yield portion
                portion, size = [], 0
            portion.append(data)
            size += len(data)
    if portion:
        yield portion


def _write_all(descriptor: int, buffers: Sequence[Buffer], offset: int) -> int:
    """Write the buffers at that offset, all of them; return how many bytes that were."""
    total = sum(map(len, buffers))
    written = 0
    rest = buffers
    while written < total:
        count = os.pwritev(descriptor, rest, offset + written)
        written += count
        rest = _after(rest, count)
    return total


def _after(buffers: Sequence[Buffer], count: int) -> list[Buffer]:
    """What is left of the buffers without their first `count` bytes."""
    for place, buffer in enumerate(buffers):
        if count < len(buffer):
            return [memoryview(buffer)[count:], *buffers[place + 1 :]]
        count -= len(buffer)
    return []
