"""Submitting: a run is written once, whatever is submitted twice, at once, or after the output was removed."""

from __future__ import annotations

import dataclasses
import io
import sqlite3
import threading
import time
from pathlib import Path

import pytest
from rich.console import Console

from sheaf.broker.worker_registry import WorkerInfo
from sheaf.core.errors import IndexMissing, InputError, OutputPathError
from sheaf.output.output import Output
from sheaf.run.items import Done, Failed
from sheaf.run.run import Run, list_runs
from sheaf.run.task_spec import TaskSpec
from sheaf.submission.draft import new_run_name
from sheaf.submission.occupied import Onto
from sheaf.submission.submit import (
    Outcome,
    RunRequest,
    SubmitOptions,
    batch_size_for,
    check_unoccupied,
    checked_output,
    submit,
)
from sheaf.view.monitor import RunStatus
from sheaf_producer.progress.display import Lines, summary
from tests.patches import noting
from tests.requests import submitted_as, with_spec

REQUEST = RunRequest(TaskSpec("load", {"connections": 4}), "pages.html", "urls.txt", SubmitOptions(batch_size=3))
ITEMS = [f"https://example.org/{number}" for number in range(7)]


def submitted(data: Path, request: RunRequest = REQUEST, items: list[str] = ITEMS) -> tuple[Run, Outcome]:
    return submit(data, request, lambda _: [items])


def finish(data: Path, run: Run) -> None:
    """Settle every item, as workers would."""
    output = Output(data / run.manifest.output)
    results = [Done(index, b"page\n") for index in range(run.manifest.items - 1)]
    output.commit(
        {run.manifest.run: [*results, Failed(run.manifest.items - 1, "Dns", "", 1)]}, worker="worker-1", token=1
    )
    output.close()
    run.mark_finished()


def test_a_new_run_is_known_to_volume_and_output(tmp_path: Path) -> None:
    """Manifest and items are in the data folder, the output's index knows the run, and no draft is left."""
    run, outcome = submitted(tmp_path)

    assert outcome is Outcome.NEW
    assert [item.text for item in Run.open(tmp_path, run.manifest.run).all_items()] == ITEMS
    assert (run.manifest.items, run.manifest.batches) == (7, 3)
    output = Output(tmp_path / "pages.html")
    assert list(output.reader.unfinished_batches(run.manifest.run)) == [0, 1, 2]
    output.close()
    assert [path.name for path in (tmp_path / "runs").iterdir() if path.is_dir()] == [run.manifest.run]


def test_an_unfinished_run_is_taken_up_by_the_same_submission(tmp_path: Path) -> None:
    """Even a cancelled one; other items, options or outputs make a run of their own."""
    first, _ = submitted(tmp_path)
    first.cancel()

    second, outcome = submitted(tmp_path)

    assert (second.manifest, outcome) == (first.manifest, Outcome.RESUMED)
    assert not first.cancelled
    for request, items in (
        (submitted_as(with_spec(REQUEST, options={}), onto=Onto.APPEND), ITEMS),
        (dataclasses.replace(REQUEST, output="other.html"), ITEMS),
        (submitted_as(REQUEST, onto=Onto.APPEND), ITEMS[:-1]),
        (submitted_as(REQUEST, again=True), ITEMS),
    ):
        assert submitted(tmp_path, request, items)[1] is Outcome.NEW
    assert len(list_runs(tmp_path)) == 5


def test_names_of_runs_sort_by_age() -> None:
    """Those of one second too: the newest run is the one that `last` means."""
    names = []
    for _ in range(50):
        names.append(new_run_name())
        time.sleep(0.0001)

    assert sorted(names) == names
    assert len(set(names)) == 50


def test_tuning_does_not_make_another_run(tmp_path: Path) -> None:
    """The same list with more connections goes on with the run that is there; its pages are not loaded twice."""
    request = submitted_as(REQUEST, tuning=frozenset({"connections"}))
    first, _ = submitted(tmp_path, request)

    second, outcome = submitted(tmp_path, with_spec(request, options={"connections": 99}))
    third, other = submitted(tmp_path, submitted_as(with_spec(request, options={"accept": "any"}), onto=Onto.APPEND))

    assert (second.manifest, outcome) == (first.manifest, Outcome.RESUMED)
    assert (third.manifest.run != first.manifest.run, other) == (True, Outcome.NEW)


def test_a_finished_run_is_not_submitted_again_until_its_output_is_removed(tmp_path: Path) -> None:
    """Truth is what is in the output, not the mark in the run's folder."""
    run, _ = submitted(tmp_path)
    finish(tmp_path, run)
    assert submitted(tmp_path)[1] is Outcome.FINISHED

    for path in tmp_path.glob("pages.html*"):
        path.unlink()

    again, outcome = submitted(tmp_path)
    assert outcome is Outcome.NEW
    assert again.manifest.run != run.manifest.run


def test_two_producers_at_once_make_one_run(tmp_path: Path) -> None:
    """The same list submitted by many at the same moment: one run is published, the others join it."""
    outcomes: list[Outcome] = []
    start = threading.Barrier(6)

    def produce() -> None:
        start.wait()
        outcomes.append(submitted(tmp_path)[1])

    threads = [threading.Thread(target=produce) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcome.value for outcome in outcomes) == ["new", *["resumed"] * 5]
    assert len(list_runs(tmp_path)) == 1


def test_a_submission_that_fails_writes_nothing(tmp_path: Path) -> None:
    """A list that breaks in the middle leaves neither a run nor an output."""

    def broken(_: object) -> list[list[str]]:
        raise InputError("cut short")

    with pytest.raises(InputError):
        submit(tmp_path, REQUEST, broken)

    assert list_runs(tmp_path) == []
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_a_submission_asks_its_output_in_few_openings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One for all checks before the list is read; then, under the lock, what is there and what becomes of it."""
    opened: list[object] = []
    watched = noting(sqlite3.connect, lambda address, *_, **_named: opened.append(address))
    monkeypatch.setattr(sqlite3, "connect", watched)

    def openings(request: RunRequest) -> tuple[Outcome, int]:
        opened.clear()
        with checked_output(tmp_path, request.output, request.spec.options) as output:
            check_unoccupied(tmp_path, request, output)
        return submitted(tmp_path, request)[1], len(opened)

    # It is made by a connection of its own.
    assert openings(REQUEST) == (Outcome.NEW, 2)
    finish(tmp_path, Run.open(tmp_path, list_runs(tmp_path)[0]))
    assert openings(REQUEST) == (Outcome.FINISHED, 2)
    another = submitted_as(with_spec(REQUEST, options={}), onto=Onto.APPEND)
    assert openings(another) == (Outcome.NEW, 3)
    assert openings(another) == (Outcome.RESUMED, 3)


def refuse(data: Path, output: str) -> None:
    with checked_output(data, output, {}):
        pytest.fail("it was not refused")


def test_an_output_that_cannot_be_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    """A missing folder; a file that is not ours, which stays as it is."""
    with pytest.raises(OutputPathError, match="mkdir -p"):
        refuse(tmp_path, "news/pages.html")
    (tmp_path / "pages.html").write_text("mine")
    with pytest.raises(IndexMissing):
        refuse(tmp_path, "pages.html")
    assert (tmp_path / "pages.html").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["pages.html"]


@pytest.mark.parametrize(
    ("items", "pages", "others"),
    [
        (1, 1, 1),
        (399, 1, 1),
        (400, 2, 2),
        (2000, 10, 10),
        (100_000, 500, 500),
        (1_000_000, 500, 5_000),
        (100_000_000, 500, 10_000),
    ],
)
def test_the_batch_size_follows_the_number_of_items(items: int, pages: int, others: int) -> None:
    """Enough batches to share among workers, never more than pays."""
    assert (batch_size_for(items, slow=True), batch_size_for(items, slow=False)) == (pages, others)


def test_large_items_make_small_batches(tmp_path: Path) -> None:
    """A worker reads a batch at once: it is to be megabytes, not gigabytes."""
    large = dataclasses.replace(submitted_as(REQUEST, batch_size=None), output="large.html")

    run, _ = submitted(tmp_path, large, ["x" * (4 << 20)] * 5)
    many, _ = submitted(
        tmp_path, dataclasses.replace(large, output="many.html"), [f"{number}" + "x" * 50_000 for number in range(800)]
    )

    assert run.manifest.batch_size == 1
    assert many.manifest.batch_size == 4
    assert [len(item.text) for item in run.items(run.manifest.batch(3))] == [4 << 20]


def view(done: int, failed: int = 0, problems: tuple[str, ...] = (), per_s: float = 0.0) -> RunStatus:
    entry = WorkerInfo("worker-1-abc", {"label": "worker-1", "pool": "2"}, 0.1)
    return RunStatus(2000, done, failed, per_s, per_s * 30_000, [entry], {entry.id: done}, problems, cancelled=False)


def test_the_numbers_of_a_run_fit_one_line() -> None:
    """What is not known yet, or is zero, is left out rather than guessed."""
    assert summary(view(0), "page") == "0 of 2,000 pages"
    assert summary(view(1268, 12, per_s=843), "page") == (
        "1,280 of 2,000 pages · 12 failed · 843 pages/s · 25.3 MB/s · 0.9 s left"
    )


def test_without_a_terminal_a_problem_is_told_when_it_comes_and_when_it_goes() -> None:
    """Once each, not at every look; progress every few seconds."""
    written = io.StringIO()
    lines = Lines(Console(file=written, width=40), "page")

    full, silent = "the disk is full", "no workers are running"
    for problems in ((), (full,), (full,), (full, silent), ()):
        lines.show(view(10, problems=problems))

    said = [line[10:] for line in written.getvalue().splitlines()]
    assert said == ["10 of 2,000 pages · 1 worker", f"problem: {full}", f"problem: {silent}", "the problem is over"]
