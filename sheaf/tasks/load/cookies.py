"""The cookies of one item: what its redirects set is sent along its way, as browsers do, and forgotten with it.

Consent pages, log-ins and load balancers set a cookie and redirect, often to the same URL. The rules (host and domain,
path, Secure, expiry, deletion) are those of Python's own cookie jar. No list of public suffixes: a cookie for `co.uk`
could only reach hosts that this item's own redirects lead to.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from email.message import Message
from http.cookiejar import Cookie, CookieJar, DefaultCookiePolicy
from urllib.parse import urlsplit
from urllib.request import Request

#: Browsers keep no larger cookie, and servers take no longer header line.
_LONGEST_COOKIE, _LONGEST_HEADER = 4096, 8000
#: One item's cookies; of more, the first ones are dropped.
_MOST_COOKIES = 50
#: What no header can hold, so that none can be made with it.
_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_ADDRESS = re.compile(r"[0-9.]+|.*:.*")


class Cookies:
    """A jar for the redirects of one item."""

    def __init__(self) -> None:
        # The jar's own idea of a host-only cookie is the old one: it would reach subdomains, too.
        self._policy = DefaultCookiePolicy(strict_ns_domain=DefaultCookiePolicy.DomainStrictNonDomain)
        self._jar = CookieJar(self._policy)

    def take(self, url: str, lines: list[str]) -> None:
        """Note what the Set-Cookie headers of the answer to the URL say; those that break the rules are passed over."""
        request = Request(url)  # noqa: S310 - it is never opened; the jar asks it for host and path
        for line in lines:
            if len(line) > _LONGEST_COOKIE or _CONTROLS.search(line):
                continue
            for cookie in self._cookies_of(line, request):
                # `Version=1` means nothing any more; the jar would send such a cookie back in quotation marks.
                cookie.version = 0
                if self._policy.set_ok(cookie, request) and _may_be_set(cookie, request):
                    self._jar.set_cookie(cookie)
        kept = list(self._jar)
        for cookie in kept[: max(0, len(kept) - _MOST_COOKIES)]:
            self._jar.clear(cookie.domain, cookie.path, cookie.name)

    def _cookies_of(self, line: str, request: Request) -> Sequence[Cookie]:
        with warnings.catch_warnings():
            # What the jar stumbles over it tells as a mistake of its own; it is one of the server's.
            warnings.simplefilter("ignore")
            return self._jar.make_cookies(_Answer(line), request)  # type: ignore[arg-type]

    def header(self, url: str) -> str:
        """The value of the Cookie header for a request to the URL; empty: none is sent."""
        request = Request(url)  # noqa: S310
        self._jar.add_cookie_header(request)
        value = request.get_header("Cookie") or ""
        return value if len(value) <= _LONGEST_HEADER else ""


def _may_be_set(cookie: Cookie, request: Request) -> bool:
    """What browsers ask for beyond the jar's rules: who sets it, and that a name with a promise in it keeps it."""
    host = urlsplit(request.full_url).hostname or ""
    if cookie.domain_specified and _ADDRESS.fullmatch(host) and cookie.domain.lstrip(".") != host:
        return False
    if cookie.secure and request.type != "https":
        return False
    name = cookie.name.lower()
    if name.startswith("__host-"):
        return cookie.secure and not cookie.domain_specified and cookie.path_specified and cookie.path == "/"
    return cookie.secure or not name.startswith("__secure-")


class _Answer:
    """An answer with one Set-Cookie header, as the jar wants to see it."""

    def __init__(self, line: str) -> None:
        self._headers = Message()
        self._headers["Set-Cookie"] = line

    def info(self) -> Message:
        return self._headers
