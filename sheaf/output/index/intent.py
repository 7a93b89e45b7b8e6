"""The note that every writer leaves beside the output: who has the fence, and what is about to be appended.

    <output>.intent   line 1: the fence's owner, written when it gets the fence; names it to those who wait
                      line 2: the append, written before its first byte; tells our torn append from a stranger's bytes

The note is never cleared: once the committed length has passed an append's offset, that append is history. It is not
synced either: after a power cut it may be gone, and then a torn append is kept aside, as a stranger's would be.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sheaf.output.index.lock_owner import NAME_LENGTH, LockOwner

#: Bytes of each of the two lines, so that each is overwritten in place in one write.
_LINE = 512
#: Bytes of the append that the note repeats.
START_BYTES = 64


@dataclass(frozen=True, slots=True)
class Intent:
    """An append that was about to happen: `length` bytes at `offset`, which begin with `start` (in hex)."""

    offset: int
    length: int
    start: str
    worker: str
    token: int

    @property
    def makes_sense(self) -> bool:
        """Whether each field is what it should be: a disk may have changed what was written."""
        texts = isinstance(self.start, str) and isinstance(self.worker, str)
        return (
            texts
            and all(type(number) is int and number >= 0 for number in (self.offset, self.length, self.token))
            and re.fullmatch("(?:[0-9a-f]{2})*", self.start) is not None
        )

    def explains(self, offset: int, found: bytes, length: int) -> bool:
        """Whether the `length` bytes at `offset`, which begin with `found`, may be this append's."""
        start = bytes.fromhex(self.start)
        seen = min(len(start), length)
        return self.offset == offset and length <= self.length and found[:seen] == start[:seen]


class IntentNote:
    """Written under the fence only; read at any time. OSErrors are the caller's to translate."""

    #: Where the second line begins.
    INTENT_AT = _LINE

    def __init__(self, path: Path) -> None:
        self.path = path

    def write_owner(self, who: str) -> None:
        self._write(0, asdict(LockOwner.myself(who)))

    def write(self, intent: Intent) -> None:
        fields = {name: getattr(intent, name) for name in Intent.__slots__}
        self._write(_LINE, {**fields, "worker": intent.worker[:NAME_LENGTH]})

    def owner(self) -> LockOwner | None:
        try:
            found = LockOwner(**json.loads(self.raw()[:_LINE]))
        except (OSError, ValueError, TypeError, RecursionError):
            return None
        return found if found.makes_sense else None

    def read(self) -> Intent | None:
        """Return the last append's intent; None if there is none that can be read."""
        try:
            found = Intent(**json.loads(self.raw()[_LINE:]))
        except (ValueError, TypeError, RecursionError):
            return None
        return found if found.makes_sense else None

    def raw(self) -> bytes:
        """The note's bytes; b"" if there is no note."""
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return b""

    def _write(self, offset: int, fields: dict[str, Any]) -> None:
        line = json.dumps(fields).encode()
        if len(line) >= _LINE:
            # A name of 200 characters that JSON escapes sixfold; the rest always fits.
            line = json.dumps({**fields, **{key: "?" for key in ("who", "worker") if key in fields}}).encode()
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            os.pwrite(descriptor, line.ljust(_LINE - 1) + b"\n", offset)
        finally:
            os.close(descriptor)
