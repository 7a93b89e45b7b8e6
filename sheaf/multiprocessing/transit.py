"""Ends of pipes that travel inside values: they stay open while they are on their way."""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sheaf.core.errors import SheafError
from sheaf.multiprocessing.steps import Steps


@dataclass(slots=True)
class Packed:
    """A value as bytes, and what is on its way in it."""

    steps: Steps
    data: bytes = b""
    #: The ends' keys, and by whom they are held: a process, or '~<token>'.
    held: list[tuple[str, str]] = field(default_factory=list)

    def undo(self) -> None:
        """It is not sent after all."""
        while self.held:
            end, holder = self.held.pop()
            # What it was not sent for matters more.
            with contextlib.suppress(SheafError):
                self.steps("mp_receive", (), ["drop", end, holder])


class _Packing:
    """One value that is being encoded. The encoder may ask for the same object twice, and gets the same answer."""

    def __init__(self, to: str | None) -> None:
        self.to = to
        self.holders: dict[int, tuple[Any, str, str]] = {}


class Transit:
    """What a member has on the way."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._local = threading.local()

    def pack(self, encode: Callable[[Any], bytes], value: Any, to: str | None) -> Packed:
        before = getattr(self._local, "packing", None)
        packing = self._local.packing = _Packing(to)
        try:
            packed = Packed(self._steps, encode(value))
        finally:
            self._local.packing = before
        try:
            for _, end, holder in packing.holders.values():
                self._steps("mp_receive", (), ["hold", end, holder])
                packed.held.append((end, holder))
        except BaseException:
            packed.undo()
            raise
        return packed

    def holder(self, connection: object, end: str) -> str:
        """Who is to hold this end while it is on its way. Raises TypeError if it is not being sent."""
        packing: _Packing | None = getattr(self._local, "packing", None)
        if packing is None:
            raise TypeError("a Connection can be sent through a queue or a pipe, or be an argument of a process")
        found = packing.holders.get(id(connection))
        if found is None:
            # (The connection is kept, too, so that its id stays its own.)
            found = packing.holders[id(connection)] = (connection, end, packing.to or f"~{secrets.token_hex(8)}")
        return found[2]
