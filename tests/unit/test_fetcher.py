"""What becomes of a claimed batch: passed on to the pool, finished at once, refused; and of a claim without Redis."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sheaf.broker.claims import Claims
from sheaf.broker.suspects import Note
from sheaf.output.output import Output
from sheaf.run.items import Done
from sheaf.run.run import Run
from sheaf.run.task_spec import TaskSpec
from sheaf_worker.claim import fetcher as module
from sheaf_worker.claim.fetcher import Fetcher
from sheaf_worker.claim.isolation import CLAIMS
from sheaf_worker.claim.lookahead import Demand
from tests.console import wait_until
from tests.runs import numbered, write_run
from tests.worker_parts import FakeQueue, make_context, messages

RUN = "20260101-000000-aaaaaa"
OTHER = "20260101-000000-bbbbbb"
WANTED = Demand({}, 4, 4, urgent=True)


class FakeNotes:
    def __init__(self) -> None:
        self.notes: dict[str, Note] = {}
        self.asked: list[str] = []

    def read(self, batch: str) -> Note | None:
        self.asked.append(batch)
        return self.notes.get(batch)

    def write(self, batch: str, note: Note) -> None:
        self.notes[batch] = note

    def remove(self, batch: str) -> None:
        self.notes.pop(batch, None)


class Bed:
    """A fetcher on a real volume, without its thread unless a test starts it."""

    def __init__(self, data: Path, **settings: Any) -> None:
        self.data = data
        self.queue = FakeQueue()
        self.context = make_context(data, self.queue, tasks_dir=data / "tasks", **settings)
        self.wakes = self.refills = 0
        self.idle = True
        self.notes = FakeNotes()
        notes: Any = self.notes
        self.fetcher = Fetcher(self.context, self._wake, self._refill, notes, lambda: self.idle)

    def _wake(self) -> None:
        self.wakes += 1

    def _refill(self) -> None:
        self.refills += 1

    def submit(self, name: str = RUN, items: int = 10, *, task: str = "t:f", padding: str = "") -> Run:
        output = "o.jsonl"
        texts = [text + padding for text in numbered(items)]
        run = write_run(self.data, texts, name, TaskSpec(task), output=output, batch_size=4)
        shared = Output.create(self.data / output)
        shared.register_run(name, items, 4)
        shared.close()
        return run

    def settle(self, *indexes: int) -> None:
        output = Output(self.data / "o.jsonl")
        output.commit({RUN: [Done(index, b"x\n") for index in indexes]}, worker="w-2", token=1)
        output.close()

    def claim(self, *batches: tuple[str, int, int], **what_else: Any) -> None:
        """One step, whose claim brings these."""
        self.queue.claims.append(Claims(list(batches), **what_else))
        self.fetcher.want(WANTED)
        self.fetcher._step()

    def taken(self) -> list[tuple[str, list[tuple[int, str]]]]:
        """What was passed on; the worker's loop has it from here on."""
        found = []
        while not self.fetcher.taken.empty():
            held, block = self.fetcher.taken.get()
            self.fetcher.passed_on += 1
            found.append((held.batch.id, [(item.index, item.text) for item in block.items]))
        return found

    def why(self, run: str = RUN) -> str:
        return self.queue.registry.problems[run].text


@pytest.fixture
def bed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[Bed]:
    for name in ("IDLE_S", "LIMIT_S", "OTHERS_S", "STRANGER_S", "WAKEUP_S"):
        monkeypatch.setattr(module, name, 0.001)
    monkeypatch.setattr(module, "RECONNECT_S", (0.001, 0.002))
    caplog.set_level(logging.DEBUG, logger="sheaf_worker")
    bed = Bed(tmp_path)
    yield bed
    if bed.fetcher.is_alive():
        bed.fetcher.stop(60)
    bed.fetcher._outputs.close()


# --- passed on, or done already --------------------------------------------------------------------------------------


def test_a_claimed_batch_is_passed_on_with_its_items(bed: Bed) -> None:
    bed.submit()

    bed.claim((RUN, 2, 1))

    assert bed.context.in_flight.ids() == [f"{RUN}_2"]
    assert bed.taken() == [(f"{RUN}_2", [(8, "item 8"), (9, "item 9")])]
    assert not bed.fetcher.drained
    assert bed.wakes == 1
    assert bed.notes.asked == [], "a step to Redis that only batches need whose workers died"


def test_only_what_is_open_of_a_batch_is_passed_on(bed: Bed) -> None:
    """It was put back after a worker had committed a part of it."""
    bed.submit()
    bed.settle(4, 6)

    bed.claim((RUN, 1, 1))

    assert bed.taken() == [(f"{RUN}_1", [(5, "item 5"), (7, "item 7")])]


def test_a_batch_of_which_nothing_is_open_is_finished_at_once(bed: Bed) -> None:
    """Queued twice, or finished by a worker that died before it could say so."""
    bed.submit()
    bed.settle(4, 5, 6, 7)

    bed.claim((RUN, 1, 1))

    assert bed.queue.released == [f"{RUN}_1"]
    assert (bed.taken(), bed.context.in_flight.ids()) == ([], [])


def test_a_batch_of_a_cancelled_run_is_finished_at_once(bed: Bed) -> None:
    bed.submit().cancel()

    bed.claim((RUN, 0, 1))

    assert bed.queue.released == [f"{RUN}_0"]


def test_a_batch_that_is_here_already_is_not_taken_twice(bed: Bed) -> None:
    """It was queued twice: the lease is the same, and its items would be done twice."""
    bed.submit()
    bed.claim((RUN, 0, 1))
    bed.taken()

    bed.claim((RUN, 0, 1))

    assert bed.taken() == []
    assert bed.queue.released == []
    assert bed.context.in_flight.ids() == [f"{RUN}_0"]


def test_a_batch_whose_workers_died_is_done_in_parts(bed: Bed) -> None:
    bed.submit()
    bed.notes.notes[f"{RUN}_0"] = Note(1, 2, CLAIMS, 1)

    bed.claim((RUN, 0, CLAIMS + 1))
    assert bed.taken() == [], "first everything else is to be done"
    bed.fetcher._step()

    assert bed.taken() == [(f"{RUN}_0", [(1, "item 1")])], "what was in hand when the last one died"
    assert bed.notes.notes[f"{RUN}_0"].deaths == 1
    assert bed.context.in_flight.ids() == [f"{RUN}_0"]


def test_the_word_in_a_combined_outputs_headings_goes_along(bed: Bed) -> None:
    run = write_run(bed.data, numbered(2), RUN, output="o.html", batch_size=4)
    shared = Output.create(bed.data / "o.html", header=b"<!-- sheaf separator 0123456789abcdef -->\n")
    shared.register_run(RUN, 2, run.manifest.batch_size)
    shared.close()

    bed.claim((RUN, 0, 1))

    held, _ = bed.fetcher.taken.get()
    assert held.separator == "0123456789abcdef"


# --- refused ---------------------------------------------------------------------------------------------------------


def test_a_run_that_is_not_on_this_volume_is_said_and_left_to_others(
    bed: Bed, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that has never found a run pauses: it would take each batch from those that have the right volume."""
    pauses: list[float | None] = []
    monkeypatch.setattr(module, "STRANGER_S", 77.0)
    monkeypatch.setattr(bed.fetcher._stop_asked, "wait", pauses.append)

    bed.claim((RUN, 0, 1))

    assert "share the producer's volume?" in bed.why()
    assert not bed.queue.registry.problems[RUN].refused
    assert bed.queue.released == [f"{RUN}_0"]
    assert messages(caplog.records, "error") == ["cannot work on a batch"]
    assert 77.0 in pauses

    pauses.clear()
    bed.submit(OTHER)
    bed.claim((OTHER, 0, 1))
    bed.taken()
    bed.claim((RUN, 0, 1))
    assert 77.0 not in pauses, "it has found one: its volume is the right one"


def test_a_batch_that_the_run_does_not_have_is_refused(bed: Bed) -> None:
    bed.submit()

    bed.claim((RUN, 3, 1))

    assert f"run '{RUN}' has no batch 3" in bed.why()


def test_a_batch_whose_part_of_the_list_is_damaged_is_refused_and_others_go_on(bed: Bed) -> None:
    run = bed.submit(items=4096, padding=" " * 100)
    content = bytearray((run.folder / "items").read_bytes())
    content[content.index(b"item 4095")] ^= 1
    (run.folder / "items").write_bytes(content)

    bed.claim((RUN, 1023, 1), (RUN, 0, 1))

    assert bed.queue.registry.problems[RUN].refused
    assert bed.queue.released == [f"{RUN}_1023"]
    assert [name for name, _ in bed.taken()] == [f"{RUN}_0"]


def test_a_task_that_this_worker_may_not_run_is_refused(tmp_path: Path, bed: Bed) -> None:
    bed.submit(task="exec")

    bed.claim((RUN, 0, 1))

    assert "SHEAF_ALLOW_EXEC=1" in bed.why()
    assert bed.queue.registry.problems[RUN].refused
    assert bed.context.in_flight.ids() == []


def test_a_task_whose_file_has_changed_is_refused(bed: Bed) -> None:
    spec = TaskSpec("mine:f", files={"mine.py": "0" * 64})
    write_run(bed.data, numbered(4), RUN, spec, batch_size=4)
    (bed.data / "tasks").mkdir()
    (bed.data / "tasks/mine.py").write_text("def f(x): return x\n")

    bed.claim((RUN, 0, 1))

    assert "mine.py has changed since run" in bed.why()
    assert bed.queue.registry.problems[RUN].refused


def test_an_output_that_is_not_what_it_was_is_refused(bed: Bed) -> None:
    bed.submit()
    (bed.data / "o.jsonl.index").write_bytes(b"no database at all " * 500)

    bed.claim((RUN, 0, 1))

    assert bed.queue.registry.problems[RUN].refused
    assert bed.queue.released == [f"{RUN}_0"]


def test_a_disk_that_cannot_be_read_now_is_no_refusal(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reconciler puts the batch back, and it is tried again."""
    bed.submit()

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Run, "read", fail)
    bed.claim((RUN, 0, 1))

    assert "Input/output error" in bed.why()
    assert not bed.queue.registry.problems[RUN].refused
    assert bed.queue.released == [f"{RUN}_0"]
    assert bed.context.in_flight.ids() == []


# --- how much is claimed ---------------------------------------------------------------------------------------------


def test_no_more_is_claimed_than_the_pool_needs_and_the_limit_allows(bed: Bed) -> None:
    """Batches of four items: nine items are three batches."""
    bed.submit()
    bed.claim((RUN, 0, 1))
    bed.taken()

    bed.fetcher.want(Demand({RUN: 9, OTHER: 100}, 2, 1, urgent=True))
    bed.fetcher._step()

    limit, request = bed.queue.requests[-1]
    assert (request.named, request.others, request.each) == ({RUN: 3, OTHER: module.CLAIM_LIMIT}, 2, 1)
    assert limit == 3 + module.CLAIM_LIMIT + 2


def test_the_setting_limits_what_is_in_flight(tmp_path: Path) -> None:
    bed = Bed(tmp_path, batches_in_flight=1)
    bed.submit()
    bed.claim((RUN, 0, 1))
    bed.taken()
    requests = len(bed.queue.requests)

    bed.fetcher._step()

    assert len(bed.queue.requests) == requests
    assert bed.fetcher.drained, "else the last records would wait for more that do not come"
    bed.fetcher._outputs.close()


def test_nothing_is_claimed_while_the_last_batches_are_on_their_way(bed: Bed) -> None:
    bed.submit()
    bed.claim((RUN, 0, 1))

    bed.fetcher._step()

    assert len(bed.queue.requests) == 1


def test_an_empty_queue_is_waited_at_and_makes_the_worker_commit(bed: Bed) -> None:
    bed.fetcher.drained = False

    bed.claim()

    assert bed.fetcher.drained
    assert (bed.queue.waits, bed.wakes) == ([module.WAKEUP_S], 1)
    bed.claim()
    assert bed.wakes == 1, "it knows already"


def test_a_queue_that_has_others_batches_only_is_asked_again_soon(bed: Bed) -> None:
    bed.claim(left=3)

    assert bed.fetcher.drained
    assert bed.queue.waits == []


def test_a_long_run_whose_batches_run_out_has_more_queued(tmp_path: Path) -> None:
    bed = Bed(tmp_path, queue_batches=4)
    bed.submit(items=24)
    bed.claim((RUN, 0, 1), parties=1, left_of={RUN: 3})
    bed.taken()
    assert bed.refills == 0

    bed.claim((RUN, 1, 1), parties=1, left_of={RUN: 2})

    assert bed.refills == 1
    bed.fetcher._outputs.close()


def test_jobs_of_other_programs_are_logged(bed: Bed, caplog: pytest.LogCaptureFixture) -> None:
    bed.claim(foreign=["job-7"])

    assert messages(caplog.records, "warning") == ["moved jobs of another program off the queue"]


def test_only_the_last_runs_are_remembered(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program has many."""
    monkeypatch.setattr(module, "KNOWN_RUNS", 1)
    for name in (RUN, OTHER):
        bed.submit(name)
        bed.claim((name, 0, 1))
        bed.taken()

    assert list(bed.fetcher._runs) == [OTHER]
    assert list(bed.fetcher._separators) == [OTHER]
    assert list(bed.fetcher._batch_items) == [OTHER]


# --- its thread ------------------------------------------------------------------------------------------------------


def test_without_redis_it_waits_says_so_once_and_goes_on_when_it_is_back(
    bed: Bed, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in the midst of a step: what it had claimed is claimed again, as its answer is kept."""
    bed.submit()
    bed.queue.outage.begin()
    bed.fetcher.drained = False
    pauses: list[float | None] = []
    wait = bed.fetcher._stop_asked.wait

    def note(timeout_s: float | None = None) -> bool:
        pauses.append(timeout_s)
        return wait(timeout_s)

    monkeypatch.setattr(bed.fetcher._stop_asked, "wait", note)
    bed.fetcher.want(WANTED)
    bed.fetcher.start()
    wait_until(lambda: len(pauses) > 4, 60, "it has tried a few times")
    assert bed.fetcher.problem == "Redis is away"
    assert bed.fetcher.drained
    assert pauses[:3] == [0.001, 0.002, 0.002], "longer and longer, up to a limit"

    bed.queue.claims.append(Claims([(RUN, 0, 1)]))
    bed.queue.outage.end()

    wait_until(lambda: not bed.fetcher.taken.empty(), 60, "it claims again")
    wait_until(lambda: bed.fetcher.problem is None, 60, "the problem is over")
    bed.fetcher.stop(60)
    assert not bed.fetcher.is_alive()
    assert messages(caplog.records, "warning") == ["waiting for Redis"]
    assert messages(caplog.records, "info") == ["Redis is back"]


def test_a_batch_that_redis_could_not_be_told_of_is_told_of_later(bed: Bed) -> None:
    """Redis goes between the claim and the refusal: the worker goes on, and the batch's lease runs out."""
    bed.queue.outage.begin("set_problem")
    bed.queue.claims.append(Claims([(RUN, 0, 1)]))
    bed.fetcher.want(WANTED)
    bed.fetcher.start()
    wait_until(lambda: bed.fetcher.problem is not None or bed.queue.waits, 60, "it has met it")

    wait_until(lambda: bed.queue.waits, 60, "it goes on claiming")
    assert bed.queue.released == []
    assert bed.context.in_flight.ids() == []


def test_it_stops_at_once_while_it_waits(bed: Bed) -> None:
    bed.fetcher.want(Demand())
    bed.fetcher.start()

    bed.fetcher.stop(60)

    assert not bed.fetcher.is_alive()
    assert bed.queue.interrupted
