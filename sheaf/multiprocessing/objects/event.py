"""Event: as in `multiprocessing`."""

from __future__ import annotations

from sheaf.multiprocessing.member import Member, Mode
from sheaf.multiprocessing.objects.base import SharedObject
from sheaf.multiprocessing.steps import Client


class Event(SharedObject):
    """Set or not; waiters are let through when it is set, even if it is cleared at once."""

    tag = "mp.Event"
    suffixes = (":w",)

    def __init__(self, member: Member) -> None:
        self._make(member, kind="event", set=0, times=0)

    def is_set(self) -> bool:
        return self._wait(0)

    def set(self) -> None:
        self._member.steps("mp_event", [self._key], ["set"])

    def clear(self) -> None:
        self._member.steps("mp_event", [self._key], ["clear"])

    def wait(self, timeout: float | None = None) -> bool:
        """Whether it was set in time."""
        return self._wait(timeout)

    def _wait(self, timeout: float | None) -> bool:
        times = ""

        def attempt(client: Client, mode: Mode) -> bool | None:
            nonlocal times
            answer: bytes = client("mp_event", [self._key], ["wait", mode, times])
            times = answer[1:].decode()
            return True if answer == b"+" else None

        return self._member.until(attempt, [self._key + ":w"], timeout) is not None

    def __repr__(self) -> str:
        return f"<{type(self).__qualname__} at {id(self):#x} {'set' if self.is_set() else 'unset'}>"
