"""A lock that programs and tasks share: the fair lock of the outputs (`sheaf/broker/lock.py`), for anybody's use."""

from __future__ import annotations

import contextlib
import math
import secrets
import socket
import threading
from types import TracebackType

import redis

from sheaf.broker import keys
from sheaf.broker.lock import FairLock, Lease
from sheaf.client.shared.values import check_name
from sheaf.core.errors import InputError, LockLost, LockTimeout
from sheaf.core.waits import waiting


class SharedLock:
    """First come, first served; a holder that dies is overtaken when its lease expires.

    `with cluster.lock(name) as lease`: the lease is renewed in the background for as long as the block lasts, and
    `lease.token` is greater than that of everybody who held the lock before. Not reentrant.
    """

    def __init__(self, connection: redis.Redis, name: str, lease_s: float, label: str | None = None) -> None:
        self.name = check_name(name)
        if not (isinstance(lease_s, int | float) and 0 < lease_s < math.inf):
            raise InputError(f"lease_s must be a number of seconds greater than 0, not {lease_s!r}")
        label = label or socket.gethostname()
        owner = f"{label}-{secrets.token_hex(4)}"
        self._lock = FairLock(connection, keys.shared_lock(name), owner=owner, label=label, lease_s=lease_s)
        #: What each thread holds, and what keeps it.
        self._held = threading.local()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """As for `threading.Lock`: False if it could not be had in time."""
        if math.isnan(timeout):
            raise ValueError("'timeout' must be a number of seconds")
        try:
            self._take(0.0 if not blocking else math.inf if timeout < 0 else timeout)
        except LockTimeout:
            return False
        return True

    def release(self) -> None:
        """Release it. Raises LockLost if it was not ours to the end: another holder may have been in as well."""
        if getattr(self._held, "lease", None) is None:
            raise RuntimeError(f"the lock {self.name!r} is not held by this thread, so it cannot release it")
        lease: Lease = self._held.lease
        kept: contextlib.ExitStack = self._held.kept
        self._held.lease = None
        kept.close()
        if not lease.release():
            raise LockLost(
                f"the lock {self.name!r} (token {lease.token}) was lost before it was given back: this process did "
                f"not come to renew it for {lease.lease_s:g} s, or Redis was emptied; others may have held it too"
            )

    def _take(self, timeout_s: float) -> Lease:
        if getattr(self._held, "lease", None) is not None:
            raise RuntimeError(f"this thread already holds the lock {self.name!r}, and would wait for itself for ever")
        with waiting:
            lease = self._lock.acquire(timeout_s)
        self._held.lease, self._held.kept = lease, contextlib.ExitStack()
        self._held.kept.enter_context(lease.keep())
        return lease

    def __enter__(self) -> Lease:
        return self._take(math.inf)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.release()
        except Exception:
            # The error that ended the block matters more.
            if error is None:
                raise

    def __repr__(self) -> str:
        return f"<shared lock {self.name!r}>"
