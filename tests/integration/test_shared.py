"""Locks, counters, dicts and queues that programs share, also when replies of Redis are lost."""

from __future__ import annotations

import math
import queue
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest

from sheaf import Cluster
from sheaf.core.errors import InputError, LockLost, RedisUnavailable
from sheaf.core.settings import Settings
from tests.integration.bench import Bench
from tests.support import ForeignServer, RedisServer, ReplyLosingProxy

TASKS = Path(__file__).parent


@pytest.fixture
def cluster(redis_server: RedisServer | ForeignServer) -> Iterator[Cluster]:
    with Cluster(Settings(redis_url=redis_server.url)) as made:
        yield made


@pytest.fixture
def shaky(losing_proxy: ReplyLosingProxy) -> Iterator[Cluster]:
    """A way to the same Redis on which replies get lost."""
    with Cluster(Settings(redis_url=losing_proxy.url)) as made:
        yield made


def in_threads(count: int, work: Callable[[], Any]) -> None:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)


def test_a_counter_loses_no_increment(cluster: Cluster) -> None:
    """However many add at once."""
    counter = cluster.counter("pages")

    in_threads(8, lambda: [counter.add(2) for _ in range(50)])

    assert counter.get() == 800
    assert counter.add(-1) == 799
    counter.set(2**60)
    assert counter.add(1) == 2**60 + 1
    counter.delete()
    assert counter.get() == 0


def test_a_change_whose_reply_is_lost_is_made_once(
    cluster: Cluster, shaky: Cluster, losing_proxy: ReplyLosingProxy
) -> None:
    """The command is sent again, and does nothing twice: count, put, take, remove."""
    cluster.dict("d").update({"a": 1})
    steps: list[tuple[Callable[[], Any], Any]] = [
        (lambda: shaky.counter("c").add(5), 5),
        (lambda: shaky.queue("q").put("one"), None),
        (lambda: shaky.dict("d").pop("a"), 1),
        (lambda: shaky.dict("d").setdefault("b", [2]), [2]),
    ]
    for step, expected in steps:
        losing_proxy.lose_step()
        assert step() == expected
    cluster.queue("q").put("two")
    losing_proxy.lose_step()

    assert shaky.queue("q").get() == "one"
    assert losing_proxy.lost == 5
    assert cluster.counter("c").get() == 5
    assert [cluster.queue("q").get(), cluster.queue("q").empty()] == ["two", True]
    assert cluster.dict("d").copy() == {"b": [2]}


def test_a_dict_is_a_mapping_of_json_values(cluster: Cluster) -> None:
    """Keys are texts and whole numbers, and stay apart."""
    shared = cluster.dict("sites")
    shared["a"] = {"n": [1, None, "é"]}
    shared[1] = "one"
    shared["1"] = "text"

    assert dict(shared) == shared.copy() == {"a": {"n": [1, None, "é"]}, 1: "one", "1": "text"}
    assert (len(shared), 1 in shared, 2 in shared, shared.get("b", 7)) == (3, True, False, 7)
    assert shared.setdefault("a", 0) == {"n": [1, None, "é"]}
    del shared[1]
    with pytest.raises(KeyError):
        del shared[1]
    with pytest.raises(KeyError):
        shared.pop("b")
    assert shared.pop("b", None) is None
    with pytest.raises(InputError, match="keys are strings or whole numbers"):
        shared[(1, 2)] = 3  # type: ignore[index]
    with pytest.raises(InputError, match="cannot be shared"):
        shared["x"] = {1, 2}
    shared.clear()
    assert not shared


def test_a_queue_gives_each_value_to_one_consumer_in_order(cluster: Cluster) -> None:
    """Consumers sleep until something comes; a full queue holds up puts."""
    work, done = cluster.queue("work", maxsize=5), cluster.queue("done")

    def take() -> None:
        while (number := work.get(timeout=30)) is not None:
            done.put(number)

    consumers = threading.Thread(target=in_threads, args=(3, take))
    consumers.start()
    for number in range(60):
        work.put(number, timeout=30)
    for _ in range(3):
        work.put(None, timeout=30)
    consumers.join(60)

    assert sorted(done.get_nowait() for _ in range(60)) == list(range(60))
    assert work.empty()
    with pytest.raises(queue.Empty):
        done.get(timeout=0.05)
    for number in range(5):
        work.put_nowait(number)
    with pytest.raises(queue.Full):
        work.put_nowait(5)
    with pytest.raises(queue.Full):
        work.put(5, timeout=0.05)
    assert (work.full(), work.qsize(), work.get()) == (True, 5, 0)


def test_a_lock_lets_one_in_at_a_time(cluster: Cluster) -> None:
    """Read, think, write: no increment is lost under it. Its token grows."""
    numbers, lock, tokens = cluster.dict("numbers"), cluster.lock("numbers"), []
    numbers["n"] = 0

    def add() -> None:
        for _ in range(10):
            with lock as lease:
                tokens.append(lease.token)
                count = numbers["n"]
                time.sleep(0.001)
                numbers["n"] = count + 1

    in_threads(4, add)

    assert numbers["n"] == 40
    assert tokens == sorted(set(tokens))
    assert lock.acquire()
    with pytest.raises(RuntimeError, match="holds the lock"):
        lock.acquire()
    assert not cluster.lock("numbers").acquire(timeout=0.05)
    lock.release()
    with pytest.raises(RuntimeError, match="is not held"):
        lock.release()


def test_a_lock_that_was_lost_says_so(cluster: Cluster, redis_server: RedisServer | ForeignServer) -> None:
    """Redis was emptied while it was held: the block's work may not have been alone."""
    with pytest.raises(LockLost, match="others may have held it"), cluster.lock("l"), redis_server.client() as client:
        client.flushall()


def test_without_redis_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(RedisUnavailable, match="not reachable"):
        Cluster(Settings(redis_url=f"unix://{tmp_path}/none.sock")).counter("c").add(1)


def test_tasks_share_with_the_program_that_called_them(bench: Bench) -> None:
    """A worker's processes reach the cluster by its own settings: nothing has to be handed to them."""
    settings = bench.serve(2, SHEAF_TASKS_DIR=str(TASKS))

    with Cluster(settings, data=bench.person.data) as cluster:
        assert sorted(cluster.map("api_tasks:count_up", range(40))) == list(range(1, 41))
        assert cluster.counter("ups").get() == 40


@pytest.mark.parametrize(
    "number", [1.5, 2.0, "3", True, None, math.nan, math.inf, b"1", [1], 2**63, -(2**63) - 1, 2**70, 1j], ids=repr
)
def test_a_counter_takes_whole_numbers_only(cluster: Cluster, number: Any) -> None:
    """Of 64 bits: nothing is cut off, nothing is taken that the next change would stumble over."""
    counter = cluster.counter("strict")
    counter.set(5)
    for change in (counter.add, counter.set):
        with pytest.raises(InputError, match="whole number"):
            change(number)
    assert counter.get() == 5


@pytest.mark.parametrize("number", [numpy.int8(-3), numpy.uint64(7), 2**63 - 1, -(2**63), 0], ids=repr)
def test_a_counter_takes_every_whole_number_that_redis_counts(cluster: Cluster, number: Any) -> None:
    """NumPy's too, and those at the ends."""
    counter = cluster.counter("wide")
    counter.delete()
    assert counter.add(number) == counter.get() == int(number)
    counter.set(number)
    assert counter.get() == int(number)


def test_a_counter_that_would_overflow_stays_as_it_is(cluster: Cluster) -> None:
    """And says so: it is not the cluster that cannot serve."""
    counter = cluster.counter("full")
    for end, step in ((2**63 - 1, 1), (-(2**63), -1)):
        counter.set(end)
        with pytest.raises(InputError, match=re.escape(f"'full' cannot take {step:+d}")):
            counter.add(step)
        assert counter.get() == end
    counter.delete()


@pytest.mark.parametrize(
    "make",
    [
        lambda cluster: cluster.counter(5),
        lambda cluster: cluster.dict(b"d"),
        lambda cluster: cluster.queue(None),
        lambda cluster: cluster.lock(1.5),
        lambda cluster: cluster.queue("q", 1.5),
        lambda cluster: cluster.queue("q", "3"),
        lambda cluster: cluster.lock("l", math.nan),
        lambda cluster: cluster.lock("l", 0),
        lambda cluster: cluster.lock("l", "10"),
        lambda cluster: cluster.dict("d").__setitem__(True, 1),
        lambda cluster: cluster.dict("d").__setitem__(numpy.int64(1), 1),
        lambda cluster: cluster.dict("d").__setitem__("k", math.nan),
        lambda cluster: cluster.dict("d").__setitem__("k", {1: 2, "1": 3}),
        lambda cluster: cluster.queue("q").put({1, 2}),
    ],
)
def test_what_cannot_be_shared_is_refused_at_once(cluster: Cluster, make: Callable[[Cluster], Any]) -> None:
    """Names, sizes, keys and values: with an error that says what was given."""
    with pytest.raises(InputError):
        make(cluster)


def test_numbers_of_numpy_can_be_shared(cluster: Cluster) -> None:
    """They come out as numbers of Python."""
    values, line = cluster.dict("numbers"), cluster.queue("numbers")
    values["a"] = [numpy.float32(0.5), numpy.bool_(True)]
    line.put(numpy.int64(3))
    assert (values["a"], line.get(timeout=10)) == ([0.5, True], 3)
    values.clear()


def test_no_wait_is_as_long_as_nan(cluster: Cluster) -> None:
    """It would be neither over nor going on."""
    with pytest.raises(ValueError, match="timeout"):
        cluster.queue("waits").get(timeout=math.nan)
    with pytest.raises(ValueError, match="timeout"):
        cluster.lock("waits").acquire(timeout=math.nan)
