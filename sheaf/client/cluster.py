"""The cluster, as a program sees it."""

from __future__ import annotations

import asyncio
import atexit
import dataclasses
import os
import sys
import threading
import warnings
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import redis

from sheaf.broker.connection import connect
from sheaf.client.calls import Call, Function, call_of, encode_call, encode_items
from sheaf.client.executor import ClusterExecutor
from sheaf.client.session.functions import Functions
from sheaf.client.session.future_stream import CallFuture, FutureStream, Translate
from sheaf.client.session.map_stream import ItemStream, Results
from sheaf.client.session.session import Session
from sheaf.client.session.stream import CallTarget
from sheaf.client.shared.lock import SharedLock
from sheaf.client.shared.queue import SharedQueue
from sheaf.client.shared.values import Counter, SharedDict
from sheaf.core.errors import ClusterError, TaskFailed
from sheaf.core.settings import Settings
from sheaf.tasks.function.importing import refuse_while_importing

_CLOSED = "this cluster object was closed; make another"


class Cluster:
    """A way to the workers of a cluster, for one program. Thread-safe; use it as a context manager, or close it.

    Without arguments it is the cluster of the environment: SHEAF_REDIS_URL and the other settings, or else the embedded
    cluster of the data folder (`data`, SHEAF_DATA_DIR, ./data). Nothing is connected before the first call.
    """

    def __init__(self, settings: Settings | None = None, *, data: str | Path | None = None, keep: bool = False) -> None:
        """`keep`: leave what was sent and what came back in the data folder, in `sessions/`, instead of removing it."""
        found = settings or Settings.from_env()
        self._settings = found if data is None else dataclasses.replace(found, data_dir=Path(data))
        self._keep = keep
        self._pid = os.getpid()
        self._functions = Functions(found.tasks_dir, found.extra_modules)
        self._lock = threading.Lock()
        self._session: Session | None = None
        self._connection: redis.Redis | None = None
        self._futures: dict[CallTarget, FutureStream] = {}
        self._stop: Callable[[], None] | None = None
        self._closed = False

    @classmethod
    def local(
        cls,
        workers: int = 2,
        *,
        tasks: str | Path | None = None,
        data: str | Path | None = None,
        settings: Settings | None = None,
        keep: bool = False,
    ) -> Self:
        """Start an embedded cluster: Redis and workers as processes of this machine, which end when this program does.

        Its data folder is a temporary one, and is removed in the end, unless `data` names another. `tasks` is the
        folder with the functions' files (SHEAF_TASKS_DIR, else ./tasks if there is one, else the script's own folder).
        """
        from sheaf.client.local import start_local, stop_local

        refuse_while_importing("Cluster.local()")

        found, temporary = start_local(
            settings or Settings.from_env(),
            workers,
            Path(tasks) if tasks is not None else None,
            Path(data) if data is not None else None,
        )
        made = cls(found, keep=keep)
        made._stop = lambda: stop_local(found, temporary)
        atexit.register(made.close)
        return made

    @classmethod
    def any(cls, workers: int = 2, *, tasks: str | Path | None = None) -> Self:
        """Return the cluster of SHEAF_REDIS_URL if that is set (as it is in the stack), else start a local one.

        So a script runs unchanged by itself and in the stack. `tasks` is for the local one: the script's own folder,
        unless another is named.
        """
        refuse_while_importing("Cluster.any()")
        settings = Settings.from_env()
        if settings.redis_url:
            return cls(settings)
        file = getattr(sys.modules["__main__"], "__file__", None)
        return cls.local(workers, tasks=tasks or (file and Path(file).parent), settings=settings)

    @property
    def settings(self) -> Settings:
        return self._settings

    # --- calls ---

    def map(
        self,
        fn: Function,
        items: Iterable[Any],
        *more: Iterable[Any],
        ordered: bool = True,
        failures: Literal["raise", "return"] = "raise",
    ) -> Results:
        """Apply a function to every item; return an iterator of the results, each exactly once.

        The items are read as they are needed, and never held in memory together: the input may be without end. Several
        inputs are read in step, as the builtin `map` does. `ordered` False: results come as they are finished. An item
        that failed raises TaskFailed where its result would be (the iterator continues after it); with
        `failures="return"` it is given there instead.
        """
        call = call_of(fn, self._settings.tasks_dir)
        is_call = bool(more or call.arguments or call.keywords)
        target = self._functions.target(call.task, is_call=is_call)
        session = self._started()
        inputs = zip(items, *more, strict=False) if is_call else items
        encode = _call_encoder(call) if is_call else encode_items
        frame = sys._getframe(1)
        called_at = frame.f_code.co_filename, frame.f_lineno
        stream = ItemStream(target, inputs, session.wake, ordered=ordered, encode=encode, called_at=called_at)
        session.add(stream)
        return Results(stream, raising=failures == "raise", cancel=session.cancel)

    def submit(self, fn: Function, /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call a function on a worker; return the future of its value. A call that failed raises TaskFailed there.

        Calls that come while others are being sent off travel together. `cancel()` works until a call is sent off.
        """
        return self._submit(fn, args, kwargs, _as_it_is)

    def executor(self) -> ClusterExecutor:
        """Return a `concurrent.futures.Executor` over the workers. Shutting it down leaves the cluster as it is."""
        return ClusterExecutor(self)

    def asubmit(self, fn: Function, /, *args: Any, **kwargs: Any) -> asyncio.Future[Any]:
        """Like submit(), for asyncio."""
        return asyncio.wrap_future(self.submit(fn, *args, **kwargs))

    async def amap(
        self,
        fn: Function,
        items: Iterable[Any] | AsyncIterable[Any],
        *,
        ordered: bool = True,
        failures: Literal["raise", "return"] = "raise",
    ) -> AsyncIterator[Any]:
        """Like map(), for asyncio; the items may come from an async iterable. The event loop is never held up."""
        loop = asyncio.get_running_loop()
        source = _from_async(items, loop) if isinstance(items, AsyncIterable) else items
        results = await asyncio.to_thread(lambda: self.map(fn, source, ordered=ordered, failures="return"))
        try:
            while found := await asyncio.to_thread(results.take_ready):
                for value in found:
                    if type(value) is TaskFailed and failures == "raise":
                        raise value
                    yield value
        finally:
            results.close()

    def _submit(
        self, fn: Function, args: Sequence[Any], kwargs: Mapping[str, Any], translate: Translate
    ) -> Future[Any]:
        call = call_of(fn, self._settings.tasks_dir)
        line = encode_call(call, args, kwargs)
        future: Future[Any] = CallFuture()
        self._stream(self._functions.target(call.task, is_call=True)).add(line, future, translate)
        return future

    def _stream(self, target: CallTarget) -> FutureStream:
        session = self._started()
        with self._lock:
            stream = self._futures.get(target)
            if stream is None:
                stream = self._futures[target] = FutureStream(target, session.wake)
                session.add(stream)
        return stream

    # --- what programs and tasks share ---

    def lock(self, name: str, lease_s: float = 10.0) -> SharedLock:
        """A fair lock by name, for programs and tasks: `with cluster.lock("log") as lease`."""
        return SharedLock(self._redis(), name, lease_s, self._settings.label)

    def counter(self, name: str) -> Counter:
        """A number that many may change at once: `cluster.counter("pages").add(1)`."""
        return Counter(self._redis(), name)

    def dict(self, name: str) -> SharedDict:
        """A dict of JSON values by name."""
        return SharedDict(self._redis(), name)

    def queue(self, name: str, maxsize: int = 0) -> SharedQueue:
        """A queue of JSON values by name, with the methods of `queue.Queue`."""
        return SharedQueue(self._redis(), name, maxsize)

    def _redis(self) -> redis.Redis:
        refuse_while_importing("the cluster")
        with self._lock:
            if self._closed:
                raise ClusterError(_CLOSED)
            if self._connection is None:
                self._connection = connect(self._settings)
            return self._connection

    # --- its life ---

    def _started(self) -> Session:
        refuse_while_importing("the cluster")
        with self._lock:
            if self._closed:
                raise ClusterError(_CLOSED)
            if self._session is None:
                self._session = Session(self._settings, keep=self._keep)
            if self._session.broken is not None:
                raise self._session.broken
            return self._session

    def close(self) -> None:
        """End the session, and the cluster too if it is a local one. What is still out comes to nothing."""
        with self._lock:
            # What a program has forked is not the one that has to clean up.
            if self._closed or os.getpid() != self._pid:
                return
            self._closed = True
        atexit.unregister(self.close)
        if self._session is not None:
            self._session.close()
        if self._connection is not None:
            self._connection.close()
        if self._stop is not None:
            self._stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        session = self._session
        if error is None and session is not None and session.broken is None and os.getpid() == self._pid:
            for forgotten in session.loose_ends():
                warnings.warn(forgotten, RuntimeWarning, stacklevel=2)
        self.close()


def _as_it_is(failed: TaskFailed) -> BaseException:
    return failed


def _call_encoder(call: Call) -> Callable[[list[Any]], tuple[list[str], Exception | None]]:
    """Encode tuples of arguments."""

    def encode(items: list[Any]) -> tuple[list[str], Exception | None]:
        lines: list[str] = []
        try:
            for arguments in items:
                lines.append(encode_call(call, arguments, {}))  # noqa: PERF401  what came before an error counts
        except Exception as error:  # noqa: BLE001 - raised where the item's result would be
            return lines, error
        return lines, None

    return encode


def _from_async(items: AsyncIterable[Any], loop: asyncio.AbstractEventLoop) -> Iterable[Any]:
    """Read an async iterable from another thread, one item at a time."""
    iterator = aiter(items)
    done = object()

    async def following() -> Any:
        return await anext(iterator, done)

    while (item := asyncio.run_coroutine_threadsafe(following(), loop).result()) is not done:
        yield item
