"""An answer of Redis that makes no sense is as good as none: the caller waits and reports it, and never ends by it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis

from sheaf.broker.connection import redis_errors
from sheaf.broker.lock import FairLock
from sheaf.broker.queue import BatchQueue
from sheaf.broker.scripts import Script
from sheaf.core.errors import ClusterError, RedisUnavailable

ASKED: dict[str, Callable[[redis.Redis], Any]] = {
    "claim": lambda client: BatchQueue(client).claim("w", 10, 5.0),
    "renew": lambda client: BatchQueue(client).renew("w", ["r_1"], 5.0),
    "finish": lambda client: BatchQueue(client).finish("w", ["r_1"]),
    "hand back": lambda client: BatchQueue(client).hand_back("w", ["r_1"], in_peace=False),
    "reap": lambda client: BatchQueue(client).reap(),
    "snapshot": lambda client: BatchQueue(client).snapshot(),
    "problem": lambda client: BatchQueue(client).registry.set_problem("r", "why", "w", 1.0),
    "announce": lambda client: BatchQueue(client).registry.announce("w", {"label": "w"}, 1.0),
    "lock": lambda client: FairLock(client, "x", owner="w", label="w", lease_s=1.0).acquire(0),
}
NONSENSE: list[Any] = [None, 7, -1, b"", b"\xff", [], [b"x"], [1, 2], [None] * 5, [[[]]] * 4, {b"a": b"b"}, True]


@pytest.mark.parametrize("answer", NONSENSE, ids=repr)
@pytest.mark.parametrize("asked", ASKED)
def test_nonsense_ends_nobody(asked: str, answer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of whatever kind it is: an error of the cluster, or an answer that means something."""
    monkeypatch.setattr(Script, "__call__", lambda *_: answer)

    try:
        ASKED[asked](redis.Redis())
    except ClusterError as error:
        assert "invalid reply" in str(error) or "lock" in str(error)
    except Exception as error:  # noqa: BLE001 - the very thing that must not come
        # A lock that is another's by a sensible answer.
        assert asked == "lock" and type(error).__name__ == "LockTimeout", repr(error)


def test_what_redis_py_stumbles_over_is_an_answer_too() -> None:
    """A greeting of another form, say: `'list' object has no attribute 'get'`."""
    connection = redis.Connection()

    with pytest.raises(RedisUnavailable, match="invalid reply"), redis_errors():
        connection.pack_command(object())


def test_an_argument_of_ours_is_no_answer() -> None:
    """A key that cannot be is the caller's to hear of."""
    with pytest.raises(KeyError), redis_errors():
        dict[str, str]()["missing"]
