"""What a transfer's end means for its visit: the item's result, the next request, another attempt, or its failure."""

from __future__ import annotations

import errno
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import pycurl

from sheaf.formats import Exchange, Format, Page
from sheaf.run.items import Done, Failed
from sheaf.tasks.load.address import AddressGate
from sheaf.tasks.load.connections import Connections
from sheaf.tasks.load.errors import AddressRefused, Connect, Dns, LoaderFault, LoadError, Timeout
from sheaf.tasks.load.failure import MAY_LACK_FILES, check_accepted, curl_failure, too_large
from sheaf.tasks.load.files import LackOfFiles, are_short, is_lack_of_files
from sheaf.tasks.load.later import Later
from sheaf.tasks.load.options import LoadOptions
from sheaf.tasks.load.transfer import Transfer
from sheaf.tasks.load.visit import Visit
from sheaf.tasks.tracebacks import explain
from sheaf.tasks.transient_errors import passes

#: What a server answers that is asked too much.
_OVERLOADED = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
_OK = 200

#: How a transfer ended: by itself, with libcurl's code and words, or for a reason of ours.
Ending = tuple[int, str] | Exception | None


class Outcomes:
    """Decides over the visits of one run. `active` are those that are in flight, by their handles."""

    def __init__(
        self,
        options: LoadOptions,
        format: Format,
        gate: AddressGate,
        connections: Connections,
        later: Later,
        active: Mapping[Any, tuple[Transfer, Visit]],
    ) -> None:
        self._options = options
        self._format = format
        self._gate = gate
        self._connections = connections
        self._later = later
        self._active = active
        #: Whether an answer of status 200 is a page, as nearly all are, and nothing else about it is to be decided.
        self._accepts_ok = options.accepts(_OK)
        #: Whether something timed out, so that a look-up of a name may still be going on.
        self.gave_up = False

    def of_transfer(self, visit: Visit, transfer: Transfer, ending: Ending) -> Done | None:
        """Make the item's result of what came back; None if that is a redirect. Raises LoadError."""
        if visit.attempt >= self._options.attempts:
            transfer.keeps_part = self._options.truncate
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
        if exchange.status != _OK or not self._accepts_ok:
            self._check(visit, exchange)
        transfer.finish(exchange)
        return Done(visit.item.index, self._format.page(Page(visit.item, visit.exchanges)))

    def of_error(self, visit: Visit, error: Exception) -> Failed | None:
        """Say what it means for the item that a step of its visit raised this; None if it is tried again later.

        Nothing that is raised leaves this: an unforeseen answer must not cost other pages anything.
        """
        try:
            if isinstance(error, LoadError):
                return self._after(visit, error)
            if isinstance(error, (OSError, MemoryError)):
                return self._refused(visit, error)
        except Exception as another:  # noqa: BLE001 - see above
            error = another
        return Failed(visit.item.index, LoaderFault.__name__, _in_words(visit, error), visit.attempt)

    def _check(self, visit: Visit, exchange: Exchange) -> None:
        """Raise HttpStatus for an answer that is no page."""
        if exchange.status in _OVERLOADED and not self._options.connections:
            self._spare(visit.host)
        check_accepted(exchange, self._options, visit.start_url)

    def _spare(self, host: str) -> None:
        """This host says it is asked too much; no other host is affected."""
        busy = 1 + sum(visit.host == host for _, visit in self._active.values())
        self._later.hosts.overloaded(host, busy, time.monotonic())

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

    def _refused(self, visit: Visit, error: OSError | MemoryError) -> Failed | None:
        """The system has refused something: no server's fault, and perhaps to be had later. Raises what is neither."""
        if isinstance(error, OSError) and is_lack_of_files(error):
            self._connections.lacks_files(len(self._active), time.monotonic())
            self._later.put_off(visit, len(self._active))
            return None
        if not passes(error):
            raise error
        fault = LoaderFault(_in_words(visit, error))
        fault.retry = True
        return self._after(visit, fault)

    def _after(self, visit: Visit, failure: LoadError) -> Failed | None:
        """Try the item again later, or return that it failed."""
        self.gave_up = self.gave_up or isinstance(failure, (Dns, Timeout))
        if failure.retry and visit.attempt < self._options.attempts:
            self._later.try_again(visit, failure)
            return None
        return Failed(visit.item.index, type(failure).__name__, str(failure), visit.attempt)


def _in_words(visit: Visit, error: Exception) -> str:
    return f"{visit.url or visit.item.text}: {explain(error, None)}"
