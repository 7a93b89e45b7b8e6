"""The cluster as a `concurrent.futures.Executor`, with futures for `wait` and `as_completed`."""

from __future__ import annotations

import builtins
import threading
from collections.abc import Callable
from concurrent import futures
from concurrent.futures import Executor, Future
from typing import Any, Protocol

from sheaf.core.errors import TaskFailed


class Submitter(Protocol):
    """Calls functions on the workers: the cluster."""

    def _submit(
        self,
        fn: Callable[..., Any] | str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        raised: Callable[[TaskFailed], BaseException],
    ) -> Future[Any]: ...


class ClusterExecutor(Executor):
    """What the standard library says of an Executor holds, with functions that workers can import and JSON arguments.

    A future raises the builtin exception that the function raised (ZeroDivisionError, say), with the TaskFailed as its
    cause; any other exception comes as TaskFailed itself.
    """

    def __init__(self, cluster: Submitter) -> None:
        self._cluster = cluster
        self._lock = threading.Lock()
        self._shut_down = False
        self._pending: set[Future[Any]] = set()

    def submit(self, fn: Callable[..., Any] | str, /, *args: Any, **kwargs: Any) -> Future[Any]:
        with self._lock:
            if self._shut_down:
                raise RuntimeError("cannot schedule new futures after shutdown")
            future = self._cluster._submit(fn, args, kwargs, builtin_of)
            self._pending.add(future)
        future.add_done_callback(self._forget)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """As for any Executor: what was sent off to the workers runs; `cancel_futures` cancels what was not."""
        with self._lock:
            self._shut_down = True
            pending = list(self._pending)
        if cancel_futures:
            for future in pending:
                future.cancel()
        if wait:
            # A cancelled future counts as done, even if not every waiter was notified yet.
            futures.wait([future for future in pending if not future.cancelled()])

    def _forget(self, future: Future[Any]) -> None:
        with self._lock:
            self._pending.discard(future)


def builtin_of(failed: TaskFailed) -> BaseException:
    """The exception of the standard tree that a failed call raised, if it can be made anew from a text."""
    kind = getattr(builtins, failed.error, None)
    if not (isinstance(kind, type) and issubclass(kind, Exception)):
        return failed
    try:
        error = kind(failed.message)
    except TypeError:
        return failed  # UnicodeDecodeError and its like want more than a text
    error.__cause__ = failed
    return error
