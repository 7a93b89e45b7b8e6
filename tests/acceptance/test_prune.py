"""`sheaf prune`: what is no longer needed goes; outputs, and what is unfinished or in use, stay."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from sheaf.output.output import Output
from sheaf.output.repair.verify import verify
from sheaf.run.items import Done, Failed, Result
from sheaf.run.run import Run, list_runs
from sheaf.run.sessions import create_session
from tests.console import Console
from tests.runs import write_run

OUTPUT = "values.jsonl"


def a_run(data: Path, number: int, *results: Result) -> Run:
    """A run of two items, with these settled, and marked if both are."""
    name = f"20260101-000000-{number:08x}"
    output = Output.create(data / OUTPUT)
    run = write_run(data, ["1", "2"], name, output=OUTPUT, batch_size=1, fingerprint=f"{number:064x}")
    output.register_run(name, 2, 1)
    if results:
        output.commit({name: list(results)}, worker="w", token=number + 1)
    if len(results) == 2:
        run.mark_finished()
    output.close()
    return run


@pytest.fixture
def person(tmp_path: Path) -> Console:
    """With a data folder that holds a run of each kind: done, with a failed item, unfinished, cancelled."""
    person = Console(tmp_path)
    person.data.mkdir(exist_ok=True)
    a_run(person.data, 0, Done(0, b"1\n"), Done(1, b"2\n"))
    a_run(person.data, 1, Done(0, b"1\n"), Failed(1, "ValueError", "no", 1))
    a_run(person.data, 2, Done(0, b"1\n"))
    a_run(person.data, 3, Done(0, b"1\n")).cancel()
    return person


def left(person: Console) -> list[int]:
    return [int(name.rpartition("-")[2], 16) for name in list_runs(person.data)]


def test_only_what_is_done_and_old_goes(person: Console) -> None:
    """By default nothing younger than 30 days; then the runs that are done, and the rest only when named."""
    assert "can be removed" in person.run("prune").stdout
    assert left(person) == [0, 1, 2, 3]

    said = person.run("prune", "--older-than", "0s", "--yes").stdout
    assert "Removed 1 thing" in said
    assert left(person) == [1, 2, 3]

    person.run("prune", "--older-than", "0s", "--failed", "--cancelled", "--yes")
    assert left(person) == [2]


def test_the_output_is_as_good_as_before(person: Console) -> None:
    """What is checked, read and said of an output is in its index."""
    before = (person.data / OUTPUT).read_bytes()

    person.run("prune", "--older-than", "0s", "--failed", "--yes")

    assert (person.data / OUTPUT).read_bytes() == before
    report = verify(person.data, OUTPUT)
    assert (report.problems, report.done, report.failed) == ([], 5, 1)


def test_nothing_goes_without_a_yes(person: Console) -> None:
    """A dry run only says what would go; where there is no one to ask, --yes has to be typed."""
    drained = person.run("prune", "--older-than", "0s", "--dry-run").stdout
    assert "would be removed" in drained
    assert "runs/20260101-000000-00000000" in drained

    refused = person.run("prune", "--older-than", "0s", status=2)

    assert "--yes" in refused.stderr
    assert left(person) == [0, 1, 2, 3]


def test_a_run_that_a_repair_has_opened_again_stays(person: Console) -> None:
    """Its mark may still be there, but its output says that it is not finished."""
    run = Run.open(person.data, list_runs(person.data)[2])
    run.mark_finished()

    person.run("prune", "--older-than", "0s", "--failed", "--yes")

    assert left(person) == [2, 3]


def test_what_the_dead_left_goes_and_what_lives_stays(person: Console) -> None:
    """Lists that were being written, and programs' sessions: those whose lock is free."""
    runs, sessions = person.data / "runs", person.data / "sessions"
    for name in (".20260101-000000-dead", ".20260101-000000-live"):
        (runs / name).mkdir()
    (runs / ".20260101-000000-dead" / "items").write_text("1\n")
    draft = os.open(runs / ".20260101-000000-live", os.O_RDONLY)
    fcntl.flock(draft, fcntl.LOCK_EX)
    _, owner = create_session(person.data, "session-20260101000000aaaaaaaa")
    _, ended = create_session(person.data, "session-20260101000000bbbbbbbb")
    os.close(ended)

    said = person.run("prune", "--yes").stdout

    assert "Removed 2 things" in said
    assert not any(word in said for word in ("-live", "aaaaaaaa", "come to life"))
    assert sorted(path.name for path in runs.glob(".2*")) == [".20260101-000000-live"]
    assert [path.name for path in sessions.glob("session-*")] == ["session-20260101000000aaaaaaaa"]
    os.close(owner)
    os.close(draft)


def test_what_was_put_aside_goes_when_it_is_named(person: Console) -> None:
    """Beside an output of ours only: another program's file of such a name is its own."""
    for name in (f"{OUTPUT}.stray-1", f"{OUTPUT}.damaged-2", "theirs.stray-1", f"{OUTPUT}.stray-old"):
        (person.data / name).write_text("bytes")

    person.run("prune", "--older-than", "0s", "--aside", "--yes")

    assert sorted(path.name for path in person.data.glob("*.*-*") if path.is_file() and "index" not in path.name) == [
        "theirs.stray-1",
        f"{OUTPUT}.stray-old",
    ]


def test_an_age_is_a_number_and_a_unit(person: Console) -> None:
    assert "30d" in person.run("prune", "--older-than", "yesterday", status=2).stderr
