"""What libcurl's error codes and a server's statuses mean for an item, and how long to wait before the next attempt."""

from __future__ import annotations

import email.utils
import random
import re
import time
from http import HTTPStatus

import pycurl

from sheaf.formats import Exchange
from sheaf.tasks.load.errors import Connect, Dns, HttpStatus, InvalidUrl, LoadError, Protocol, Timeout, Tls, TooLarge
from sheaf.tasks.load.options import LoadOptions

#: Seconds before the second attempt; doubled for each one after it.
_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 30.0
#: A server that asks for a longer wait is not asked again by this run.
LONGEST_RETRY_AFTER_S = 60.0
#: A number of seconds with more digits than this is as good as for ever.
_MOST_DIGITS, _FOREVER_S = 10, 1e10
#: A range that may be the whole page; `bytes 0-11/*` does not say.
_WHOLE_RANGE = re.compile(r"bytes\s+0+-([0-9]{1,18})/([0-9]{1,18})", re.ASCII | re.IGNORECASE)
_PARTIAL, _TOO_EARLY = 206, 425
#: Statuses below 500 after which asking again may help.
_PASSING = frozenset({HTTPStatus.REQUEST_TIMEOUT, _TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})
#: CURLE_TOO_LARGE, and others that pycurl has no name for.
_E_TOO_LARGE, _E_HTTP2_STREAM, _E_HTTP3, _E_QUIC_CONNECT, _E_SSL_CLIENTCERT = 100, 92, 95, 96, 98

_TLS = frozenset(
    {
        pycurl.E_SSL_CONNECT_ERROR,
        pycurl.E_PEER_FAILED_VERIFICATION,
        pycurl.E_SSL_CACERT,
        pycurl.E_SSL_CACERT_BADFILE,
        pycurl.E_SSL_CERTPROBLEM,
        pycurl.E_SSL_CIPHER,
        pycurl.E_SSL_INVALIDCERTSTATUS,
        pycurl.E_SSL_ISSUER_ERROR,
        pycurl.E_USE_SSL_FAILED,
        _E_SSL_CLIENTCERT,
    }
)
_BROKEN = frozenset(
    {
        pycurl.E_COULDNT_CONNECT,
        pycurl.E_GOT_NOTHING,
        pycurl.E_RECV_ERROR,
        pycurl.E_SEND_ERROR,
        pycurl.E_PARTIAL_FILE,
        pycurl.E_HTTP2,
        _E_HTTP2_STREAM,
        _E_HTTP3,
        _E_QUIC_CONNECT,
    }
)
#: What this machine had not enough of, for the moment.
_LACKING = (pycurl.E_OUT_OF_MEMORY, pycurl.E_FAILED_INIT)
#: A TLS handshake that ends like this was broken off, not refused. Who closes it in good order (`unexpected eof`) does
#: not want to talk to us: servers that know only old versions do so.
_BROKEN_OFF = ("reset", "SYSCALL", "timed out")
#: The certificate may well be right, but not of an authority that is known here.
_UNKNOWN_AUTHORITY = ("self-signed", "self signed", "unable to get local issuer")
#: What libcurl says of a connection that broke although its bytes came through: they make no sense.
_NONSENSE = ("chunk", "Too large response headers")
#: The answer is not HTTP as libcurl understands it; its own words say what it found.
_NOT_HTTP = frozenset({pycurl.E_UNSUPPORTED_PROTOCOL, pycurl.E_FTP_WEIRD_SERVER_REPLY, _E_TOO_LARGE})
#: What fails in these ways may have failed since no socket, pipe or file of certificates could be opened.
MAY_LACK_FILES = frozenset(
    {
        pycurl.E_FAILED_INIT,
        pycurl.E_COULDNT_RESOLVE_HOST,
        pycurl.E_COULDNT_CONNECT,
        pycurl.E_OUT_OF_MEMORY,
        pycurl.E_SSL_CONNECT_ERROR,
        pycurl.E_SSL_CERTPROBLEM,
        pycurl.E_SSL_CACERT_BADFILE,
    }
)
_ONE = {
    pycurl.E_COULDNT_RESOLVE_HOST: Dns,
    pycurl.E_OPERATION_TIMEDOUT: Timeout,
    pycurl.E_URL_MALFORMAT: InvalidUrl,
    pycurl.E_FILESIZE_EXCEEDED: TooLarge,
}


def curl_failure(code: int, message: str, url: str) -> LoadError:
    """Turn the end of a transfer that libcurl gave up into an error that says what happened to which URL."""
    found = "the answer is not valid HTTP: " if code in _NOT_HTTP else ""
    text = f"{url}: {found}{message or 'libcurl error'} (libcurl {code})"
    if code == pycurl.E_OPERATION_TIMEDOUT and message.startswith("Resolving"):
        return Dns(text)
    if code in _ONE:
        return _ONE[code](text)
    if code in _TLS:
        if any(word in message for word in _UNKNOWN_AUTHORITY):
            text += "; if you trust the authority that signed its certificate, name it with --ca-bundle FILE"
        broken_off = code == pycurl.E_SSL_CONNECT_ERROR and any(word in message for word in _BROKEN_OFF)
        return Connect(text) if broken_off else Tls(text)
    if code in _BROKEN and "SSL routines" in message and " alert " in message:
        return Tls(text)  # TLS 1.3 tells a client only after the handshake that its certificate is missing
    if code in _BROKEN and not any(word in message for word in _NONSENSE):
        return Connect(text)
    failure = Protocol(text)
    failure.retry = code in _LACKING
    return failure


def too_large(url: str, options: LoadOptions) -> TooLarge:
    return TooLarge(f"{url} has more than {options.max_bytes:,} bytes; raise the limit, or ask for truncation")


def status_failure(exchange: Exchange, start_url: str) -> HttpStatus:
    """Say that an answer is not accepted. Asking again may help for some, if we are let soon enough."""
    reason = exchange.reason or _reason(exchange.status)
    redirected = f", after redirects from {start_url}" if exchange.url != start_url else ""
    message = f"{exchange.status} {reason}: {exchange.url}{redirected}"
    if exchange.status not in _PASSING and exchange.status // 100 != 5:
        return HttpStatus(message)
    asked_s = retry_after_s(exchange.header("retry-after"), time.time())
    if asked_s is None or asked_s <= LONGEST_RETRY_AFTER_S:
        return HttpStatus(message, retry=True, retry_after_s=asked_s)
    return HttpStatus(
        f"{message}; the server asks for {_duration(asked_s)} without requests (Retry-After), but a run waits "
        f"{LONGEST_RETRY_AFTER_S:.0f} s at most: load it again later with `sheaf retry`"
    )


def check_accepted(exchange: Exchange, options: LoadOptions, start_url: str) -> None:
    """Raise HttpStatus for an answer that does not count as a page, or is only a part of one."""
    if not options.accepts(exchange.status):
        raise status_failure(exchange, start_url)
    if exchange.status == _PARTIAL and is_partial(exchange):
        if options.accept != "any" and "206" not in options.accept.split(","):
            raise partial_failure(exchange)
        exchange.truncated = exchange.truncated or "unspecified"


def partial_failure(exchange: Exchange) -> HttpStatus:
    """Say that an answer is a part of a page, which was not asked for."""
    said = exchange.header("content-range") or "no Content-Range"
    return HttpStatus(
        f"{exchange.status} {exchange.reason or _reason(exchange.status)}: {exchange.url} sent a part of the page "
        f"({said[:100]}) although the whole was asked for; --accept 2xx,206 keeps such parts"
    )


def is_partial(exchange: Exchange) -> bool:
    """Whether an answer of status 206 is less than the whole page."""
    match = _WHOLE_RANGE.fullmatch((exchange.header("content-range") or "").strip())
    return match is None or int(match[1]) + 1 != int(match[2])


def retry_after_s(value: str | None, now: float) -> float | None:
    """Seconds that a Retry-After header asks for, a number or a date; None if it asks for nothing we understand."""
    if not value:
        return None
    if value.isascii() and value.isdigit():
        digits = value.lstrip("0") or "0"
        return float(digits) if len(digits) <= _MOST_DIGITS else _FOREVER_S
    try:
        moment = email.utils.parsedate_to_datetime(value).timestamp()
    except (ValueError, OverflowError):
        return None
    return max(moment - now, 0.0)


def wait_s(attempt: int, error: LoadError) -> float:
    """Seconds to wait after that attempt: what the server asks for, or ever longer, and never in step with others."""
    backoff: float = min(_FIRST_WAIT_S * 2 ** min(attempt - 1, 16), _LONGEST_WAIT_S)
    jittered = backoff * random.uniform(0.5, 1.5)  # noqa: S311 - spreads the load, guards nothing
    if error.retry_after_s is None:
        return jittered
    return error.retry_after_s + min(jittered, 1.0)


def _duration(seconds: float) -> str:
    return f"{seconds:,.0f} s" if seconds < _FOREVER_S else "ever"


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "(no such status)"
