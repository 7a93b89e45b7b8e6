"""The Python interface against real workers: map, submit, failures, bad arguments."""

from __future__ import annotations

import functools
import itertools
import math
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sheaf import Cluster, TaskFailed
from sheaf.core.errors import ClusterError, InputError, TaskError
from sheaf.core.settings import Settings
from tests.console import wait_until
from tests.integration.bench import Bench

TASKS = Path(__file__).parent


def sessions(bench: Bench) -> list[str]:
    folder = bench.person.data / "sessions"
    return sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.exists() else []


def test_map_gives_every_result_once_in_the_items_order(cluster: Cluster) -> None:
    """Whatever the segments, and whichever worker did them."""
    assert list(cluster.map("api_tasks:square", range(3000))) == [number * number for number in range(3000)]


def test_unordered_results_are_each_there_once(cluster: Cluster) -> None:
    """As they are finished, none twice, none missing."""
    assert sorted(cluster.map("api_tasks:square", range(500), ordered=False)) == sorted(n * n for n in range(500))


def test_several_inputs_are_read_in_step(cluster: Cluster) -> None:
    """As the builtin map does: the shortest ends it."""
    assert list(cluster.map(pow, [2, 3, 4], itertools.count(2))) == [4, 27, 256]


def test_an_endless_input_is_read_only_as_far_as_it_is_needed(cluster: Cluster) -> None:
    """Back-pressure: the reader stops when the consumer does."""
    read = 0

    def numbers() -> Iterator[int]:
        nonlocal read
        for number in itertools.count():
            read = number
            yield number

    results = cluster.map(math.sqrt, numbers())
    taken = list(itertools.islice(results, 200))
    wait_until(lambda: _rests(lambda: read), 30, "the input is left alone")

    assert taken == [math.sqrt(number) for number in range(200)]
    assert read < 2_000_000
    results.close()


def _rests(value: object) -> bool:
    before = value()  # type: ignore[operator]
    threading.Event().wait(0.5)
    return bool(before == value())  # type: ignore[operator]


def test_a_slow_input_is_sent_off_as_it_comes(cluster: Cluster) -> None:
    """The first results are there before the input has given the rest."""
    more = threading.Event()

    def numbers() -> Iterator[int]:
        yield from range(5)
        assert more.wait(60)
        yield 5

    results = cluster.map("api_tasks:square", numbers())

    assert list(itertools.islice(results, 5)) == [0, 1, 4, 9, 16]
    more.set()
    assert list(results) == [25]


def test_a_failed_item_raises_in_its_place_and_the_rest_goes_on(cluster: Cluster) -> None:
    """Class, message, place, item, attempts; the iterator is good for the items behind it."""
    results = cluster.map("api_tasks:reject_threes", range(6))
    taken = [next(results) for _ in range(3)]

    with pytest.raises(TaskFailed) as raised:
        next(results)

    assert taken == [0, 1, 2]
    assert list(results) == [4, 5]
    failed = raised.value
    assert (failed.error, failed.item, failed.attempts, failed.task) == ("ValueError", 3, 1, "api_tasks:reject_threes")
    assert "3 ends in a three" in failed.message
    assert "api_tasks.py:" in failed.message
    assert "raise ValueError" in failed.traceback


def test_failures_are_given_in_their_places_if_asked_for(cluster: Cluster) -> None:
    """For those who want to look at them later."""
    results = list(cluster.map("api_tasks:reject_threes", range(2, 5), failures="return"))

    assert (results[0], results[2]) == (2, 4)
    assert isinstance(results[1], TaskFailed)


def test_an_error_of_the_input_comes_behind_the_results_before_it(cluster: Cluster) -> None:
    """What the caller's own generator raises is the caller's to see."""

    def numbers() -> Iterator[int]:
        yield from range(3)
        raise LookupError("no more")

    results = cluster.map("api_tasks:square", numbers())

    assert [next(results) for _ in range(3)] == [0, 1, 4]
    with pytest.raises(LookupError, match="no more"):
        next(results)


def test_an_item_that_json_cannot_hold_is_named(cluster: Cluster) -> None:
    """What comes before it is done."""
    results = cluster.map("api_tasks:square", [1, 2, {3}, 4])

    assert [next(results), next(results)] == [1, 4]
    with pytest.raises(InputError, match=r"the item \{3\} cannot be sent"):
        next(results)


def test_submit_calls_with_all_arguments(cluster: Cluster) -> None:
    """Positional, named, bound before, and bytes as the value."""
    from_hex = functools.partial(int, base=16)

    assert cluster.submit(pow, 2, 3).result(60) == 8
    assert cluster.submit("builtins:int", "ff", base=16).result(60) == 255
    assert cluster.submit(from_hex, "ff").result(60) == 255


def test_a_call_that_fails_raises_from_its_future(cluster: Cluster) -> None:
    """TaskFailed from the cluster's own submit; the builtin exception, with that as its cause, from its executor."""
    with pytest.raises(TaskFailed, match="ZeroDivisionError: division by zero"):
        cluster.submit("api_tasks:divide", 1, 0).result(60)
    with pytest.raises(ZeroDivisionError, match="division by zero") as raised:
        cluster.executor().submit("api_tasks:divide", 1, 0).result(60)
    assert isinstance(raised.value.__cause__, TaskFailed)


def test_a_long_call_does_not_hold_up_the_others(cluster: Cluster, tmp_path: Path) -> None:
    """Though they were sent off together."""
    path = tmp_path / "go"
    futures = [cluster.submit("api_tasks:wait_for", str(path))]
    futures += [cluster.submit("api_tasks:square", number) for number in range(20)]

    assert [future.result(60) for future in futures[1:]] == [number * number for number in range(20)]
    assert not futures[0].done()
    path.touch()
    assert futures[0].result(60) == str(path)


def test_what_cannot_be_called_is_refused_at_once(cluster: Cluster) -> None:
    """With what to do about it, before anything is sent."""
    with pytest.raises(TaskError, match="not at the top level"):
        cluster.submit(lambda: 1)
    with pytest.raises(TaskError, match="needs the file"):
        cluster.submit("nowhere:function", 1)
    with pytest.raises(TaskError, match="have the form module:function"):
        cluster.map("square", [1])
    with pytest.raises(InputError, match="cannot be sent"):
        cluster.submit(pow, object(), 2)


def test_a_session_leaves_nothing_behind(bench: Bench, cluster: Cluster) -> None:
    """Nor does `sheaf status` list its segments while it lives."""
    assert list(cluster.map("api_tasks:square", range(50))) == [number * number for number in range(50)]
    assert len(sessions(bench)) == 1
    assert "No runs yet" in bench.person.run("status").stdout

    cluster.close()

    assert sessions(bench) == []
    with pytest.raises(ClusterError, match="was closed"):
        cluster.submit(pow, 2, 3)


def test_a_killed_programs_session_is_swept_away(bench: Bench, cluster: Cluster) -> None:
    """By the next one that begins."""
    dead = bench.person.data / "sessions/session-1"
    (dead / "runs").mkdir(parents=True)
    (dead / "owner").touch()

    assert cluster.submit(pow, 2, 3).result(60) == 8

    assert "session-1" not in sessions(bench)


def test_without_a_cluster_it_says_so(tmp_path: Path) -> None:
    """Before anything is written."""
    with pytest.raises(ClusterError, match="no cluster is running"):
        Cluster(Settings(data_dir=tmp_path)).submit(pow, 2, 3)
    assert list(tmp_path.iterdir()) == []


def test_a_session_that_is_kept_can_be_looked_at(bench: Bench) -> None:
    """What was sent, what came back; `sheaf verify` finds all of it right."""
    settings = bench.serve(SHEAF_TASKS_DIR=str(TASKS))
    with Cluster(settings, data=bench.person.data, keep=True) as cluster:
        assert list(cluster.map("api_tasks:square", range(40))) == [number * number for number in range(40)]

    (session,) = sessions(bench)
    assert "40 done, 0 failed, 0 missing" in bench.person.run("verify", f"sessions/{session}/results-1.jsonl").stdout
    with Cluster(settings, data=bench.person.data) as cluster:
        assert cluster.submit(pow, 2, 3).result(60) == 8
    assert sessions(bench) == [session]


def test_a_long_session_goes_on_in_another_output(
    bench: Bench, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that neither the file nor its index grows for ever; what was read is removed."""
    monkeypatch.setattr("sheaf.client.session.result_files.FILE_SEGMENTS", 3)

    results = [cluster.submit("api_tasks:square", number).result(60) for number in range(12)]

    assert results == [number * number for number in range(12)]
    (session,) = sessions(bench)
    folder = bench.person.data / "sessions" / session
    wait_until(lambda: not list(folder.glob("results-1.jsonl*")), 30, "the first output is gone")
    assert list(folder.glob("results-4.jsonl"))


def test_whoever_waits_when_the_cluster_is_closed_is_told(cluster: Cluster, tmp_path: Path) -> None:
    """A future, one that is not sent off yet, an iterator: none waits for ever."""
    results = cluster.map("api_tasks:square", itertools.count())
    next(results)
    futures = [cluster.submit("api_tasks:wait_for", str(tmp_path / "never")) for _ in range(100)]

    cluster.close()

    for future in (futures[0], futures[-1]):
        with pytest.raises(ClusterError, match="was closed before"):
            future.result(60)
    with pytest.raises(ClusterError, match="was closed before"):
        list(results)
