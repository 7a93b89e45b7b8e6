"""Why a URL was not loaded. A failed item's error is one of these names.

LoadError
├── InvalidUrl        not a URL that can be loaded
├── AddressRefused    its address is private, local or otherwise not on the public internet
├── Dns               its host's name was not found                                          (tried again)
├── Connect           no answer, or the connection broke                                     (tried again)
├── Tls               the certificate, or the server's TLS, is not acceptable
├── Timeout           not whole within the deadline                                          (tried again)
├── TooLarge          more bytes than `max_bytes`, as received or when unpacked
├── Redirect          redirects that never end, or lead nowhere
├── HttpStatus        an answer whose status is not accepted            (408, 425, 429, 5xx: tried again)
├── Protocol          an answer that is not valid HTTP, or cannot be unpacked
└── LoaderFault       an answer that Sheaf itself could not cope with
"""

from __future__ import annotations

from sheaf.core.errors import SheafError


class LoadError(SheafError):
    """A URL was not loaded; the message says why."""

    #: Whether another attempt may succeed.
    retry = False
    #: Seconds the server asked us to wait before that attempt.
    retry_after_s: float | None = None


class InvalidUrl(LoadError):
    """Correct the URL as the message says."""


class AddressRefused(LoadError):
    """Name the network with `--allow-net` if it is meant to be loaded from."""


class Dns(LoadError):
    """The host's name was not found, or the name server did not answer."""

    retry = True


class Connect(LoadError):
    """The server refused, did not answer, or broke the connection."""

    retry = True


class Tls(LoadError):
    """The server's certificate was not accepted, or no TLS connection came about."""


class Timeout(LoadError):
    """The page was not whole within the deadline."""

    retry = True


class TooLarge(LoadError):
    """Raise `max_bytes`, or ask for truncated pages."""


class Redirect(LoadError):
    """The redirects did not lead to a page."""


class HttpStatus(LoadError):
    """The server answered, but not with a page; say with `accept` which statuses count as one."""

    def __init__(self, message: str, *, retry: bool = False, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry = retry
        self.retry_after_s = retry_after_s


class Protocol(LoadError):
    """What the server sent is not valid HTTP, or its content coding is broken."""


class LoaderFault(LoadError):
    """Sheaf could not cope with this answer, which is a mistake of Sheaf's: report it, with the message."""
