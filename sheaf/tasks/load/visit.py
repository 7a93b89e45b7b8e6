"""One item on its way: where it is, what led there, and where its redirects and attempts go next."""

from __future__ import annotations

from dataclasses import dataclass, field

from sheaf.batch import Item
from sheaf.formats import Exchange
from sheaf.tasks.load.errors import InvalidUrl, Redirect
from sheaf.tasks.load.url import check_url, join_url

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
#: How much of a redirect's own body is kept: nobody reads it, and there may be many.
_REDIRECT_BODY_BYTES = 64 << 10


@dataclass(slots=True, eq=False)
class Visit:
    """An item that was taken and has no result yet."""

    item: Item
    #: The item's URL in normal form. Raises InvalidUrl through `of`.
    start_url: str
    #: What is asked for now.
    url: str
    #: The number of the present attempt, from 1.
    attempt: int = 1
    #: When the present attempt must be over (time.monotonic).
    deadline: float = 0.0
    exchanges: list[Exchange] = field(default_factory=list)

    @classmethod
    def of(cls, item: Item) -> Visit:
        """Raises InvalidUrl."""
        url = check_url(item.text)
        return cls(item, url, url)

    def begin_attempt(self, deadline: float) -> None:
        """Start, or start anew, at the item's own URL."""
        self.deadline = deadline
        self.url = self.start_url
        self.exchanges = []

    def add(self, exchange: Exchange, max_redirects: int) -> bool:
        """Note an answer. Returns True if it is a redirect, which was then taken. Raises Redirect if it cannot be."""
        location = exchange.header("location") if exchange.status in _REDIRECTS else None
        self.exchanges.append(exchange)
        if location is None:
            return False
        if len(exchange.body) > _REDIRECT_BODY_BYTES:
            exchange.body = exchange.body[:_REDIRECT_BODY_BYTES]
            exchange.truncated = "length"
        if len(self.exchanges) > max_redirects:
            raise Redirect(f"{self.start_url} was redirected more than {max_redirects} times, last to {location[:200]}")
        self.url = self._target(exchange.url, location)
        return True

    def _target(self, base: str, location: str) -> str:
        try:
            url = join_url(base, _as_text(location))
        except InvalidUrl as error:
            raise Redirect(f"{self.start_url} was redirected by {base} to what cannot be loaded: {error}") from error
        if any(exchange.url == url for exchange in self.exchanges):
            raise Redirect(f"{self.start_url} is redirected in a circle: {base} leads back to {url}")
        return url


def _as_text(location: str) -> str:
    """Servers send UTF-8 in this header, although it was read as Latin-1 like all headers."""
    try:
        return location.encode("latin-1").decode()
    except UnicodeDecodeError:
        return location
