"""What is over is remembered, and found again when it is opened anew; the catalog follows from the manifests."""

from __future__ import annotations

from pathlib import Path

import pytest

from sheaf.run.catalog import FILE, catalog, note_move, runs_of
from sheaf.run.run import Run, is_finished
from sheaf.run.unfinished import Unfinished
from tests.patches import noting
from tests.runs import write_run


def a_run(data: Path, number: int, output: str = "a.jsonl") -> Run:
    name = f"20260101-000000-{number:08x}"
    return write_run(data, [str(number)], name, output=output, batch_size=1, fingerprint=f"{number:064x}")


def name_of(run: Run) -> str:
    return run.manifest.run


def test_what_is_over_is_not_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many runs there were, a look asks for the marks of those that are not known to be over."""
    runs = [a_run(tmp_path, number) for number in range(30)]
    for run in runs[:20]:
        run.mark_finished()
    runs[20].cancel()
    look = Unfinished(tmp_path)
    assert look.names() == [name_of(run) for run in runs[21:]]
    asked: list[str] = []
    watched = noting(is_finished, lambda _data, name: asked.append(name))
    monkeypatch.setattr("sheaf.run.unfinished.is_finished", watched)

    runs[29].mark_finished()
    new = a_run(tmp_path, 30)

    assert look.names() == [name_of(run) for run in (*runs[21:29], new)]
    assert set(asked) == {name_of(run) for run in (*runs[21:], new)}


@pytest.mark.parametrize("mark", ["finished", "cancelled"])
def test_a_run_that_is_opened_again_is_seen_at_once(tmp_path: Path, mark: str) -> None:
    """A repair, a retry or the same submission has taken its mark away."""
    run = a_run(tmp_path, 1)
    run.mark_finished() if mark == "finished" else run.cancel()
    look = Unfinished(tmp_path)
    assert look.names() == []

    run.reopen() if mark == "finished" else run.resume()

    assert look.names() == [name_of(run)]


def test_a_mark_that_a_person_took_away_is_missed_for_a_while_only(tmp_path: Path) -> None:
    run = a_run(tmp_path, 1)
    run.mark_finished()
    look = Unfinished(tmp_path)
    assert look.names() == []
    (run.folder / "finished").unlink()

    look._due = 0.0

    assert look.names() == [name_of(run)]


def test_the_catalog_names_each_run_and_opens_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of any age are found, whatever wrote them; the next reader opens those that are new."""
    runs = [a_run(tmp_path, number, f"{number % 2}.jsonl") for number in range(6)]
    assert [entry.run for entry in catalog(tmp_path)] == [name_of(run) for run in runs]
    new = a_run(tmp_path, 6, "0.jsonl")
    opened: list[str] = []
    monkeypatch.setattr(Run, "open", noting(Run.open, lambda _data, run: opened.append(run)))

    found = list(runs_of(tmp_path, tmp_path / "0.jsonl"))

    assert found == [name_of(run) for run in (*runs[::2], new)]
    assert opened == [name_of(new)]
    assert [entry.is_like(f"{3:064x}.0123456789") for entry in catalog(tmp_path)] == [index == 3 for index in range(7)]


def test_a_damaged_run_is_opened_once_and_again_when_its_file_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty thousand of them cost a submission no more than as many that are well; one that is mended is found."""
    runs = [a_run(tmp_path, number, "0.jsonl") for number in range(3)]
    manifest = runs[1].folder / "run.json"
    whole = manifest.read_text()
    manifest.write_text(whole.replace("0.jsonl", "1.jsonl"))
    first = catalog(tmp_path)
    opened: list[str] = []
    monkeypatch.setattr(Run, "open", noting(Run.open, lambda _data, run: opened.append(run)))

    assert catalog(tmp_path) == first
    assert opened == []
    assert "run.json" in str(first[1].damage)
    manifest.write_text(whole)
    mended = catalog(tmp_path)
    assert opened == [name_of(runs[1])]
    assert (mended[1].damage, mended[1].output) == (None, "0.jsonl")
    assert catalog(tmp_path) == mended


@pytest.mark.parametrize("harm", ["gone", "cut", "a byte", "nonsense", "a folder"])
def test_a_damaged_catalog_hides_no_run(tmp_path: Path, harm: str) -> None:
    """Lines whose checksum is wrong count for nothing, and what they said is read from the manifests."""
    for number in range(5):
        a_run(tmp_path, number)
    before = catalog(tmp_path)
    path = tmp_path / "runs" / FILE
    content = path.read_bytes()
    path.unlink()
    if harm == "a folder":
        path.mkdir()
    elif harm != "gone":
        path.write_bytes(
            {"cut": content[:-40], "a byte": content.replace(b"a.jsonl", b"b.jsonl", 2)}.get(harm, b"x\0\n")
        )

    assert catalog(tmp_path) == before
    assert catalog(tmp_path) == before


def test_a_run_whose_manifest_cannot_be_read_may_be_any(tmp_path: Path) -> None:
    """It is opened by everybody who looks for one, and says what is wrong with it."""
    run = a_run(tmp_path, 1)
    (run.folder / "run.json").write_text("[]")

    (entry,) = catalog(tmp_path)

    assert entry.is_like("anything")
    assert list(runs_of(tmp_path, tmp_path / "other.jsonl")) == [name_of(run)]


def test_an_output_that_was_moved_is_found_at_its_new_place(tmp_path: Path) -> None:
    run = a_run(tmp_path, 1)
    catalog(tmp_path)
    run.move_output("a.replaced-1/a.jsonl")
    note_move(tmp_path, name_of(run), run.manifest.fingerprint, "a.replaced-1/a.jsonl")

    assert list(runs_of(tmp_path, tmp_path / "a.replaced-1" / "a.jsonl")) == [name_of(run)]
    assert list(runs_of(tmp_path, tmp_path / "a.jsonl")) == []
