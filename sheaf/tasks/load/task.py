"""The `load` task: many URLs in flight at once, on one libcurl multi handle and one thread."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import threading
import time
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

import pycurl

from sheaf.batch import Done, Failed, Item, Result
from sheaf.formats import Format, Page
from sheaf.tasks import Source
from sheaf.tasks.load.address import AddressGate
from sheaf.tasks.load.allocator import keep_freed_memory
from sheaf.tasks.load.connections import FIRST, MOST_UNASKED, Choice, Connections
from sheaf.tasks.load.errors import AddressRefused, Dns, LoadError, Protocol, Timeout, TooLarge
from sheaf.tasks.load.failure import curl_failure, status_failure, wait_s
from sheaf.tasks.load.memory import MemoryLimit
from sheaf.tasks.load.options import LoadOptions
from sheaf.tasks.load.transfer import Transfer
from sheaf.tasks.load.visit import Visit

#: What a server answers that is asked too much.
_OVERLOADED = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
#: How long an idle child waits for an item before it takes another turn.
_IDLE_S = 1.0
#: While connections are free, new items are looked for this often.
_LOOK_S = 0.02
#: Deadlines are checked this often.
_TICK_S = 0.1
#: libcurl may ask to be called at once although it has nothing to wait on.
_BREATH_S = 0.001


class LoadTask:
    """Loads each item's URL; its record is the page in the output's format."""

    def __init__(self) -> None:
        self._loader: _Loader | None = None
        #: Pages that are in progress at once, to begin with.
        self.at_once = FIRST

    @property
    def choices(self) -> list[Choice]:
        """What the last run decided by itself so far."""
        return [self._loader.connections.choice] if self._loader else []

    def window(self, options: Mapping[str, Any]) -> int:
        asked = LoadOptions.from_mapping(options).connections
        self.at_once = asked or FIRST
        # New ones are sent when half of these are gone: there should then still be some that wait.
        return 3 * (asked or MOST_UNASKED)

    def run(self, source: Source, options: Mapping[str, Any], format: Format) -> Iterator[Result | None]:
        keep_freed_memory()
        loader = self._loader = _Loader(LoadOptions.from_mapping(options), format)
        try:
            yield from loader.run(source)
        finally:
            loader.close()


class _Loader:
    """The visits that are in flight, those that wait for their next attempt, and the connections that are free."""

    def __init__(self, options: LoadOptions, format: Format) -> None:
        self._options = options
        self._format = format
        self._memory = MemoryLimit()
        self._gate = AddressGate(options.allow_net, options.allow_net_most)
        self.connections = Connections(options.connections, time.monotonic())
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_MAXCONNECTS, self.connections.most)
        self._free: list[Transfer] = []
        self._active: dict[Any, tuple[Transfer, Visit]] = {}
        self._waiting: list[tuple[float, int, Visit]] = []
        self._counter = itertools.count()
        self._next_tick = 0.0
        self._results: list[Result] = []
        #: Whether something timed out, so that a look-up of a name may still be going on.
        self._gave_up = False

    def run(self, source: Source) -> Iterator[Result | None]:
        while True:
            self._fill(source)
            if self._active:
                self._multi.perform()
                self._collect()
                self._tick()
            if self._results:
                yield from self._results
                self._results.clear()
                continue
            yield None
            if self._active:
                self._wait_for_network(source)
            elif not self._wait_for_item(source):
                return

    def close(self) -> None:
        """Close all connections; what is in flight is abandoned."""
        self._gave_up = self._gave_up or bool(self._active)
        for transfer, _ in self._active.values():
            self._multi.remove_handle(transfer.easy)
            self._free.append(transfer)
        for transfer in self._free:
            transfer.easy.close()
        if self._gave_up:
            # libcurl waits here for every name server that has not answered yet, which takes it many seconds.
            with contextlib.suppress(RuntimeError):
                threading.Thread(target=self._multi.close, name="load-close", daemon=True).start()
                return
        self._multi.close()

    def _fill(self, source: Source) -> None:
        """Give every free connection something to do: first what is due again, then new items."""
        while len(self._active) < self.connections.limit:
            if self._waiting and self._waiting[0][0] <= time.monotonic():
                self._begin(heapq.heappop(self._waiting)[2])
                continue
            item = source.take(0)
            if item is None:
                self.connections.ran_dry(time.monotonic())
                return
            if self.connections.dry:
                self.connections.supplied(time.monotonic())
            self._accept(item)

    def _accept(self, item: Item) -> None:
        try:
            self._begin(Visit.of(item))
        except LoadError as error:
            self._results.append(Failed(item.index, type(error).__name__, str(error), 1))

    def _begin(self, visit: Visit) -> None:
        visit.begin_attempt(time.monotonic() + self._options.deadline_s)
        self._ask(visit)

    def _ask(self, visit: Visit) -> None:
        transfer = self._free.pop() if self._free else self._new_transfer()
        transfer.start(visit.url)
        self._active[transfer.easy] = (transfer, visit)
        self._multi.add_handle(transfer.easy)

    def _new_transfer(self) -> Transfer:
        return Transfer(self._options, self._gate, self._memory, keeps_coding=self._format.keeps_coding)

    def _collect(self) -> None:
        """Take every transfer that libcurl has ended."""
        while True:
            queued, succeeded, failed = self._multi.info_read()
            for easy in succeeded:
                self._end(easy, None)
            for easy, code, message in failed:
                self._end(easy, (code, message))
            if not queued:
                return

    def _end(self, easy: Any, error: tuple[int, str] | None) -> None:
        transfer, visit = self._active.pop(easy)
        self._multi.remove_handle(easy)
        self.connections.ended()
        redirected = False
        try:
            redirected = self._settle(transfer, visit, error)
        except LoadError as failure:
            self._fail(visit, failure)
        self._let_go(transfer)
        if redirected:
            self._ask(visit)

    def _settle(self, transfer: Transfer, visit: Visit, error: tuple[int, str] | None) -> bool:
        """Make the item's result of what came back, or return True if that is a redirect. Raises LoadError."""
        if error is not None:
            failure = self._failure(transfer, visit, *error)
            if failure is not None:
                raise failure
        exchange = transfer.exchange()
        if exchange is None:
            raise Protocol(f"{visit.url}: the server sent no HTTP response")
        if visit.add(exchange, self._options.max_redirects):
            return True
        if exchange.status in _OVERLOADED:
            self.connections.overloaded(time.monotonic())
        if not self._options.accepts(exchange.status):
            raise status_failure(exchange, visit.start_url)
        transfer.finish(exchange)
        self._results.append(Done(visit.item.index, self._format.page(Page(visit.item, visit.exchanges))))
        return False

    def _failure(self, transfer: Transfer, visit: Visit, code: int, message: str) -> LoadError | None:
        """Say why a transfer ended early; None if we ended it ourselves and have what we want."""
        if transfer.too_large or code == pycurl.E_FILESIZE_EXCEEDED:
            if self._options.truncate:
                return None
            return TooLarge(
                f"{visit.url} has more than {self._options.max_bytes:,} bytes; raise the limit, or ask for truncation"
            )
        if transfer.refused and code == pycurl.E_COULDNT_CONNECT:
            return AddressRefused(
                f"{visit.url}: the address {transfer.refused[0]} is not on the public internet; "
                f"{self._gate.cure(transfer.refused[0])}"
            )
        return curl_failure(code, message, visit.url)

    def _fail(self, visit: Visit, failure: LoadError) -> None:
        """Try the item again later, or record that it failed."""
        visit.exchanges = []
        self._gave_up = self._gave_up or isinstance(failure, (Dns, Timeout))
        if failure.retry and visit.attempt < self._options.attempts:
            due = time.monotonic() + wait_s(visit.attempt, failure)
            visit.attempt += 1
            heapq.heappush(self._waiting, (due, next(self._counter), visit))
            return
        self._results.append(Failed(visit.item.index, type(failure).__name__, str(failure), visit.attempt))

    def _let_go(self, transfer: Transfer) -> None:
        self._free.append(transfer)
        if transfer.release():
            for paused, _ in self._active.values():
                if paused.paused:
                    paused.resume()

    def _tick(self) -> None:
        """End what is past its deadline. Time spent waiting for our own memory does not count."""
        now = time.monotonic()
        if now < self._next_tick:
            return
        self._next_tick = now + _TICK_S
        self.connections.look(now)
        for transfer, visit in list(self._active.values()):
            if transfer.paused:
                visit.deadline += _TICK_S
            elif now > visit.deadline:
                del self._active[transfer.easy]
                self._multi.remove_handle(transfer.easy)
                self._fail(visit, Timeout(f"{visit.url} was not whole within {self._options.deadline_s:g} s"))
                self._let_go(transfer)

    def _wait_for_network(self, source: Source) -> None:
        limit_s = _LOOK_S if self.connections.dry and not source.closed else _TICK_S
        wanted_ms = self._multi.timeout()
        if wanted_ms == 0:
            return
        if wanted_ms > 0:
            limit_s = min(limit_s, wanted_ms / 1000)
        begun = time.monotonic()
        ready = self._multi.select(limit_s)
        waited_s = time.monotonic() - begun
        self.connections.waited(waited_s)
        if ready == 0 and waited_s < _BREATH_S:
            time.sleep(_BREATH_S)

    def _wait_for_item(self, source: Source) -> bool:
        """With nothing in flight, wait for an item or for the next attempt. Returns False if neither will come."""
        wait_for_s = _IDLE_S
        if self._waiting:
            wait_for_s = min(max(self._waiting[0][0] - time.monotonic(), 0), _IDLE_S)
        if source.closed:
            if self._waiting:
                time.sleep(wait_for_s)
            return bool(self._waiting)
        item = source.take(wait_for_s)
        if item is not None:
            self._accept(item)
        return True
