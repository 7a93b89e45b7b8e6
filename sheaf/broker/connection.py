"""The connection to Redis: made in one place, and redis-py's errors turned into ours at this edge."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from sheaf.broker.address import fault_of, shown_address
from sheaf.core.errors import ClusterError, RedisDenied, RedisFull, RedisReadOnly, RedisUnavailable, SettingsError
from sheaf.core.settings import Settings

#: Where `sheaf up` notes how to reach the embedded cluster, inside the data folder.
CLUSTER_FILE = Path(".sheaf/cluster.json")


def redis_url(settings: Settings) -> str:
    """The address of Redis: the setting, or the embedded cluster's. Raises RedisUnavailable if there is neither."""
    if settings.redis_url:
        return settings.redis_url
    try:
        return str(json.loads((settings.data_dir / CLUSTER_FILE).read_text(encoding="utf-8"))["redis_url"])
    except (OSError, ValueError, KeyError) as error:
        raise RedisUnavailable(
            f"no cluster is running on the data folder {settings.data_dir}: start one with `sheaf up`, "
            "or set SHEAF_REDIS_URL to the Redis of a stack"
        ) from error


def connect(settings: Settings, *, timeout_s: float = 5.0) -> redis.Redis:
    """Return a client that never repeats a command by itself.

    redis-py's default is ten silent retries: a lost reply then makes one RPUSH two entries. A caller that may repeat a
    command knows that it bears repeating, and does so in the open.
    """
    url = redis_url(settings)
    fault = fault_of(url)
    if fault is None:
        try:
            return _client(url, settings, timeout_s)
        except ValueError:
            fault = "redis-py does not understand it"
    # Not `from` that error: it quotes parts of the address, and so perhaps of the password.
    raise SettingsError(
        f"SHEAF_REDIS_URL={shown_address(url)} is not a Redis address: {fault}. Write "
        "redis://USER:PASSWORD@HOST:6379/0, in the password # as %23, / as %2F, ? as %3F and @ as %40; or leave it out "
        "and set SHEAF_REDIS_PASSWORD_FILE"
    ) from None


def _client(url: str, settings: Settings, timeout_s: float) -> redis.Redis:
    return redis.Redis.from_url(
        url,
        username=settings.redis_user,
        password=settings.redis_password,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=0,
        client_name="sheaf",
    )


#: How Redis says that a right is missing: outright, and in the middle of a script (Redis 8, then 6.2).
_DENIALS = ("NOPERM", "NOAUTH", "WRONGPASS", "ACL failure in script", "The user executing the script can't")


@contextlib.contextmanager
def redis_errors() -> Iterator[None]:
    """Turn redis-py's errors into a ClusterError that says what to do."""
    try:
        yield
    except redis.exceptions.AuthenticationError as error:
        raise RedisDenied(
            f"Redis refused the login: {error}; check SHEAF_REDIS_USER and SHEAF_REDIS_PASSWORD(_FILE)"
        ) from error
    except redis.exceptions.BusyLoadingError as error:
        raise RedisUnavailable("Redis is still loading its data; try again in a moment") from error
    except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError) as error:
        raise RedisUnavailable(
            f"Redis is not reachable: {error}; is it running, and is SHEAF_REDIS_URL right?"
        ) from error
    except redis.exceptions.ResponseError as error:
        raise _refusal(error) from error
    except _NONSENSE as error:
        if not _is_raised_by_redis_py(error):
            raise
        raise _nonsense(error) from error


@contextlib.contextmanager
def understood() -> Iterator[None]:
    """For what takes an answer of Redis apart: one that is nothing of the kind is as good as none. Also a decorator.

    Raises RedisUnavailable then, so that callers wait and report it instead of ending.
    """
    try:
        yield
    except _NONSENSE as error:
        raise _nonsense(error) from error


#: What parsing a reply of an unexpected shape raises.
_NONSENSE = (AttributeError, TypeError, ValueError, LookupError, ArithmeticError)


def _nonsense(error: BaseException) -> RedisUnavailable:
    return RedisUnavailable(
        f"Redis gave an invalid reply ({type(error).__name__}: {error}); is the server at "
        "SHEAF_REDIS_URL really a Redis?"
    )


def _is_raised_by_redis_py(error: BaseException) -> bool:
    """Whether it was taking an answer apart, and not we an argument."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and str(trace.tb_frame.f_globals.get("__name__", "")).partition(".")[0] == "redis"


def _refusal(error: redis.exceptions.ResponseError) -> ClusterError:
    text = str(error)
    if isinstance(error, redis.exceptions.OutOfMemoryError) or "OOM" in text:
        return RedisFull(
            f"Redis is full ({text}); raise its maxmemory or let the queue drain. "
            "Nothing is lost: run the same command again"
        )
    if isinstance(error, redis.exceptions.NoPermissionError) or any(sign in text for sign in _DENIALS):
        return RedisDenied(f"Redis denied the command: {text}; check SHEAF_REDIS_USER and the ACL")
    if isinstance(error, redis.exceptions.ReadOnlyError) or "READONLY" in text:
        return RedisReadOnly(f"this Redis is read-only ({text}); point SHEAF_REDIS_URL at the primary")
    if "MISCONF" in text and os.strerror(errno.ENOSPC) in text:
        return RedisReadOnly(f"the disk is full: Redis cannot write its file and takes no changes ({text}); make room")
    if "MISCONF" in text:
        return RedisReadOnly(f"Redis cannot write to its disk and takes no changes ({text}); give it room")
    return ClusterError(f"Redis answered with an error: {text}")
