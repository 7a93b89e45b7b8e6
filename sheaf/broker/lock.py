"""Step 5 of 6: the lease in Redis that lets one worker at a time append to the output.

    acquire ──► free, and our turn? ──► lease, with a token that grows ──► release ──► wakes the next in line
                      │ no                                                                │
                      └──► in line, asleep on a list of our own ◄─────────────────────────┘

Fair: first come, first served. A waiter shows a sign of life while it sleeps, so a dead one is skipped; a holder that
dies is overtaken when its lease runs out. The lock gives order and visibility; the output is right without it.
"""

from __future__ import annotations

import contextlib
import math
import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import redis

from sheaf.broker import keys
from sheaf.broker.connection import redis_errors, understood
from sheaf.broker.replies import fields, number, text
from sheaf.broker.scripts import Script
from sheaf.broker.wrong_types import mended
from sheaf.core.errors import ClusterError, LockLost, LockTimeout, RedisUnavailable

#: Seconds that a waiter sleeps at most before it shows a sign of life.
BEAT_S = 0.4
#: A waiter that has been silent for this long when its turn comes counts as dead and is skipped.
SILENCE_MS = 1000


class FairLock:
    """A lock by name, for one owner. Thread-safe: each `acquire()` queues on its own.

    `owner` is the worker's id, `label` the name that others are shown.
    """

    def __init__(self, connection: redis.Redis, name: str, *, owner: str, label: str, lease_s: float) -> None:
        self.name = name
        self.lease_s = lease_s
        self._connection = connection
        self._owner = owner
        self._label = label
        key = keys.LOCK_PREFIX + name
        self._keys = [
            key,
            *(key + part for part in (keys.LOCK_TOKEN_SUFFIX, keys.LOCK_WAITERS_SUFFIX, keys.LOCK_SEEN_SUFFIX)),
        ]
        self._wake_prefix = key + keys.LOCK_WAKE_SUFFIX
        self._acquire = Script(connection, "lock_acquire")
        self._release = Script(connection, "lock_release")
        self._renew = Script(connection, "lock_renew")

    def acquire(self, timeout_s: float, floor: int = 0) -> Lease:
        """Wait for the lock; with `timeout_s` 0, take it only if it is free and there are no waiters.

        The token exceeds `floor`, so that it grows even when Redis has forgotten the last one.
        Raises LockTimeout, which names the holder, or a ClusterError. In both cases the place in line is given up.
        """
        waiter = f"{self._owner}:{secrets.token_hex(4)}"
        deadline = time.monotonic() + timeout_s
        try:
            while True:
                answer = self._ask(waiter, floor)
                if answer.token:
                    return Lease(self, waiter, answer.token)
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    raise LockTimeout(self._explain(answer, timeout_s))
                self._sleep(waiter, min(left_s, BEAT_S, answer.left_s or BEAT_S))
        except RedisUnavailable:
            # It would not hear that we leave either. Others skip us after SILENCE_MS.
            raise
        except BaseException:
            with contextlib.suppress(ClusterError):
                self._let_go(waiter)
            raise

    @understood()
    def _ask(self, waiter: str, floor: int) -> _Answer:
        lease_ms = round(self.lease_s * 1000)
        token, left_ms, holder, label, held_ms = self._acquire(
            self._keys, [waiter, self._label, lease_ms, floor, SILENCE_MS, self._wake_prefix]
        )
        return _Answer(int(token), int(left_ms) / 1000, text(holder), text(label), int(held_ms) / 1000)

    def _sleep(self, waiter: str, at_most_s: float) -> None:
        """Sleep until woken. A broken connection only ends the sleep: the next request shows what is wrong."""
        broken = (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError)
        key, wait_s = self._wake_prefix + waiter, max(at_most_s, 0.01)
        with redis_errors(), contextlib.suppress(*broken):
            mended(self._connection, [key], lambda: self._connection.blpop([key], timeout=wait_s))

    @understood()
    def _let_go(self, waiter: str) -> bool:
        return bool(self._release(self._keys, [waiter, SILENCE_MS, self._wake_prefix]))

    @understood()
    def _renewed(self, waiter: str) -> bool:
        return bool(self._renew(self._keys[:1], [waiter, round(self.lease_s * 1000)]))

    def _explain(self, answer: _Answer, timeout_s: float) -> str:
        if answer.left_s:
            who = f"held by {answer.label} ({_owner(answer.holder)}) for {answer.held_s:.1f} s"
        else:
            who = f"free, but it is the turn of another waiter ({_owner(answer.holder)})"
        return (
            f"the lock {self.name!r} could not be acquired within {timeout_s:g} s: it is {who}. "
            "If that worker hangs, stop it: its lease then expires"
        )


def _owner(waiter: str) -> str:
    """The owner's id in a waiter's."""
    return waiter.rpartition(":")[0]


@dataclass(frozen=True, slots=True)
class _Answer:
    """What `lock_acquire.lua` returns. `token` is 0 while another owner has the lock; the rest says who."""

    token: int
    left_s: float
    holder: str
    label: str
    held_s: float


class Lease:
    """The right to hold a lock for a while; `with` gives it back. Not made by hand: `FairLock.acquire()` returns it."""

    def __init__(self, lock: FairLock, waiter: str, token: int) -> None:
        #: Greater than the token of everybody who held the lock before.
        self.token = token
        #: Whether a renewal in the background found that the lease had run out.
        self.lost = False
        self.lease_s = lock.lease_s
        self._lock = lock
        self._waiter = waiter

    def renew(self) -> None:
        """Begin the lease anew. Raises LockLost if it has run out, or Redis has forgotten it."""
        if not self._lock._renewed(self._waiter):
            raise LockLost(
                f"the lease on the lock {self._lock.name!r} (token {self.token}) expired after {self.lease_s:g} s "
                "without renewal, or Redis was emptied; acquire the lock again"
            )

    def release(self) -> bool:
        """Give the lock back and wake the next in line; False if it was no longer ours. Twice does no harm."""
        return self._lock._let_go(self._waiter)

    @contextlib.contextmanager
    def keep(self, most_s: float = math.inf) -> Iterator[Self]:
        """Renew the lease in the background for as long as this context lasts, and for `most_s` seconds at most.

        Costs nothing while the lock is held for less than a third of the lease. Raises nothing: when a renewal fails,
        `lost` is set, and the fence of the output still excludes.
        """
        _renewer.add(self, most_s)
        try:
            yield self
        finally:
            _renewer.remove(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.release()
        else:
            # The error that ended the body matters more; the lease runs out by itself.
            with contextlib.suppress(ClusterError):
                self.release()


class _Renewer:
    """One thread for all leases of this process. It sleeps until the first of them has gone a third of its time."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        #: Lease -> the moment (monotonic) at which it should be renewed.
        self._due: dict[Lease, float] = {}
        #: Lease -> the moment from which it is left to run out: its holder hangs.
        self._until: dict[Lease, float] = {}
        self._wakes_at = 0.0
        self._thread: threading.Thread | None = None

    def add(self, lease: Lease, most_s: float) -> None:
        with self._changed:
            self._until[lease] = time.monotonic() + most_s
            due = self._due[lease] = time.monotonic() + lease.lease_s / 3
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="renewer", daemon=True)
                self._thread.start()
            elif due < self._wakes_at:
                self._changed.notify()

    def remove(self, lease: Lease) -> None:
        with self._changed:
            self._due.pop(lease, None)
            self._until.pop(lease, None)

    def _run(self) -> None:
        try:
            while True:
                self._renew(self._next())
        except BaseException:
            # A thread that breaks no longer renews; the lease's holder has to know.
            with self._changed:
                for lease in self._due:
                    lease.lost = True
                self._due.clear()
            raise

    def _renew(self, lease: Lease) -> None:
        try:
            if time.monotonic() < self._until.get(lease, math.inf):
                lease.renew()
                return
        except LockLost:
            pass
        except ClusterError:
            # Redis may be back before the lease runs out; if not, the next try finds that it is lost.
            return
        except Exception:
            # Given back meanwhile, for example by an owner that closed the connection: harmless.
            if lease in self._due:
                raise
            return
        with self._changed:
            lease.lost = self._due.pop(lease, None) is not None

    def _next(self) -> Lease:
        """Wait for the lease that is due first, and set the time of its next renewal."""
        with self._changed:
            while True:
                now = time.monotonic()
                lease = min(self._due, key=self._due.__getitem__, default=None)
                if lease is not None and self._due[lease] <= now:
                    self._due[lease] = now + lease.lease_s / 3
                    return lease
                self._wakes_at = self._due[lease] if lease is not None else float("inf")
                self._changed.wait(None if lease is None else self._wakes_at - now)


_renewer = _Renewer()


@dataclass(frozen=True, slots=True)
class LockStatus:
    """Who has a lock, for people."""

    #: The owner's id; empty when the lock is free.
    holder: str
    label: str
    token: int
    held_s: float
    left_s: float
    #: How many are queued; dead waiters count until it is their turn.
    waiting: int


@understood()
def lock_status(connection: redis.Redis, name: str) -> LockStatus:
    """Look at a lock without touching it."""
    key = keys.LOCK_PREFIX + name
    # No MULTI: Redis refuses it when it is full, and a status that is a moment out of step is good enough.
    with redis_errors(), connection.pipeline(transaction=False) as pipe:
        pipe.hgetall(key)
        pipe.get(key + keys.LOCK_TOKEN_SUFFIX)
        pipe.llen(key + keys.LOCK_WAITERS_SUFFIX)
        pipe.time()
        # A key of another type counts as absent; the next request for the lock removes it.
        held, last, waiting, now = pipe.execute(raise_on_error=False)
    if isinstance(now, Exception):
        raise ClusterError(f"Redis returned no valid time: {now}")
    noted, token, waiters = fields(held), number(last), number(waiting)
    now_ms = now[0] * 1000 + now[1] // 1000
    if not noted.get("holder"):
        return LockStatus("", "", token, 0.0, 0.0, waiters)
    return LockStatus(
        holder=_owner(noted["holder"]),
        label=noted.get("label", ""),
        token=number(noted.get("token")),
        held_s=max(0, now_ms - number(noted.get("since_ms"), now_ms)) / 1000,
        left_s=max(0, number(noted.get("until_ms")) - now_ms) / 1000,
        waiting=waiters,
    )
