"""Which child goes over to which run. The children are pretended: only what is decided about them is tried."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sheaf.run.items import Item
from sheaf.run.task_spec import TaskSpec
from sheaf_worker.pool.attempts import Bisection
from sheaf_worker.pool.backlog import Backlog, ItemBlock
from sheaf_worker.pool.child_state import State
from sheaf_worker.pool.dispatcher import Dispatcher
from sheaf_worker.wire.channel import TaskRun


def run_of(module: str) -> TaskRun:
    return TaskRun(f"run-{module}", TaskSpec(f"{module}:act"), "out.jsonl")


@dataclass(eq=False)
class Child:
    """A child that knows the module of its run, and therefore suits no other."""

    number: int
    program: TaskRun
    state: State = State.READY
    outstanding: list[int] = field(default_factory=list)
    for_suspects: bool = False
    retiring: bool = False
    done: int = 1
    room_bytes: int = 1 << 20

    @property
    def run(self) -> str:
        return self.program.run

    @property
    def free(self) -> bool:
        return not self.outstanding

    def suits(self, program: TaskRun) -> bool:
        return program.spec.task == self.program.spec.task

    def room(self, most: int) -> int:
        return most

    def give(self, block: ItemBlock) -> None:
        self.outstanding += block.indexes


def test_two_children_that_go_over_to_each_others_runs_do_not_wait_for_each_other() -> None:
    """Each run has one item left, which the other child could do, if that were not on its way to the first run."""
    first, second = run_of("first"), run_of("second")
    children: Any = [Child(0, first), Child(1, second)]
    backlog = Backlog()
    for program in (first, second):
        backlog.add(program, ItemBlock.of([Item(0, "a")]))

    def assign(child: Any, program: TaskRun) -> None:
        child.program = program

    dispatcher = Dispatcher(backlog, 2, 0, Bisection(), assign)
    dispatcher._moving = {0: second.run, 1: first.run}

    for _ in range(3):
        dispatcher.dispatch(children)

    assert not len(backlog)
    assert [child.outstanding for child in children] == [[0], [0]]
