"""A child as its worker sees it: its states, its items, and that nothing else changes either."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import sheaf_worker.pool
from sheaf_worker.pool import child_state
from sheaf_worker.pool.child_handle import MOST_BYTES, NOWHERE, ChildHandle
from sheaf_worker.pool.child_state import TRANSITIONS, State
from sheaf_worker.pool.child_status import ChildStatus, choices_of
from tests.pool_child import RUN, block, kinds, make_child, make_ready, sent, with_spec

POOL = Path(sheaf_worker.pool.__path__[0])


def prepare(child: ChildHandle) -> None:
    child.started()
    child.serve(RUN)


#: How a new child gets into each state.
WAYS: dict[State, Callable[[ChildHandle], object]] = {
    State.STARTING: lambda child: None,
    State.IDLE: lambda child: child.started(),
    State.PREPARING: prepare,
    State.READY: make_ready,
    State.ENDING: lambda child: child.end(),
    State.GONE: lambda child: child.bury(),
}
#: The methods that lead into each state.
INTO: dict[State, Callable[[ChildHandle], object]] = {
    State.PREPARING: lambda child: child.serve(RUN),
    State.READY: lambda child: child.ready(0, 1, False, None),
    State.GONE: lambda child: child.bury(),
}


@pytest.fixture
def pair() -> Iterator[tuple[ChildHandle, Any]]:
    child, process = make_child()
    yield child, process
    if child.state is not State.GONE:
        process.close()


@pytest.mark.parametrize("after", INTO)
@pytest.mark.parametrize("before", State)
def test_it_makes_the_transitions_of_the_table_and_no_others(
    pair: tuple[ChildHandle, Any], before: State, after: State
) -> None:
    child, _ = pair
    WAYS[before](child)

    if after in TRANSITIONS[before]:
        INTO[after](child)
        assert child.state is after
    else:
        with pytest.raises(RuntimeError, match=f"{before.value} cannot become {after.value}"):
            INTO[after](child)
        assert child.state is before


def test_the_table_in_the_docstring_names_every_state_and_method() -> None:
    table = child_state.__doc__ or ""

    assert [line.split()[0] for line in table.splitlines() if line[4:5].isupper()] == [state.name for state in State]
    for method in ("started", "serve", "ready", "unassign", "end", "bury", "kill"):
        assert f"{method}()" in table
        assert hasattr(ChildHandle, method)


def test_nobody_but_itself_changes_it(pair: tuple[ChildHandle, Any]) -> None:
    """Every change has a name: no module assigns to an attribute of a child."""
    attributes = set(vars(pair[0]))
    assert {"state", "program", "retiring", "for_suspects", "number"} <= attributes
    modules = [path for path in POOL.glob("*.py") if path.name != "child_handle.py"]
    assert len(modules) > 10

    found = [f"{path.name}:{line}" for path in modules for line in _assignments(path, attributes)]

    assert not found


def _assignments(path: Path, attributes: set[str]) -> Iterator[int]:
    tree = ast.parse(path.read_text())
    if not any(isinstance(node, ast.Name) and node.id == "ChildHandle" for node in ast.walk(tree)):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load) and node.attr in attributes:
            if not (isinstance(node.value, ast.Name) and node.value.id == "self"):
                yield node.lineno
        elif isinstance(node, ast.Name) and node.id in ("setattr", "delattr"):
            yield node.lineno


def test_a_run_that_cannot_be_served_leaves_it_idle_and_its_items_are_returned(pair: tuple[ChildHandle, Any]) -> None:
    child, _ = pair
    make_ready(child)
    child.give(block(3, 4))

    assert child.unassign() == [3, 4]

    assert (child.state, child.program, len(child.outstanding)) == (State.IDLE, None, 0)
    assert child.free


def test_one_that_ends_is_not_idle_again_because_its_run_cannot_be_served(pair: tuple[ChildHandle, Any]) -> None:
    child, process = pair
    make_ready(child)
    child.end()
    child.end()

    child.unassign()

    assert child.state is State.ENDING
    assert kinds(process.theirs) == ["program", "end"], "it is asked once"


def test_while_recalled_it_is_sent_nothing_until_an_item_is_finished(pair: tuple[ChildHandle, Any]) -> None:
    child, process = pair
    make_ready(child, window=4)
    child.give(block(1, 2))
    process.writer.begin(1)
    assert (child.room(100), child.unstarted) == (2, 1)

    child.recall()
    assert (child.recalled_at is None, child.room(100)) == (False, 0)
    child.recall_answered([2])
    child.take([2])
    assert child.recalled_at is None
    assert child.room(100) == 0, "it has still not finished its item"

    child.take([1])
    child.finished(1, 0.001)
    assert child.room(100) == 4
    assert kinds(process.theirs) == ["program", "items", "recall"]


def test_recalls_that_return_nothing_are_counted_unless_it_has_begun_an_item(pair: tuple[ChildHandle, Any]) -> None:
    child, process = pair
    make_ready(child)
    child.give(block(1, 2))
    for _ in range(2):
        child.recall()
        child.recall_answered([])
    assert child.empty_recalls == 2

    process.writer.begin(1)
    child.recall_answered([])
    assert child.empty_recalls == 0
    process.writer.finish(1)
    child.recall_answered([])
    child.recall_answered([2])
    assert child.empty_recalls == 0


def test_of_a_forgotten_run_it_takes_nothing_more_and_is_free_when_the_rest_is_done(
    pair: tuple[ChildHandle, Any],
) -> None:
    child, process = pair
    make_ready(child, window=8)
    child.forget_run()
    assert not child.forgotten_at, "it has nothing of it"
    child.give(block(1, 2))

    child.forget_run()
    assert (child.forgotten_at is None, child.room(100)) == (False, 0)
    assert kinds(process.theirs)[-1] == "recall", "what it has not begun need not be done"

    assert child.take([1, 2, 3]) == {3}
    assert child.forgotten_at is None
    assert child.free


def test_its_last_item_of_a_forgotten_run_is_not_followed_by_others(pair: tuple[ChildHandle, Any]) -> None:
    """A single item is not recalled; all the same nothing more of the run is sent."""
    child, process = pair
    make_ready(child, window=8)
    child.give(block(1))
    child.forget_run()
    assert kinds(process.theirs) == ["program", "items"]
    assert child.room(100) == 0


def test_a_suspect_is_given_alone_and_keeps_its_child_reserved(pair: tuple[ChildHandle, Any]) -> None:
    child, process = pair
    make_ready(child)
    child.reserve_for_suspects()
    child.give_alone(block(7))
    assert kinds(process.theirs) == ["program", "items", "alone"]

    child.unreserve()
    assert child.for_suspects, "the suspect is still being done"
    child.take([7])
    child.unreserve()
    assert not child.for_suspects


def test_exceptions_count_only_if_no_item_was_in_hand(pair: tuple[ChildHandle, Any]) -> None:
    child, _ = pair
    make_ready(child)
    child.give(block(1, 2))

    assert [child.exception_escaped([]), child.exception_escaped([])] == [1, 2]
    assert child.exception_escaped([1]) == 0
    assert list(child.outstanding) == [2]
    child.finished(1, 0.1)
    assert child.exception_escaped([]) == 1


def test_a_module_that_it_has_imported_rules_out_others_and_a_stateful_task_its_neighbours(
    pair: tuple[ChildHandle, Any],
) -> None:
    child, _ = pair
    other_module, neighbour = with_spec(RUN, task="others:act"), with_spec(RUN, task="tasks_of_mine:other")
    built_in = with_spec(RUN, task="load")
    assert child.suits(other_module)
    child.started()
    child.serve(RUN)
    child.ready(0, 1, False, None)
    assert [child.suits(run) for run in (RUN, other_module, neighbour, built_in)] == [True, False, True, False]
    assert not child.suits(with_spec(RUN, files={"tasks_of_mine.py": "another digest"}))

    child.serve(RUN)
    child.ready(0, 1, True, None)
    assert [child.suits(run) for run in (RUN, neighbour)] == [True, False]


def test_a_place_goes_over_with_what_it_is_for(pair: tuple[ChildHandle, Any]) -> None:
    child, _ = pair
    child.take_place(3, for_suspects=True)
    assert (child.number, child.for_suspects) == (3, True)
    child.leave_place()
    assert (child.number, child.for_suspects) == (NOWHERE, False)


def test_more_bytes_than_it_should_have_leave_no_room(pair: tuple[ChildHandle, Any]) -> None:
    child, process = pair
    make_ready(child, window=10)
    large = block(1)._replace(texts=["x" * MOST_BYTES])
    while sent(process.theirs):
        pass
    child.give(large)
    assert child.room(100) == 0
    assert child.room_bytes == 0


def test_what_people_are_shown(pair: tuple[ChildHandle, Any]) -> None:
    child, process = pair
    assert choices_of(child) == []
    make_ready(child, window=16)
    child.note_choices([("connections", "8", "measured")])
    child.give(block(1, 2, 3))
    for index in (2, 3):
        process.writer.begin(index)
    process.writer.postpone(3, 2)
    process.own_bytes = 4096
    begun = child.slots.in_hand()[2]

    status = ChildStatus.of(child, begun + 5, deaths=2)

    assert (status.run, status.in_hand, round(status.busy_s, 3), status.own_bytes) == ("run-1", 3, 5.0, 4096)
    assert (status.done, status.deaths) == (0, 2)
    assert choices_of(child) == [
        ("items ahead of a process", "16", f"as the task {RUN.spec.task} wants it"),
        ("connections", "8", "measured"),
    ]


def test_the_first_reason_to_kill_it_counts(pair: tuple[ChildHandle, Any]) -> None:
    child, process = pair
    child.kill("timed out")
    child.kill("closed")
    assert (child.killed, process.kills) == ("timed out", 2)
