"""Barrier: as in `multiprocessing`; if a process that has it is killed, the others do not wait for it for ever."""

from __future__ import annotations

from collections.abc import Callable
from threading import BrokenBarrierError
from typing import Any

from sheaf.multiprocessing.member import Member, Mode
from sheaf.multiprocessing.objects.base import SharedObject, checked_name, count
from sheaf.multiprocessing.steps import Client


class Barrier(SharedObject):
    """Lets through those who wait when they are as many as there are parties."""

    tag = "mp.Barrier"
    suffixes = (":m", ":w")

    def __init__(
        self,
        member: Member,
        parties: int,
        action: Callable[[], object] | None = None,
        timeout: float | None = None,
    ) -> None:
        if count(parties, "parties") < 1:
            raise ValueError("parties must be > 0")
        self._action, self._timeout = action, timeout
        self._make(member, kind="barrier", parties=parties, round=0, count=0, broken=0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the others; return which one we were, from 0 on. Raises BrokenBarrierError.

        The last to come runs the action before all go on.
        """
        if timeout is None:
            timeout = self._timeout
        with self._member.steps.client() as client:
            answer = self._come(client)
            index, _, round_ = answer[1:].decode().partition(" ")
            if answer[:1] == b"a":
                self._act(client)
            elif answer[:1] == b"+":
                self._wait(client, round_, timeout)
            return int(index)

    def abort(self) -> None:
        """Break it: all who wait and all who come from now on get BrokenBarrierError."""
        self._member.steps("mp_barrier", [self._key], ["abort", "abort"])

    def reset(self) -> None:
        """Make it as it was at first; all who wait get BrokenBarrierError."""
        self._member.steps("mp_barrier", [self._key], ["reset"])

    @property
    def parties(self) -> int:
        return int(self._look()[0])

    @property
    def n_waiting(self) -> int:
        return int(self._look()[1])

    @property
    def broken(self) -> bool:
        return bool(self._look()[2])

    def reference(self) -> Any:
        return [self._id, self._action, self._timeout]

    @classmethod
    def from_reference(cls, member: Member, reference: Any) -> Barrier:
        made = cls.__new__(cls)
        made._attach(member, checked_name(reference, 3))
        made._action, made._timeout = reference[1:]
        member.steps("mp_barrier", [made._key], ["have"])
        return made

    def _come(self, client: Client) -> bytes:
        def attempt(used: Client, mode: Mode) -> bytes | None:
            arguments: list[str | int] = ["come", int(self._action is not None), mode]
            return _unbroken(used("mp_barrier", [self._key], arguments))

        answer: bytes = self._member.until(attempt, [self._key + ":w"], None, client)
        return answer

    def _act(self, client: Client) -> None:
        try:
            if self._action is not None:
                self._action()
        except BaseException as error:
            client("mp_barrier", [self._key], ["abort", f"action {type(error).__name__}"])
            raise
        client("mp_barrier", [self._key], ["done"])

    def _wait(self, client: Client, round_: str, timeout: float | None) -> None:
        def attempt(used: Client, mode: Mode) -> bytes | None:
            # The first try comes after having come: there is nothing to be found out without waiting.
            mode = Mode.LAST if mode is Mode.TRY and timeout is not None and timeout <= 0 else mode
            mode = Mode.WAIT if mode is Mode.TRY else mode
            return _unbroken(used("mp_barrier", [self._key], ["check", round_, mode]))

        def give_up(used: Client) -> None:
            used("mp_barrier", [self._key], ["quit", round_])

        self._member.until(attempt, [self._key + ":w"], timeout, client, give_up)

    def _look(self) -> list[int]:
        found: list[int] = self._member.steps("mp_barrier", [self._key], ["look"])
        return found

    def __repr__(self) -> str:
        parties, waiting, broken = self._look()
        state = "broken" if broken else f"waiters={waiting}/{parties}"
        return f"<{type(self).__qualname__} at {id(self):#x}: {state}>"


def _unbroken(answer: bytes) -> bytes | None:
    if answer[:1] == b"!":
        raise BrokenBarrierError(_reason(answer[1:].decode()))
    return None if answer == b"-" else answer


def _reason(why: str) -> str:
    what, _, detail = why.partition(" ")
    return {
        "timeout": "not all came in time",
        "abort": "abort() was called",
        "reset": "it was reset while this process waited",
        "action": f"its action raised {detail}",
        "ended": f"a process that has it was killed, or ended while it waited (process {detail})",
    }.get(what, what)
