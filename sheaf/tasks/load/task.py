"""The `load` task: many URLs in flight at once, on one libcurl multi handle and one thread."""

from __future__ import annotations

import contextlib
import errno
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from typing import Any

import pycurl

from sheaf.formats import Format, Page
from sheaf.run.items import Done, Failed, Item, Result
from sheaf.tasks.load.address import AddressGate
from sheaf.tasks.load.allocator import keep_freed_memory
from sheaf.tasks.load.connections import FIRST, MOST_UNASKED, Choice, Connections
from sheaf.tasks.load.errors import AddressRefused, Connect, Dns, LoaderFault, LoadError, Timeout
from sheaf.tasks.load.failure import MAY_LACK_FILES, check_accepted, curl_failure, too_large
from sheaf.tasks.load.files import LackOfFiles, are_short, is_lack_of_files, more_files, most_connections
from sheaf.tasks.load.later import Later
from sheaf.tasks.load.memory import MemoryLimit
from sheaf.tasks.load.options import LoadOptions
from sheaf.tasks.load.transfer import Transfer
from sheaf.tasks.load.trust import Trust
from sheaf.tasks.load.visit import Visit
from sheaf.tasks.protocol import Source
from sheaf.tasks.tracebacks import explain
from sheaf.tasks.transient_errors import passes

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
#: Seconds, and bytes of records, after which pages that have ended wait until others were seen to.
_TURN_S, _MOST_KEPT_BYTES = 0.05, 1 << 20
#: How many overloaded hosts are told of, and how.
_SHOWN_HOSTS, _SPARED = 3, "it said that it is overloaded"

#: How a transfer ended: by itself, with libcurl's code and words, or for a reason of ours.
Ending = tuple[int, str] | Exception | None


class LoadTask:
    """Loads each item's URL; its record is the page in the output's format."""

    def __init__(self) -> None:
        self._loader: _Loader | None = None
        #: Pages that are in progress at once, to begin with.
        self.at_once = FIRST

    @property
    def choices(self) -> list[Choice]:
        """What the last run decided by itself so far."""
        return self._loader.choices if self._loader else []

    def window(self, options: Mapping[str, Any]) -> int:
        asked = LoadOptions.from_mapping(options).connections
        self.at_once = asked or FIRST
        # New ones are sent when half of these are gone: there should then still be some that wait.
        return 3 * (asked or MOST_UNASKED)

    def run(self, source: Source, options: Mapping[str, Any], format: Format) -> Iterator[Result | None]:
        keep_freed_memory()
        checked = LoadOptions.from_mapping(options)
        with more_files(), Trust(checked) as trust:
            loader = self._loader = _Loader(checked, trust, format)
            try:
                yield from loader.run(source)
            finally:
                loader.close()


class _Loader:
    """The visits that are in flight, and the connections that are free.

    Whatever is done for one item goes through `_attend`: what is raised there is that item's failure alone.
    """

    def __init__(self, options: LoadOptions, trust: Trust, format: Format) -> None:
        self._options = options
        self._trust = trust
        self._format = format
        self._memory = MemoryLimit()
        self._gate = AddressGate(options.allow_net, options.allow_net_most)
        self.connections = Connections(options.connections, time.monotonic(), most_connections())
        self._later = Later()
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_MAXCONNECTS, self.connections.most)
        self._free: list[Transfer] = []
        self._active: dict[Any, tuple[Transfer, Visit]] = {}
        #: What has ended and is to be unpacked and made a record of: packed as they came, many take little memory.
        self._ended: deque[tuple[Transfer, Visit, Ending]] = deque()
        self._next_tick = 0.0
        self._results: list[Result] = []
        #: Bytes of records among them.
        self._kept_bytes = 0
        #: Whether something timed out, so that a look-up of a name may still be going on.
        self._gave_up = False
        #: Whether a body was let go of that others may have waited for.
        self._made_room = False

    @property
    def choices(self) -> list[Choice]:
        spared = list(self._later.hosts.limits.items())[:_SHOWN_HOSTS]
        return [self.connections.choice, *(Choice(f"connections to {host}", most, _SPARED) for host, most in spared)]

    def run(self, source: Source) -> Iterator[Result | None]:
        while True:
            if not self._ended:
                self._fill(source)
            if self._active:
                self._multi.perform()
                self._collect()
                self._tick()
            self._settle_ended()
            if self._results:
                yield from self._results
                self._results.clear()
                self._kept_bytes = 0
                continue
            if self._ended:
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
        for transfer in [*self._free, *(transfer for transfer, _, _ in self._ended)]:
            transfer.easy.close()
        if self._gave_up:
            # libcurl waits here for every name server that has not answered yet, which takes it many seconds.
            with contextlib.suppress(RuntimeError):
                threading.Thread(target=self._multi.close, name="load-close", daemon=True).start()
                return
        self._multi.close()

    def _attend(self, visit: Visit, step: Callable[..., Result | None], *arguments: Any) -> None:
        """Take a step for one item, and keep its result if it has one now.

        Nothing that is raised leaves this: an answer nobody has thought of must not cost the pages beside it anything.
        """
        try:
            try:
                result = step(visit, *arguments)
            except LoadError as failure:
                result = self._after(visit, failure)
            except (OSError, MemoryError) as error:
                result = self._refused(visit, error)
        except Exception as error:  # noqa: BLE001 - see above
            result = Failed(visit.item.index, LoaderFault.__name__, _in_words(visit, error), visit.attempt)
        if result is not None:
            self._results.append(result)

    def _refused(self, visit: Visit, error: OSError | MemoryError) -> Failed | None:
        """The system has refused something: no server's fault, and perhaps to be had later. Raises what is neither."""
        if isinstance(error, OSError) and is_lack_of_files(error):
            self.connections.lacks_files(len(self._active), time.monotonic())
            self._later.put_off(visit, len(self._active))
            return None
        if not passes(error):
            raise error
        fault = LoaderFault(_in_words(visit, error))
        fault.retry = True
        return self._after(visit, fault)

    def _fill(self, source: Source) -> None:
        """Give every free connection something to do: first what is due again, then new items."""
        later, hosts = self._later, self._later.hosts
        while len(self._active) < self.connections.limit:
            if hosts.active and (visit := hosts.next()) is not None:
                self._attend(visit, self._begin)
                continue
            if later.waiting and (visit := later.next()) is not None:
                self._attend(visit, self._begin_if_let)
                continue
            if hosts.active and hosts.full:
                return
            item = source.take(0)
            if item is None:
                self.connections.ran_dry(time.monotonic())
                return
            if self.connections.dry:
                self.connections.supplied(time.monotonic())
            self._accept(item)

    def _accept(self, item: Item) -> None:
        self._attend(Visit(item), self._set_out)

    def _set_out(self, visit: Visit) -> None:
        visit.set_out()
        self._begin_if_let(visit)

    def _begin_if_let(self, visit: Visit) -> None:
        hosts = self._later.hosts
        if not hosts.active or not hosts.holds_back(visit, time.monotonic()):
            self._begin(visit)

    def _begin(self, visit: Visit) -> None:
        visit.begin_attempt(time.monotonic() + self._options.deadline_s)
        self._ask(visit)

    def _ask(self, visit: Visit) -> None:
        transfer = self._free.pop() if self._free else self._new_transfer()
        transfer.start(visit.url, visit.cookie)
        self._multi.add_handle(transfer.easy)
        self._active[transfer.easy] = (transfer, visit)

    def _new_transfer(self) -> Transfer:
        keeps_coding = self._format.keeps_coding
        return Transfer(self._options, self._gate, self._trust, self._memory, keeps_coding=keeps_coding)

    def _collect(self) -> None:
        """Take off every transfer that libcurl has ended."""
        while True:
            queued, succeeded, failed = self._multi.info_read()
            for easy in succeeded:
                self._end(easy, None)
            for easy, code, message in failed:
                self._end(easy, (code, message))
            if not queued:
                return

    def _resume_paused(self) -> None:
        for transfer, _ in list(self._active.values()):
            if transfer.paused:
                try:
                    transfer.resume()
                except pycurl.error as error:
                    # What it then wrote was refused, or cannot be unpacked: that transfer has ended.
                    self._end(transfer.easy, (error.args[0], error.args[1]))
                except Exception as error:  # noqa: BLE001 - as in `_attend`
                    self._end(transfer.easy, error)

    def _end(self, easy: Any, ending: Ending) -> None:
        transfer, visit = self._active.pop(easy)
        self._multi.remove_handle(easy)
        self._ended.append((transfer, visit, ending))

    def _settle_ended(self) -> None:
        """See to what has ended, until that has taken so long, or become so much, that it is the others' turn."""
        ended, until = self._ended, time.monotonic() + _TURN_S
        while ended and self._kept_bytes < _MOST_KEPT_BYTES:
            transfer, visit, ending = ended.popleft()
            self.connections.ended()
            self._attend(visit, self._answered, transfer, ending)
            if ended and time.monotonic() > until:
                break
        if self._made_room:
            self._made_room = False
            self._resume_paused()

    def _answered(self, visit: Visit, transfer: Transfer, ending: Ending) -> Result | None:
        """A transfer has ended: return the item's result, or go on to where it is redirected. Raises LoadError."""
        hosts = self._later.hosts
        host = visit.host if hosts.active else None
        try:
            result = self._settle(visit, transfer, ending)
        finally:
            self._made_room = transfer.release() or self._made_room
            self._free.append(transfer)
            if hosts.active:
                hosts.ended(host or visit.host)
        if result is None:
            if hosts.active:
                hosts.moved(visit.host)
            self._ask(visit)
        return result

    def _settle(self, visit: Visit, transfer: Transfer, ending: Ending) -> Done | None:
        """Make the item's result of what came back; None if that is a redirect. Raises LoadError."""
        transfer.keeps_part = self._options.truncate and visit.attempt >= self._options.attempts
        if ending is not None:
            failure = ending if isinstance(ending, Exception) else self._failure(transfer, *ending)
            if failure is not None and not transfer.cut_by(failure):
                raise failure
        exchange = transfer.exchange()
        if exchange is None:
            raise Connect(f"{visit.url}: the connection was closed within the header lines of the answer")
        if visit.add(exchange, self._options.max_redirects):
            if isinstance(ending, tuple) and exchange.truncated is None:
                exchange.truncated = "disconnect" if ending[0] else "unspecified"
            return None
        if exchange.status in _OVERLOADED and not self._options.connections:
            self._spare(visit.host)
        check_accepted(exchange, self._options, visit.start_url)
        transfer.finish(exchange)
        record = self._format.page(Page(visit.item, visit.exchanges))
        self._kept_bytes += len(record)
        return Done(visit.item.index, record)

    def _failure(self, transfer: Transfer, code: int, message: str) -> Exception | None:
        """Say why a transfer ended early; None if we have what we want all the same."""
        if transfer.leads_on:
            return None
        if transfer.too_large or code == pycurl.E_FILESIZE_EXCEEDED:
            return None if self._options.truncate else too_large(transfer.url, self._options)
        if transfer.lacked_files or (code in MAY_LACK_FILES and are_short()):
            return LackOfFiles(errno.EMFILE, "no descriptor for a connection")
        if transfer.refused and code == pycurl.E_COULDNT_CONNECT:
            return AddressRefused(
                f"{transfer.url}: the address {transfer.refused[0]} is not on the public internet; "
                f"{self._gate.cure(transfer.refused[0])}"
            )
        return curl_failure(code, message, transfer.url)

    def _spare(self, host: str) -> None:
        """That host says it is asked too much. Nobody else has said so."""
        busy = 1 + sum(visit.host == host for _, visit in self._active.values())
        self._later.hosts.overloaded(host, busy, time.monotonic())

    def _after(self, visit: Visit, failure: LoadError) -> Failed | None:
        """Try the item again later, or return that it failed."""
        self._gave_up = self._gave_up or isinstance(failure, (Dns, Timeout))
        if failure.retry and visit.attempt < self._options.attempts:
            self._later.try_again(visit, failure)
            return None
        return Failed(visit.item.index, type(failure).__name__, str(failure), visit.attempt)

    def _tick(self) -> None:
        """End what is past its deadline, or needs no body. Time spent waiting for our own memory does not count."""
        now = time.monotonic()
        if now < self._next_tick:
            return
        self._next_tick = now + _TICK_S
        self.connections.look(now)
        self._later.hosts.look(now)
        for transfer, visit in list(self._active.values()):
            try:
                ending = self._ending(transfer, visit, now)
            except Exception as error:  # noqa: BLE001 - as in `_attend`
                ending = error
            if ending is not None:
                self._end(transfer.easy, ending)

    def _ending(self, transfer: Transfer, visit: Visit, now: float) -> Ending:
        """Why a transfer that goes on should be ended, if it should."""
        code = transfer.early_end()
        if code is not None:
            return code, ""
        if transfer.paused:
            visit.deadline += _TICK_S
        elif now > visit.deadline:
            return Timeout(f"{visit.url} was not whole within {self._options.deadline_s:g} s")
        return None

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
        wait_for_s = min(self._later.soon_s, _IDLE_S)
        if source.closed:
            if self._later.waiting:
                time.sleep(wait_for_s)
            return bool(self._later.waiting)
        item = source.take(wait_for_s)
        if item is not None:
            self._accept(item)
        return True


def _in_words(visit: Visit, error: Exception) -> str:
    return f"{visit.url or visit.item.text}: {explain(error, None)}"
