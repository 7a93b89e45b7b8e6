"""What a disk may hold after the power was cut, given the recorded system calls: the model of `docs/power-loss.md`.

A sync of a file makes durable what was written to it before, and only that. Of the writes and truncations since, any
subset may have reached the disk, each of them whole or up to some byte. Names are the folder's own matter: they are
durable after a sync of the folder; of the later ones the first few may have reached the disk, in their order.
"""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tests.chaos.tracer import Call

#: Calls that change nothing that outlives the power.
_HARMLESS = (
    *("newfstatat", "fstat", "statx", "stat", "lstat", "access", "faccessat", "faccessat2", "getdents64"),
    *("pread64", "read", "lseek", "mmap", "fcntl", "flock", "fchown", "fchmod"),
)
_FOLDER = 0
#: More pending changes than this are sampled instead of tried in every subset.
EXHAUSTIVE = 6

#: (offset, data) of a write; (length, None) of a truncation.
Change = tuple[int, bytes | None]


@dataclass(frozen=True, slots=True)
class Event:
    """A call of one of the processes, numbered in their order."""

    process: int
    call: Call


class Disk:
    """Follows the calls; tells what the disk may hold if the power goes now."""

    def __init__(self) -> None:
        #: Contents as of each file's last sync, and the changes since, by the file's number.
        self.durable: dict[int, bytes] = {}
        self.pending: dict[int, list[Change]] = {}
        #: The folder's names as of its last sync, and the changes since (None: removed).
        self.durable_names: dict[str, int] = {}
        self.pending_names: list[tuple[str, int | None]] = []
        self.names: dict[str, int] = {}
        self.acknowledged: list[str] = []
        self._descriptors: dict[tuple[int, int], int] = {}
        self._numbers = itertools.count(1)

    def apply(self, event: Event) -> bool:
        """Follow one call; return whether it changed what the disk may hold."""
        call, name = event.call, event.call.name
        if name == "mark":
            self.acknowledged.append(call.file)
            return True
        # SQLite makes its shared memory anew when no process has it open; what a cut leaves of it is never read.
        if call.file.endswith("-shm") or name in _HARMLESS or call.result is None or call.result < 0:
            return False
        if name in ("openat", "open"):
            return self._open(event, call.arguments[2 if name == "openat" else 1])
        if name in ("unlink", "unlinkat"):
            del self.names[call.file]
            self.pending_names.append((call.file, None))
            return True
        if call.target:
            self.names[call.target] = self.names[call.file]
            self.pending_names.append((call.target, self.names[call.file]))
            if "rename" in name:
                # That the disk may know the file by both names for a moment is more than file systems do to us.
                del self.names[call.file]
                self.pending_names.append((call.file, None))
            return True
        return self._use(event)

    def _open(self, event: Event, flags: int) -> bool:
        call = event.call
        assert call.result is not None
        created = call.file != "." and call.file not in self.names
        if created:
            number = next(self._numbers)
            self.names[call.file] = number
            self.durable[number], self.pending[number] = b"", []
            self.pending_names.append((call.file, number))
        number = _FOLDER if call.file == "." else self.names[call.file]
        assert not flags & os.O_TRUNC, call
        self._descriptors[event.process, call.result] = number
        return created

    def _use(self, event: Event) -> bool:
        call = event.call
        place = (event.process, call.arguments[0])
        if call.name == "close":
            self._descriptors.pop(place)
            return False
        number = self._descriptors[place]
        if call.name in ("fsync", "fdatasync"):
            self._sync(number)
        elif call.name in ("pwrite64", "pwritev", "pwritev2"):
            self.pending[number].append((call.offset, call.data[: call.result]))
        elif call.name == "ftruncate":
            self.pending[number].append((call.arguments[1], None))
        else:
            raise AssertionError(f"this model of a disk does not know {call}")
        return True

    def _sync(self, number: int) -> None:
        if number == _FOLDER:
            self.durable_names = dict(self.names)
            self.pending_names = []
        else:
            self.durable[number] = changed(self.durable[number], self.pending[number])
            self.pending[number] = []

    def images(self, chance: random.Random, count: int) -> Iterator[dict[str, bytes]]:
        """Yield what the folder may hold after the power went now: every possibility if few, else a sample."""
        pending = sum(map(len, self.pending.values()))
        if pending + len(self.pending_names) <= EXHAUSTIVE:
            for keep in itertools.product((False, True), repeat=pending):
                for names in range(len(self.pending_names) + 1):
                    yield self._image(iter(keep), names)
            return
        yield self._image(itertools.repeat(False), 0)
        yield self._image(itertools.repeat(False), len(self.pending_names))
        yield self._image(itertools.repeat(True), len(self.pending_names))
        for _ in range(count):
            likely = chance.random()
            chosen = (chance.random() < likely for _ in itertools.count())
            yield self._image(chosen, chance.randint(0, len(self.pending_names)), chance)

    def _image(self, keep: Iterator[bool], names: int, chance: random.Random | None = None) -> dict[str, bytes]:
        contents = {}
        for number, pending in self.pending.items():
            kept = [change for change in pending if next(keep)]
            if chance is not None and kept and kept[-1][1] and chance.random() < 0.2:
                offset, data = kept[-1]
                assert data is not None
                kept[-1] = (offset, data[: chance.randint(1, len(data))])
            contents[number] = changed(self.durable[number], kept)
        found = dict(self.durable_names)
        for name, renamed in self.pending_names[:names]:
            found.pop(name, None)
            if renamed is not None:
                found[name] = renamed
        return {name: contents[number] for name, number in found.items()}


def changed(content: bytes, changes: Iterable[Change]) -> bytes:
    """Apply writes and truncations in their order; a hole holds zeros."""
    data = bytearray(content)
    for where, written in changes:
        end = where if written is None else where + len(written)
        if len(data) < end:
            data.extend(bytes(end - len(data)))
        if written is None:
            del data[where:]
        else:
            data[where:end] = written
    return bytes(data)
