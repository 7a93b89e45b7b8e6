"""One item on its way: where it is, what led there, and where its redirects and attempts go next."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sheaf.formats import Exchange
from sheaf.run.items import Item
from sheaf.tasks.load.errors import InvalidUrl, Redirect
from sheaf.tasks.load.head import values_of
from sheaf.tasks.load.url import check_url, join_url, split_url

if TYPE_CHECKING:
    from sheaf.tasks.load.cookies import Cookies

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
#: How much of a redirect's own body is kept: it is never read, and there may be many.
_REDIRECT_BODY_BYTES = 64 << 10
_BEYOND_ASCII = re.compile(r"[\x80-\xff]")
_SHOWN = 200


@dataclass(slots=True, eq=False)
class Visit:
    """An item that was taken and has no result yet."""

    item: Item
    #: The item's URL in normal form; empty until `set_out`.
    start_url: str = ""
    #: What is asked for now.
    url: str = ""
    #: The Cookie header that goes with it; empty: none.
    cookie: str = ""
    #: The number of the present attempt, from 1.
    attempt: int = 1
    #: When the present attempt must be over (time.monotonic); set as it begins.
    deadline: float = 0.0
    exchanges: list[Exchange] = field(default_factory=list)
    #: What this attempt's redirects have set. Most set nothing.
    _cookies: Cookies | None = None
    #: URL and cookies of each request of this attempt that was answered by a redirect.
    _asked: set[tuple[str, str]] | None = None

    def set_out(self) -> None:
        """Find out where to begin. Raises InvalidUrl."""
        self.url = self.start_url = check_url(self.item.text)

    @property
    def host(self) -> str:
        """Host and port of what is asked for now."""
        return split_url(self.url)[0]

    def start_over(self) -> None:
        """Forget where this attempt has led, and its cookies."""
        self.url = self.start_url
        self.exchanges = []
        self.cookie, self._cookies, self._asked = "", None, None

    def add(self, exchange: Exchange, max_redirects: int) -> bool:
        """Note an answer. Returns True if it is a redirect, which was then taken. Raises Redirect if it cannot be."""
        self.exchanges.append(exchange)
        location = target_of(exchange.status, exchange.head) if exchange.status in _REDIRECTS else None
        if location is None:
            return False
        if len(exchange.body) > _REDIRECT_BODY_BYTES:
            exchange.body = exchange.body[:_REDIRECT_BODY_BYTES]
            exchange.truncated = "length"
        if len(self.exchanges) > max_redirects:
            raise Redirect(
                f"{self.start_url} was redirected more than {max_redirects} times, last to {location[:_SHOWN]}"
            )
        if self._asked is None:
            self._asked = set()
        self._asked.add((self.url, self.cookie))
        self.url = self._target(exchange.url, location)
        self.cookie = self._cookie(exchange)
        if (self.url, self.cookie) in self._asked:
            raise Redirect(f"{self.start_url} is redirected in a circle: {exchange.url} leads back to {self.url}")
        return True

    def _target(self, base: str, location: str) -> str:
        try:
            return join_url(base, _encoded(location))
        except InvalidUrl as error:
            raise Redirect(f"{self.start_url} was redirected by {base} to what cannot be loaded: {error}") from error

    def _cookie(self, exchange: Exchange) -> str:
        """The Cookie header of the request that this redirect leads to."""
        set_by_it = values_of(exchange.head, b"set-cookie")
        if set_by_it:
            if self._cookies is None:
                # Few redirects set one, and these modules take a process as long to import as a hundred pages.
                from sheaf.tasks.load.cookies import Cookies

                self._cookies = Cookies()
            self._cookies.take(exchange.url, set_by_it)
        return self._cookies.header(self.url) if self._cookies is not None else ""


def target_of(status: int, head: bytes) -> str | None:
    """Where an answer with these header lines sends us on to; None if it is no redirect. An empty Location is none."""
    if status not in _REDIRECTS:
        return None
    return next(filter(None, values_of(head, b"location")), None)


def _encoded(location: str) -> str:
    """The header's bytes beyond ASCII, which are in whatever coding, go back to the server as they are."""
    return _BEYOND_ASCII.sub(lambda match: f"%{ord(match[0]):02X}", location)
