"""What libcurl's error codes and a server's statuses mean for an item, and how long to wait before the next attempt."""

from __future__ import annotations

import email.utils
import random
import time
from http import HTTPStatus

import pycurl

from sheaf.formats import Exchange
from sheaf.tasks.load.errors import Connect, Dns, HttpStatus, InvalidUrl, LoadError, Protocol, Timeout, Tls, TooLarge

#: Seconds before the second attempt; doubled for each one after it.
_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 30.0
#: However long a server asks us to wait, we wait no longer.
_LONGEST_RETRY_AFTER_S = 60.0
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
#: A TLS handshake that ends like this was broken off, not refused.
_BROKEN_OFF = ("reset", "SYSCALL", "unexpected eof", "timed out", "closed")
_ONE = {
    pycurl.E_COULDNT_RESOLVE_HOST: Dns,
    pycurl.E_OPERATION_TIMEDOUT: Timeout,
    pycurl.E_URL_MALFORMAT: InvalidUrl,
    pycurl.E_FILESIZE_EXCEEDED: TooLarge,
}


def curl_failure(code: int, message: str, url: str) -> LoadError:
    """Turn the end of a transfer that libcurl gave up into an error that says what happened to which URL."""
    text = f"{url}: {message or 'libcurl error'} (libcurl {code})"
    if code == pycurl.E_OPERATION_TIMEDOUT and message.startswith("Resolving"):
        return Dns(text)
    if code in _ONE:
        return _ONE[code](text)
    if code in _TLS:
        broken_off = code == pycurl.E_SSL_CONNECT_ERROR and any(word in message for word in _BROKEN_OFF)
        return Connect(text) if broken_off else Tls(text)
    if code in _BROKEN and "Too large response headers" not in message:
        return Connect(text)
    failure = Protocol(text)
    failure.retry = code in _LACKING
    return failure


def status_failure(exchange: Exchange, start_url: str) -> HttpStatus:
    """Say that an answer is not accepted. Asking again may help for 408, 429 and 5xx."""
    reason = exchange.reason or _reason(exchange.status)
    redirected = f", after redirects from {start_url}" if exchange.url != start_url else ""
    retry = exchange.status in (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS) or exchange.status >= 500
    return HttpStatus(
        f"{exchange.status} {reason}: {exchange.url}{redirected}",
        retry=retry,
        retry_after_s=retry_after_s(exchange.header("retry-after"), time.time()) if retry else None,
    )


def retry_after_s(value: str | None, now: float) -> float | None:
    """Seconds that a Retry-After header asks for, a number or a date; None if it asks for nothing we understand."""
    if not value:
        return None
    if value.isascii() and value.isdigit():
        return min(float(value[:9]), _LONGEST_RETRY_AFTER_S)
    try:
        moment = email.utils.parsedate_to_datetime(value).timestamp()
    except (ValueError, OverflowError):
        return None
    return min(max(moment - now, 0.0), _LONGEST_RETRY_AFTER_S)


def wait_s(attempt: int, error: LoadError) -> float:
    """Seconds to wait after that attempt: what the server asks for, or ever longer, and never in step with others."""
    backoff: float = min(_FIRST_WAIT_S * 2 ** min(attempt - 1, 16), _LONGEST_WAIT_S)
    jittered = backoff * random.uniform(0.5, 1.5)  # noqa: S311 - spreads the load, guards nothing
    if error.retry_after_s is None:
        return jittered
    return error.retry_after_s + min(jittered, 1.0)


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "(no such status)"
