"""The reconciler: what is put on the queue, and what becomes of a run that cannot be read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sheaf.broker.claims import Snapshot
from sheaf.core.errors import FenceTimeout, OutputReplaced, RunNotFound
from sheaf.output.output import Output
from sheaf.run.items import Batch, Done
from sheaf.run.run import Run, is_finished
from sheaf.scheduling.reconciler import Reconciler
from tests.patches import raising
from tests.runs import numbered, write_run
from tests.worker_parts import FakeQueue

RUN, OTHER = "20261129-120000-aaaaaaaa", "20261129-120001-bbbbbbbb"


class Queue(FakeQueue):
    def __init__(self) -> None:
        super().__init__()
        self.put_batches: list[str] = []

    def put(self, batches: Iterable[Batch]) -> int:
        names = [batch.id for batch in batches]
        self.put_batches += names
        return len(names)


@pytest.fixture
def queue() -> Queue:
    return Queue()


@pytest.fixture
def reconciler(tmp_path: Path, queue: Queue) -> Iterator[Reconciler]:
    fake: Any = queue
    made = Reconciler(tmp_path, fake, room=4)
    yield made
    made.close()


def submit(data: Path, name: str = RUN, items: int = 10) -> None:
    write_run(data, numbered(items), name, output=f"{name}.jsonl", batch_size=2)
    output = Output.create(data / f"{name}.jsonl")
    output.register_run(name, items, 2)
    output.close()


def test_what_is_neither_done_nor_queued_nor_leased_is_put_back(
    tmp_path: Path, reconciler: Reconciler, queue: Queue
) -> None:
    submit(tmp_path)
    output = Output(tmp_path / f"{RUN}.jsonl")
    output.commit({RUN: [Done(0, b"0\n"), Done(1, b"1\n")]}, worker="w", token=1)
    output.close()
    queue.shot = Snapshot({f"{RUN}_1"}, {f"{RUN}_2": ("w", 1000)})

    assert reconciler.feed() == 2
    assert queue.put_batches == [f"{RUN}_3", f"{RUN}_4"]
    assert [run.manifest.run for run in reconciler.unfinished] == [RUN]
    assert reconciler.settled(reconciler.unfinished[0]) == 2


def test_a_full_queue_gets_no_more_than_a_runs_part(tmp_path: Path, reconciler: Reconciler, queue: Queue) -> None:
    submit(tmp_path)
    queue.shot = Snapshot({f"{OTHER}_{number}" for number in range(4)}, {})

    assert reconciler.feed() == 2, "half of four, for there is one other"


def test_a_run_whose_last_items_were_committed_by_the_dead_is_marked_finished(
    tmp_path: Path, reconciler: Reconciler, queue: Queue
) -> None:
    submit(tmp_path, items=2)
    output = Output(tmp_path / f"{RUN}.jsonl")
    output.commit({RUN: [Done(0, b"0\n"), Done(1, b"1\n")]}, worker="w", token=1)
    output.close()

    assert reconciler.feed() == 0
    assert is_finished(tmp_path, RUN)
    reconciler.feed()
    assert reconciler.unfinished == []


def test_a_damaged_run_is_set_aside_and_resumed_when_it_is_whole_again(
    tmp_path: Path, reconciler: Reconciler, queue: Queue, caplog: pytest.LogCaptureFixture
) -> None:
    """All others go on meanwhile; the log says it once, the problem is renewed."""
    caplog.set_level("INFO")
    submit(tmp_path)
    submit(tmp_path, OTHER)
    manifest = tmp_path / "runs" / RUN / "run.json"
    whole = manifest.read_bytes()
    manifest.write_bytes(b"{")

    reconciler.feed()
    reconciler.feed()

    assert {name.partition("_")[0] for name in queue.put_batches} == {OTHER}
    assert caplog.text.count("setting aside a damaged run") == 1
    assert queue.registry.problems[RUN].refused

    queue.registry.problems.clear()
    queue.put_batches.clear()
    manifest.write_bytes(whole)
    reconciler.feed()

    assert "run is intact again" in caplog.text
    assert f"{RUN}_0" in queue.put_batches


def test_a_run_that_is_removed_at_this_moment_is_nothing_to_do(
    tmp_path: Path, reconciler: Reconciler, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(tmp_path)
    monkeypatch.setattr(Run, "open", raising(RunNotFound("it was there a moment ago")))

    assert reconciler.feed() == 0
    assert (queue.put_batches, queue.registry.problems) == ([], {})


def test_a_refused_output_is_a_problem_of_its_run_and_left_alone(
    tmp_path: Path, reconciler: Reconciler, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(tmp_path)
    with monkeypatch.context() as refused:
        refused.setattr(Output, "register_run", raising(OutputReplaced("it is another file")))
        assert reconciler.feed() == 0
    assert queue.registry.problems[RUN].text == "it is another file"
    assert reconciler.feed() == 0, "as long as the problem is there"

    queue.registry.problems.clear()
    assert reconciler.feed() == 4


def test_an_index_that_cannot_be_read_now_is_looked_at_again(
    tmp_path: Path,
    reconciler: Reconciler,
    queue: Queue,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    submit(tmp_path)
    with monkeypatch.context() as locked:
        locked.setattr(Output, "register_run", raising(FenceTimeout("w-1 has it")))
        assert reconciler.feed() == 0
    assert "cannot read the index now" in caplog.text
    assert queue.registry.problems == {}
    assert reconciler.feed() == 4


def test_progress_that_cannot_be_read_is_unknown(tmp_path: Path, reconciler: Reconciler, queue: Queue) -> None:
    submit(tmp_path)
    reconciler.feed()
    (run,) = reconciler.unfinished
    (tmp_path / f"{RUN}.jsonl.index").unlink()
    fake: Any = queue
    another = Reconciler(tmp_path, fake, room=4)

    assert another.settled(run) is None
    another.close()
