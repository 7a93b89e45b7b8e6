"""Many URLs in flight at once, on one libcurl multi handle and one thread."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

import pycurl

from sheaf.formats import Format
from sheaf.run.items import Done, Result
from sheaf.tasks.load.address import AddressGate
from sheaf.tasks.load.connections import Choice, Connections
from sheaf.tasks.load.errors import Timeout
from sheaf.tasks.load.files import most_connections
from sheaf.tasks.load.later import Later
from sheaf.tasks.load.memory import MemoryLimit
from sheaf.tasks.load.options import LoadOptions
from sheaf.tasks.load.outcome import Ending, Outcomes
from sheaf.tasks.load.transfer import Transfer
from sheaf.tasks.load.trust import Trust
from sheaf.tasks.load.visit import Visit
from sheaf.tasks.protocol import Supply

#: How long an idle child waits for an item before it takes another turn.
_IDLE_S = 1.0
#: While connections are free, new items are looked for this often.
_LOOK_S = 0.02
#: Deadlines are checked this often.
_TICK_S = 0.1
#: libcurl may ask to be called at once although it has nothing to wait on.
_BREATH_S = 0.001
#: Seconds, and bytes of records, after which pages that have ended wait until others were seen to.
_SLICE_S, _MOST_KEPT_BYTES = 0.05, 1 << 20
#: How many overloaded hosts are named, and how.
_SHOWN_HOSTS, _SPARED = 3, "it said that it is overloaded"


class Loader:
    """The visits that are in flight, and the connections that are free.

    What is raised as something is done for one item fails that item alone: `_begin` and `_settle_ended` see to it.
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
        self._outcomes = Outcomes(options, format, self._gate, self.connections, self._later, self._active)
        self._results: list[Result] = []
        #: Bytes of records among them.
        self._kept_bytes = 0
        #: Whether a body was let go of that others may have waited for.
        self._made_room = False

    @property
    def choices(self) -> list[Choice]:
        spared = list(self._later.hosts.limits.items())[:_SHOWN_HOSTS]
        return [self.connections.choice, *(Choice(f"connections to {host}", most, _SPARED) for host, most in spared)]

    def run(self, source: Supply) -> Iterator[Result | None]:
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
        gave_up = self._outcomes.gave_up or bool(self._active)
        for transfer, _ in self._active.values():
            self._multi.remove_handle(transfer.easy)
            self._free.append(transfer)
        for transfer in [*self._free, *(transfer for transfer, _, _ in self._ended)]:
            transfer.easy.close()
        if gave_up:
            # libcurl waits here for every name server that has not answered yet, which takes it many seconds.
            with contextlib.suppress(RuntimeError):
                threading.Thread(target=self._multi.close, name="load-close", daemon=True).start()
                return
        self._multi.close()

    def _fill(self, source: Supply) -> None:
        """Give every free connection something to do: first what is due again, then new items."""
        later, hosts, connections = self._later, self._later.hosts, self.connections
        while len(self._active) < connections.limit:
            if hosts.active and (visit := hosts.next()) is not None:
                self._begin(visit, is_let=True)
                continue
            if later.waiting and (visit := later.next()) is not None:
                self._begin(visit)
                continue
            if hosts.active and hosts.full:
                return
            item = source.take(0)
            if item is None:
                connections.mark_drained(time.monotonic())
                return
            if connections.drained:
                connections.supplied(time.monotonic())
            self._begin(Visit(item))

    def _begin(self, visit: Visit, *, is_let: bool = False) -> None:
        """Begin the visit's attempt, unless its host holds it back. `is_let`: it was held back, and may go now."""
        try:
            if not visit.url:
                visit.set_out()
            hosts = self._later.hosts
            if is_let or not hosts.active or not hosts.holds_back(visit, time.monotonic()):
                visit.deadline = time.monotonic() + self._options.deadline_s
                self._ask(visit)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is about this item alone
            self._raised(visit, error)

    def _raised(self, visit: Visit, error: Exception) -> None:
        result = self._outcomes.of_error(visit, error)
        if result is not None:
            self._results.append(result)

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
                except Exception as error:  # noqa: BLE001 - as in `_begin`
                    self._end(transfer.easy, error)

    def _end(self, easy: Any, ending: Ending) -> None:
        transfer, visit = self._active.pop(easy)
        self._multi.remove_handle(easy)
        self._ended.append((transfer, visit, ending))

    def _settle_ended(self) -> None:
        """See to what has ended, until that has taken so long, or become so much, that it is the others' turn."""
        ended, until, count = self._ended, time.monotonic() + _SLICE_S, 0
        while ended and self._kept_bytes < _MOST_KEPT_BYTES:
            transfer, visit, ending = ended.popleft()
            count += 1
            try:
                done = self._answered(visit, transfer, ending)
            except Exception as error:  # noqa: BLE001 - as in `_begin`
                self._raised(visit, error)
            else:
                if done is not None:
                    self._results.append(done)
                    self._kept_bytes += len(done.record)
            if ended and time.monotonic() > until:
                break
        self.connections.ended(count)
        if self._made_room:
            self._made_room = False
            self._resume_paused()

    def _answered(self, visit: Visit, transfer: Transfer, ending: Ending) -> Done | None:
        """A transfer has ended: return the item's result, or go on to where it is redirected. Raises LoadError."""
        hosts = self._later.hosts
        host = visit.host if hosts.active else None
        try:
            done = self._outcomes.of_transfer(visit, transfer, ending)
        finally:
            if transfer.release():
                self._made_room = True
            self._free.append(transfer)
            if hosts.active:
                hosts.ended(host or visit.host)
        if done is None:
            if hosts.active:
                hosts.moved(visit.host)
            self._ask(visit)
        return done

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
            except Exception as error:  # noqa: BLE001 - as in `_begin`
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

    def _wait_for_network(self, source: Supply) -> None:
        limit_s = _LOOK_S if self.connections.drained and not source.closed else _TICK_S
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

    def _wait_for_item(self, source: Supply) -> bool:
        """With nothing in flight, wait for an item or for the next attempt. Returns False if neither will come."""
        wait_for_s = min(self._later.soon_s, _IDLE_S)
        if source.closed:
            if self._later.waiting:
                time.sleep(wait_for_s)
            return bool(self._later.waiting)
        item = source.take(wait_for_s)
        if item is not None:
            self._begin(Visit(item))
        return True
