"""What programs and tasks share through Redis, on whatever machine or container of the cluster: counters and dicts.

Values are JSON. Each change is one step in Redis and carries a request: repeated after a lost reply, it does nothing
twice. If that fails too a ClusterError is raised, and whether the change was made is not known.
"""

from __future__ import annotations

import json
import operator
import os
import secrets
import threading
from collections.abc import Iterable, Iterator, MutableMapping, Sequence
from typing import Any

import redis

from sheaf.broker import keys
from sheaf.broker.connection import redis_errors
from sheaf.broker.scripts import Script
from sheaf.core.errors import ClusterError, InputError
from sheaf.formats.values import finite_text

_INT64 = 1 << 63
_client = threading.local()


class Requests:
    """Runs one of the steps that answer each request once."""

    def __init__(self, connection: redis.Redis, step: str) -> None:
        self._script = Script(connection, step)

    def __call__(self, names: Sequence[str], arguments: Sequence[str | int] = ()) -> str:
        answer = self._script([keys.CLIENT_PREFIX + _client_id(), *names], [secrets.token_hex(8), *arguments])
        return bytes(answer).decode()


def _client_id() -> str:
    """One per thread: requests of one client come one after the other. A forked process is another client."""
    if getattr(_client, "pid", None) != os.getpid():
        _client.pid, _client.id = os.getpid(), secrets.token_hex(8)
    return str(_client.id)


def encode(value: object) -> str:
    """Raises InputError for what JSON cannot hold."""
    try:
        return finite_text(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(
            f"a {type(value).__name__} cannot be shared: {error}; "
            "use text, numbers, booleans, None, and lists and dicts of these"
        ) from error


def check_name(name: object) -> str:
    """Raises InputError for what is no name of something shared."""
    if not isinstance(name, str):
        raise InputError(f"a shared object's name must be a string, not {name!r}")
    return name


def whole_number(value: object, what: str) -> int:
    """A whole number of 64 bits, of NumPy's too, which is what Redis counts in. Raises InputError for all else."""
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)  # type: ignore[arg-type]  # that is the question
    except TypeError:
        raise InputError(f"{what} must be a whole number, not {value!r} ({type(value).__name__})") from None
    if not -_INT64 <= number < _INT64:
        raise InputError(f"{what} is {number}; counters hold whole numbers from -2**63 to 2**63 - 1")
    return number


class Counter:
    """A whole number of 64 bits that many change at once, none of whose changes is lost. Begins at 0."""

    def __init__(self, connection: redis.Redis, name: str) -> None:
        self.name = check_name(name)
        self._connection = connection
        self._key = keys.COUNTER_PREFIX + name
        self._change = Requests(connection, "shared_value")
        self._remove = Requests(connection, "shared_remove")

    def add(self, number: int = 1) -> int:
        """Add to the count, in one step; return what it is then.

        Raises InputError for what is no whole number, and if the count would need more than 64 bits: it stays then.
        """
        step = whole_number(number, "what is to be added")
        try:
            return int(self._change([self._key], ["add", step]))
        except ClusterError as error:
            if "overflow" not in str(error):
                raise
            raise InputError(
                f"the counter {self.name!r} cannot take {step:+d}: it would leave the whole numbers from -2**63 to "
                "2**63 - 1, and stays as it is; set() or delete() it"
            ) from error

    def get(self) -> int:
        with redis_errors():
            value: Any = self._connection.get(self._key)
        return int(value or 0)

    def set(self, number: int) -> None:
        """Raises InputError for what is no whole number of 64 bits."""
        self._change([self._key], ["set", whole_number(number, "the count")])

    def delete(self) -> None:
        """Leave nothing of it in Redis; used again, it begins at 0."""
        self._remove([self._key])


class SharedDict(MutableMapping[str | int, Any]):
    """A dict of texts or whole numbers to JSON values. What is read is a copy: put back what you have changed.

    Each method is one step, `update()`, `pop()` and `setdefault()` too; what needs several steps needs a lock.
    """

    def __init__(self, connection: redis.Redis, name: str) -> None:
        self.name = check_name(name)
        self._connection = connection
        self._key = keys.DICT_PREFIX + name
        self._change = Requests(connection, "shared_value")
        self._remove = Requests(connection, "shared_remove")

    def __getitem__(self, key: str | int) -> Any:
        with redis_errors():
            value: Any = self._connection.hget(self._key, _encode_key(key))
        if value is None:
            raise KeyError(key)
        return json.loads(value)

    def __setitem__(self, key: str | int, value: Any) -> None:
        self._change([self._key], ["put", _encode_key(key), encode(value)])

    def __delitem__(self, key: str | int) -> None:
        if self._pop(key) is None:
            raise KeyError(key)

    def __iter__(self) -> Iterator[str | int]:
        with redis_errors():
            found: Any = self._connection.hkeys(self._key)
        return map(json.loads, found)

    def __len__(self) -> int:
        with redis_errors():
            length: Any = self._connection.hlen(self._key)
        return int(length)

    def __contains__(self, key: object) -> bool:
        if type(key) not in (str, int):
            return False
        with redis_errors():
            return bool(self._connection.hexists(self._key, encode(key)))

    def copy(self) -> dict[str | int, Any]:
        """Everything that is in it at one moment."""
        with redis_errors():
            found: Any = self._connection.hgetall(self._key)
        return {json.loads(key): json.loads(value) for key, value in found.items()}

    def items(self) -> Any:
        """Of one moment, as are `values()`."""
        return self.copy().items()

    def values(self) -> Any:
        return self.copy().values()

    def update(self, other: Any = (), /, **named: Any) -> None:
        pairs: Iterable[tuple[Any, Any]] = dict(other, **named).items()
        flat = [part for key, value in pairs for part in (_encode_key(key), encode(value))]
        if flat:
            self._change([self._key], ["put", *flat])

    def pop(self, key: str | int, *default: Any) -> Any:
        value = self._pop(key)
        if value is not None:
            return json.loads(value)
        if not default:
            raise KeyError(key)
        return default[0]

    def setdefault(self, key: str | int, default: Any = None) -> Any:
        return json.loads(self._change([self._key], ["default", _encode_key(key), encode(default)]))

    def clear(self) -> None:
        """Leave nothing of it in Redis."""
        self._remove([self._key])

    def _pop(self, key: str | int) -> str | None:
        answer = self._remove([self._key], [_encode_key(key)])
        return answer[1:] if answer.startswith("+") else None

    def __repr__(self) -> str:
        return f"<shared dict {self.name!r}>"


def _encode_key(key: object) -> str:
    if type(key) not in (str, int):
        raise InputError(f"{key!r} cannot be a key of a shared dict; keys are strings or whole numbers")
    return encode(key)
