"""What hosted processes print reaches their programs in order and once, and before their ends do."""

from __future__ import annotations

from typing import Any

import pytest

from sheaf.broker.program_processes import ProcessId
from sheaf.core.errors import RedisUnavailable
from sheaf_worker.hosting.relay import DROP_S, FULL_BYTES, Relay

PROGRAM, OTHER = "0123456789abcdef", "fedcba9876543210"
FIRST, SECOND, THIRD = ProcessId(PROGRAM, "a1"), ProcessId(PROGRAM, "b2"), ProcessId(OTHER, "c3")


class Steps:
    """What Redis has, by program: entries and ends in their order."""

    def __init__(self) -> None:
        self.had: dict[str, list[Any]] = {PROGRAM: [], OTHER: []}
        self.batches: dict[str, int] = {}
        #: What the next calls do: raise before or after the step is done, or answer this.
        self.trouble: list[Any] = []
        self.full: set[str] = set()
        self.gone: set[str] = set()

    def print(self, program: str, batch: int, entries: list[bytes]) -> bool | None:
        trouble = self.trouble.pop(0) if self.trouble else None
        if trouble == "before":
            raise RedisUnavailable("away")
        if program in self.gone:
            return None
        if batch > self.batches.get(program, 0):
            if program in self.full:
                return False
            self.batches[program] = batch
            self.had[program] += entries
        if trouble == "after":
            raise RedisUnavailable("the answer is lost")
        return True

    def ended(self, process: ProcessId, exit_code: int) -> bool:
        self.had[process.program].append((process.process, exit_code))
        return True


@pytest.fixture
def steps() -> Steps:
    return Steps()


@pytest.fixture
def relay(steps: Steps) -> Relay:
    anything: Any = steps
    return Relay(anything, lambda process, code: steps.had[process.program].append(("let go", process.process, code)))


def test_an_end_comes_after_all_that_was_printed(relay: Relay, steps: Steps) -> None:
    """And after what the process held has been let go."""
    relay.add(FIRST, 1, b"one\n")
    relay.add(SECOND, 2, b"two\n")
    relay.end(FIRST, 0)
    relay.add(SECOND, 1, b"three\n")
    assert relay.ending() == {FIRST}
    relay.flush(0.0)
    assert steps.had[PROGRAM] == [
        b"a1 1\none\n",
        b"b2 2\ntwo\n",
        ("let go", "a1", 0),
        ("a1", 0),
        b"b2 1\nthree\n",
    ]
    assert not relay.waiting
    assert relay.ending() == set()


@pytest.mark.parametrize("trouble", ["before", "after"])
def test_nothing_is_lost_or_doubled_by_a_lost_answer(relay: Relay, steps: Steps, trouble: str) -> None:
    """Whether the batch was taken or not: it is sent again as it was, and what came since goes behind it."""
    relay.add(FIRST, 1, b"one\n")
    steps.trouble = [trouble, trouble]
    for more in (b"two\n", b"three\n"):
        with pytest.raises(RedisUnavailable):
            relay.flush(0.0)
        relay.add(FIRST, 1, more)
    relay.flush(0.0)
    assert steps.had[PROGRAM] == [b"a1 1\none\n", b"a1 1\ntwo\n", b"a1 1\nthree\n"]


def test_batches_go_on_after_a_program_was_forgotten(relay: Relay, steps: Steps) -> None:
    """It had no process for a while; a number that came before would be taken for a replay."""
    for number in range(3):
        relay.add(FIRST, 1, b"%d\n" % number)
        relay.flush(0.0)
        relay.forget(set())
    assert steps.had[PROGRAM] == [b"a1 1\n0\n", b"a1 1\n1\n", b"a1 1\n2\n"]


def test_a_program_that_does_not_read_stops_no_other(relay: Relay, steps: Steps) -> None:
    """Its processes are read no further until there is room."""
    steps.full.add(PROGRAM)
    relay.add(FIRST, 1, b"x" * FULL_BYTES)
    relay.add(THIRD, 1, b"y\n")
    relay.flush(0.0)
    assert steps.had[OTHER] == [b"c3 1\ny\n"]
    assert relay.is_full(PROGRAM)
    assert not relay.is_full(OTHER)
    relay.flush(10 * DROP_S)
    assert relay.is_full(PROGRAM), "a process that runs loses nothing"
    steps.full.clear()
    relay.flush(10 * DROP_S)
    assert len(steps.had[PROGRAM]) == 1
    assert not relay.is_full(PROGRAM)


def test_what_an_ended_process_left_is_dropped_with_a_message(relay: Relay, steps: Steps) -> None:
    """Else its end would never be reported; the message is read when there is room again."""
    steps.full.add(PROGRAM)
    relay.add(FIRST, 1, b"x" * 1000)
    relay.end(FIRST, 3)
    relay.flush(0.0)
    relay.flush(DROP_S - 0.1)
    assert steps.had[PROGRAM] == []
    relay.flush(DROP_S)
    assert steps.had[PROGRAM] == [("let go", "a1", 3), ("a1", 3)]
    steps.full.clear()
    relay.flush(DROP_S + 1)
    assert steps.had[PROGRAM][2:] == [
        b"a1 2\nsheaf: 1,000 bytes that processes printed were dropped: the program did not read them\n"
    ]


def test_a_program_that_is_gone_gets_nothing(relay: Relay, steps: Steps) -> None:
    """But that its processes have ended is still noted."""
    steps.gone.add(PROGRAM)
    relay.add(FIRST, 1, b"x\n")
    relay.end(FIRST, -9)
    relay.flush(0.0)
    assert steps.had[PROGRAM] == [("let go", "a1", -9), ("a1", -9)]
    assert not relay.waiting
