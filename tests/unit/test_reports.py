"""What the pool makes of its children's messages."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Any

import pytest

from sheaf.run.items import Bundle, Failed, single_results
from sheaf_worker.pool import results
from sheaf_worker.pool.backlog import Backlog
from sheaf_worker.pool.child_handle import ChildHandle
from sheaf_worker.pool.child_state import State
from sheaf_worker.pool.results import HandlingFailed, Reports
from sheaf_worker.wire.channel import pack_indexes
from tests.pool_child import RUN, block, make_child, make_ready

#: The length of one record of one byte, as it travels.
ONE = array("Q", [1]).tobytes()


class Desk:
    def __init__(self) -> None:
        self.backlog = Backlog()
        self.reports = Reports(self.backlog)
        self.child, self.process = make_child()

    def say(self, *message: object) -> None:
        self.reports.handle(self.child, message)

    def send_results(self, indexes: list[int], records: list[bytes], failures: tuple[Any, ...] = ()) -> None:
        lengths = array("Q", map(len, records)).tobytes()
        self.say("results", pack_indexes(indexes), lengths, b"".join(records), failures, 0.1)

    def collect(self) -> dict[int, Any]:
        return {
            result.index: result if isinstance(result, Failed) else bytes(result.record)
            for run, found in self.reports.collect()
            for result in single_results(found)
            if run == RUN.run
        }

    @property
    def waiting(self) -> list[int]:
        return [index for each in self.backlog.blocks(RUN.run) for index in each.indexes]


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk()
    yield desk
    desk.process.close()


@pytest.fixture
def ready(desk: Desk) -> ChildHandle:
    return make_ready(desk.child)


def test_a_child_goes_from_its_first_message_to_its_results(desk: Desk) -> None:
    desk.say("hello")
    assert desk.child.state is State.IDLE
    desk.child.serve(RUN)
    desk.say("ready", 5, 3, False)
    assert (desk.child.state, desk.child.at_once, desk.child.room(100)) == (State.READY, 3, 5)
    desk.child.give(block(4, 5, 7))

    desk.send_results([4, 5], [b"four", b"five"], ((7, "ValueError", "no", 2),))

    assert desk.collect() == {4: b"four", 5: b"five", 7: Failed(7, "ValueError", "no", 2)}
    assert (desk.child.done, len(desk.child.outstanding)) == (3, 0)
    assert not desk.reports


def test_messages_at_the_wrong_time_change_no_state(desk: Desk, ready: ChildHandle) -> None:
    """A task may write anything into the pipe."""
    desk.say("hello")
    desk.say("ready", 0, 1, True)
    desk.say("nothing that we know", 1)
    assert ready.state is State.READY
    assert ready.stateful_task is None


@pytest.mark.parametrize(
    "message",
    [
        ("results", (1,), b"", b"", [("x", "E", "t", 1)], 0.1),
        ("results", (1,), b"\x01", b"1", [], "soon"),
        ("results", (1,), ONE, b"1", [], "soon"),
        ("results", (1,), ONE, b"12", [], 0.1),
        ("results", (1,), ONE + ONE, b"12", [], 0.1),
        ("results", (1,), array("Q", [1 << 40]).tobytes(), 0, [], 0.1),
        ("results", (1,), ONE, "here", [], 0.1),
        ("returned", 5),
        ("ready", "all"),
        ("refused",),
        ("parked", "many"),
        (),
    ],
)
def test_what_is_no_message_raises_and_does_nothing(
    desk: Desk, ready: ChildHandle, message: tuple[object, ...]
) -> None:
    ready.give(block(1))
    with pytest.raises(Exception):  # noqa: B017  whatever it is: the pool stops reading
        desk.say(*message)
    assert list(ready.outstanding) == [1]
    assert not desk.reports


@pytest.mark.parametrize("broken", ["keeping the results", "counting the room that came back"])
def test_a_good_message_that_cannot_be_handled_ends_the_worker(
    desk: Desk, ready: ChildHandle, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """Else its results are lost, or a task is blamed; nothing takes HandlingFailed for a bad message."""
    ready.give(block(1))

    def fail(*_: object) -> None:
        raise KeyError("ours")

    if broken == "keeping the results":
        monkeypatch.setattr(desk.reports, "add", fail)
    else:
        monkeypatch.setattr(ready.ring, "sweep", fail)
    with pytest.raises(HandlingFailed, match="KeyError"):
        desk.send_results([1], [b"1"])
    assert not issubclass(HandlingFailed, Exception)


def test_results_that_it_should_not_have_are_dropped(desk: Desk, ready: ChildHandle) -> None:
    ready.give(block(1))
    desk.send_results([1, 2, 3], [b"1", b"2", b"3"])
    desk.send_results([1], [b"once more"])
    assert desk.collect() == {1: b"1"}
    assert ready.done == 1


def test_records_in_shared_memory_are_lent_until_they_are_used(desk: Desk, ready: ChildHandle) -> None:
    ready.give(block(*range(200), *range(1000, 1200)))
    indexes = [*range(200), *range(1000, 1200)]
    position = desk.process.put([b"x" * 400], 400)
    desk.say("results", pack_indexes(indexes), array("Q", [1] * 400).tobytes(), position, [], 0.1)
    ((_, bundles),) = desk.reports.collect()
    assert [(bundle.indexes, bytes(bundle.records)) for bundle in bundles if isinstance(bundle, Bundle)] == [
        (range(200), b"x" * 200),
        (range(1000, 1200), b"x" * 200),
    ]


def test_what_it_returns_goes_to_the_front_and_a_suspect_stays_one(desk: Desk, ready: ChildHandle) -> None:
    desk.backlog.add(RUN, block(9))
    ready.give(block(1, 2, 3))
    ready.recall()
    desk.say("returned", (2, 3, 77))
    assert (desk.waiting, list(ready.outstanding), ready.recalled_at) == ([2, 3, 9], [1], None)

    ready.take([1])
    ready.give_alone(block(5))
    desk.say("returned", (5,))
    assert [suspect.item.index for suspect in desk.backlog.suspects] == [5]


def test_nothing_of_a_forgotten_run_comes_out_and_the_child_goes_on(desk: Desk, ready: ChildHandle) -> None:
    ready.give(block(1, 2, 3))
    ready.forget_run()
    desk.send_results([1], [b"1"])
    desk.say("returned", (2,))
    desk.say("broke", "ValueError", "no", (3,))
    assert (desk.collect(), desk.waiting, len(desk.backlog.suspects)) == ({}, [], 0)
    assert ready.free
    assert ready.forgotten_at is None


def test_a_refused_run_fails_with_all_its_items_also_those_that_come_later(desk: Desk, ready: ChildHandle) -> None:
    desk.backlog.add(RUN, block(8))
    ready.give(block(1))
    desk.say("refused", "TaskError", "no such task")
    assert {index: failed.error for index, failed in desk.collect().items()} == {1: "TaskError", 8: "TaskError"}
    assert ready.state is State.IDLE
    refusal = desk.reports.refusal(RUN.run)
    assert refusal is not None
    assert refusal.message == "no such task"
    assert desk.reports.refusal("another run") is None


def test_a_changed_task_fails_nothing(desk: Desk, ready: ChildHandle) -> None:
    desk.backlog.add(RUN, block(8))
    ready.give(block(1))
    desk.say("refused", "TaskChanged", "its file is another one")
    assert desk.collect() == {}
    assert desk.reports.changed.get_nowait() == RUN.run
    assert (ready.state, desk.waiting, len(ready.outstanding)) == (State.IDLE, [], 0)


def test_exceptions_without_an_item_have_the_run_refused_in_the_end(desk: Desk, ready: ChildHandle) -> None:
    ready.give(block(1))
    for _ in range(2):
        desk.say("broke", "ValueError", "before any item", ())
        assert desk.collect() == {}
    desk.say("broke", "ValueError", "before any item", ())
    assert desk.collect()[1].error == "ValueError"
    assert ready.killed == "refused"


def test_an_exception_with_an_item_in_hand_is_charged_to_that(desk: Desk, ready: ChildHandle) -> None:
    ready.give(block(1, 2))
    desk.say("broke", "ValueError", "no", (1,))
    assert [suspect.item.index for suspect in desk.backlog.suspects] == [1]
    assert list(ready.outstanding) == [2]


def test_deaths_during_the_import_have_the_run_refused_in_the_end(desk: Desk) -> None:
    desk.backlog.add(RUN, block(1))
    desk.child.started()
    for count in range(3):
        assert desk.collect() == {}, count
        desk.child.serve(RUN)
        desk.reports.died_preparing(desk.child, "it crashed")
        if desk.child.state is State.PREPARING:
            desk.child.unassign()
    assert "cannot be imported: it crashed" in desk.collect()[1].message


def test_notes_are_kept(desk: Desk, ready: ChildHandle) -> None:
    desk.say("parked", 3)
    desk.say("waits", 2)
    desk.say("lacks", "no files")
    desk.say("choices", [("connections", "8", "measured")])
    assert (ready.parked, ready.waiting_threads, ready.missing) == (3, 2, "no files")
    assert ready.task_choices == [("connections", "8", "measured")]


def test_the_speed_of_a_run_is_remembered_for_the_next_child(
    desk: Desk, ready: ChildHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "_KNOWN_RUNS", 1)
    ready.give(block(1))
    desk.send_results([1], [b"1"])
    other = RUN._replace(run="run-2")
    for run, window in ((RUN, 1), (other, 1)):
        ready.serve(run)
        desk.say("ready", 0, 1, False)
        assert ready.prefetch.target == window
    ready.give(block(2))
    ready.prefetch.learn(1, 0.0001)
    desk.say("results", (2,), array("Q", [1]).tobytes(), b"2", [], 0.0001)
    ready.serve(other)
    desk.say("ready", 0, 1, False)
    assert ready.prefetch.target > 1000


def test_a_task_that_cannot_be_imported_now_is_logged_once_until_it_is(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    """Each of the run's children says so."""
    desk.say("delayed", "a disk that fails")
    assert caplog.records == [], "it serves no run"
    desk.say("hello")
    desk.child.serve(RUN)
    for _ in range(2):
        desk.say("delayed", "a disk that fails")

    (record,) = caplog.records
    assert (record.levelname, vars(record)["run"], vars(record)["why"]) == ("WARNING", RUN.run, "a disk that fails")
    desk.say("ready", 0, 1, False)
    desk.child.serve(RUN)
    desk.say("delayed", "the same again")
    assert len(caplog.records) == 2
    desk.say("refused", "TaskError", "it stays like that")
    desk.child.serve(RUN)
    desk.say("delayed", "once more")
    assert len(caplog.records) == 3
