"""`sheaf repair`: what is whole is kept, the items of the rest are reopened, nothing is destroyed."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from sheaf.core.errors import FenceTimeout, IndexForeign, IndexMissing, OutputMissing, OutputUnwritable
from sheaf.formats import format_for
from sheaf.output.index.database import Index
from sheaf.output.output import Output
from sheaf.output.repair import repair as repair_module
from sheaf.output.repair.rebuild import rebuild
from sheaf.output.repair.repair import diagnose, repair
from sheaf.output.repair.verify import verify
from sheaf.run.items import Done, Failed, Result
from sheaf.run.run import Run, is_finished
from sheaf.run.task_spec import TaskSpec
from sheaf.scheduling.reconciler import mark_finished
from tests import runs
from tests.unit.test_verify import change

RUN, OTHER = "20260101-000000-abcdef", "20260102-000000-abcdef"
ITEMS = 40


def write_run(data_dir: Path, name: str, output: str, items: int = ITEMS) -> Run:
    run = runs.write_run(data_dir, runs.numbered(items), name, TaskSpec("load"), output=output)
    run.mark_finished()
    return run


def record(index: int) -> Done:
    return Done(index, b"record %d\n" % index)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Header, then commits 2, 3, 4 with items 0 to 9, 10 to 24 and 25 to 38; 39 failed; in the last one also another
    run's two items. Finished."""
    write_run(tmp_path, RUN, "pages.txt")
    write_run(tmp_path, OTHER, "pages.txt", 2)
    output = Output.create(tmp_path / "pages.txt", header=b"HEADER\n")
    output.register_run(RUN, ITEMS, 7)
    output.register_run(OTHER, 2, 7)
    for first, end in ((0, 10), (10, 25)):
        output.commit({RUN: [record(index) for index in range(first, end)]}, worker="w", token=1)
    last = [record(index) for index in range(25, 39)]
    others = [Done(0, b"x\n"), Done(1, b"y\n")]
    groups: dict[str, Sequence[Result]] = {
        RUN: [*last, Failed(39, "Timeout", "too slow", 3)],
        OTHER: others,
    }
    output.commit(groups, worker="v", token=2)
    output.close()
    return tmp_path / "pages.txt"


def redo(path: Path) -> None:
    """What workers do then: commit every item that is open."""
    output = Output(path)
    for name, items in ((RUN, ITEMS), (OTHER, 2)):
        run = Run.open(path.parent, name)
        numbers = list(output.reader.unfinished_batches(name))
        indexes = [index for number in numbers for index in output.reader.remaining(name, run.manifest.batch(number))]
        assert bool(indexes) != run.finished
        done = [Done(index, b"again %d of %d\n" % (index, items)) for index in indexes]
        output.commit({name: done}, worker="again", token=3)
        for index in range(items - (name == RUN)):
            assert output.records.one(name, index) in {
                b"record %d\n" % index,
                b"again %d of %d\n" % (index, items),
                b"xy"[index : index + 1] + b"\n",
            }
    output.close()
    report = verify(path.parent, path)
    assert report.ok, report.problems
    assert (report.done, report.failed) == (41, 1)


def test_what_is_whole_needs_no_repair(path: Path) -> None:
    """Nothing found, nothing done; bytes of others beyond the end are the next commit's business."""
    path.write_bytes(path.read_bytes() + b"stray")
    before = path.read_bytes()

    found = repair(path.parent, "pages.txt")

    assert (found.lost, len(found.kept), found.size) == ([], 5, len(before))
    assert path.read_bytes() == before
    assert Run.open(path.parent, RUN).finished


@pytest.mark.parametrize(
    ("cut", "kept", "reopened"),
    [(1, 4, {OTHER: 2}), (10, 3, {RUN: 14, OTHER: 2}), (200, 2, {RUN: 29, OTHER: 2}), (9999, 0, {RUN: 39, OTHER: 2})],
)
def test_a_shortened_output_is_rolled_back_to_its_last_whole_commit(
    path: Path, cut: int, kept: int, reopened: dict[str, int]
) -> None:
    """Looking changes nothing. Repaired, what is left of torn commits is kept, and the run loads the rest again."""
    content = path.read_bytes()[: max(0, path.stat().st_size - cut)]
    path.write_bytes(content)

    seen = diagnose(path.parent, "pages.txt")
    assert path.read_bytes() == content
    assert Run.open(path.parent, RUN).finished
    found = repair(path.parent, "pages.txt")

    for each in (seen, found):
        assert (len(each.kept), dict(each.reopened), each.in_place) == (kept, reopened, True)
    rest = content[found.new_length :]
    assert path.read_bytes() == content[: found.new_length]
    assert (found.aside.read_bytes() if found.aside else b"") == rest
    report = verify(path.parent, path)
    assert (report.problems, report.missing) == ([], sum(reopened.values()))
    redo(path)


def test_a_run_that_is_marked_while_it_is_repaired_is_not_forgotten(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker's reconciler sees the run complete until the repair's commit; its mark must not survive that."""
    path.write_bytes(path.read_bytes()[:-10])
    run, output = Run.open(path.parent, RUN), Output(path)
    real = Index.commit

    def mark_before_and_after(self: Index) -> None:
        mark_finished(run, output)
        assert is_finished(path.parent, RUN)
        real(self)
        mark_finished(run, output)
        assert not is_finished(path.parent, RUN)
        run.mark_finished()

    monkeypatch.setattr(Index, "commit", mark_before_and_after)
    repair(path.parent, "pages.txt")
    monkeypatch.setattr(Index, "commit", real)

    assert not run.finished
    output.close()
    redo(path)


def test_an_output_that_is_gone_is_begun_anew(path: Path) -> None:
    """All records are lost, what failed is still known; the header comes back."""
    path.unlink()

    found = repair(path.parent, "pages.txt")

    assert (found.size, found.aside, dict(found.reopened)) == (None, None, {RUN: 39, OTHER: 2})
    redo(path)
    assert path.read_bytes().startswith(b"HEADER\nagain 0 of 40\n")


@pytest.mark.parametrize(
    ("place", "reopened"), [(10, {RUN: 10}), (120, {RUN: 15}), (0, {}), (-6, {RUN: 14}), (-1, {OTHER: 2})]
)
def test_a_damaged_commit_is_taken_out_and_its_items_reopened(path: Path, place: int, reopened: dict[str, int]) -> None:
    """In the beginning, the middle or the end; the damaged file is kept, other records are byte for byte the same."""
    whole = path.read_bytes()
    content = bytearray(whole)
    content[place] ^= 1
    path.write_bytes(content)

    found = repair(path.parent, "pages.txt")

    assert dict(found.reopened) == reopened
    if found.in_place:
        assert found.aside is not None
        assert path.read_bytes() + found.aside.read_bytes() == bytes(content)
    else:
        assert found.aside is not None
        assert found.aside.read_bytes() == bytes(content)
        assert set(path.read_bytes().split(b"\n")) <= set(whole.split(b"\n"))
    assert path.read_bytes().startswith(b"HEADER\n")
    redo(path)
    assert repair(path.parent, "pages.txt").lost == []


def test_another_file_in_the_outputs_place_is_moved_aside(path: Path) -> None:
    """None of the commits is in it: it is kept, and everything is done again."""
    path.write_bytes(b"z" * 2000)

    found = repair(path.parent, "pages.txt")

    assert found.kept == []
    assert found.aside is not None
    assert found.aside.read_bytes() == b"z" * 2000
    redo(path)


def test_a_repair_waits_for_no_commit_and_is_refused_during_one(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a writer has the fence, nothing is changed, and it is said who has it."""
    monkeypatch.setattr(repair_module, "_FENCE_WAIT_S", 0.2)
    said: list[str] = []

    def meanwhile(step: str) -> None:
        if step == "note":
            with pytest.raises(FenceTimeout) as caught:
                repair(path.parent, "pages.txt")
            said.append(str(caught.value))

    output = Output(path, steps=meanwhile)
    output.register_run("third", 1, 1)
    output.commit({"third": [Done(0, b"third\n")]}, worker="worker-at-work", token=3)
    output.close()

    assert "worker-at-work" in said[0]
    assert verify(path.parent, path, RUN).ok


@pytest.mark.parametrize("lost", ["end", "middle"])
@pytest.mark.parametrize("where", ["before", "after"])
def test_a_repair_that_dies_is_ended_by_the_next_one(
    path: Path, monkeypatch: pytest.MonkeyPatch, lost: str, where: str
) -> None:
    """Before or after the index's COMMIT: nothing that is there is doubted wrongly, and nothing is lost or doubled."""

    class Killed(BaseException):
        pass

    content = bytearray(path.read_bytes())
    content[120 if lost == "middle" else -6] ^= 1
    path.write_bytes(content)
    real = Index.commit

    def die(self: Index) -> None:
        if where == "after":
            real(self)
        raise Killed

    monkeypatch.setattr(Index, "commit", die)
    with pytest.raises(Killed):
        repair(path.parent, "pages.txt")
    monkeypatch.setattr(Index, "commit", real)

    repair(path.parent, "pages.txt")

    redo(path)
    kept = b"".join(aside.read_bytes() for aside in path.parent.glob("pages.txt.*-[0-9]"))
    assert bytes(content[120:125]) in kept + path.read_bytes()


def test_a_repair_on_a_full_disk_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The copy that keeps the damaged bytes comes first; if it cannot be made, the output stays as it is."""
    content = path.read_bytes()[:-10]
    path.write_bytes(content)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(repair_module, "_sync", full)
    with pytest.raises(OutputUnwritable, match="No space left"):
        repair(path.parent, "pages.txt")

    assert path.read_bytes() == content
    assert len(diagnose(path.parent, "pages.txt").lost) == 2


def test_an_index_that_contradicts_itself_is_not_guessed_at(path: Path) -> None:
    """Where the commits' places do not add up, it is not known what is whole."""
    change(path, "UPDATE commits SET offset = offset + 1 WHERE id = 3")

    with pytest.raises(IndexForeign, match="contradicts itself"):
        repair(path.parent, "pages.txt")


# --- without an index ---------------------------------------------------------------------------------------------


def lose_index(path: Path) -> None:
    for each in path.parent.glob(f"{path.name}.index*"):
        each.unlink()


@pytest.fixture(params=["values.jsonl", "values.jsonl.gz"])
def lines(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """JSON lines of two runs with equal items; of the first, items 7 and 39 are missing, of the second all but 0."""
    path: Path = tmp_path / request.param
    form = format_for(path.name)
    output = Output.create(path)
    for name in (RUN, OTHER):
        run = write_run(tmp_path, name, path.name)
        output.register_run(name, ITEMS, 7)
        wanted = [index for index in range(39) if index != 7] if name == RUN else [0]
        items = [run.items(run.manifest.batch(index // 7))[index % 7] for index in wanted]
        output.commit({name: [Done(item.index, form.value(*item, name)) for item in items]}, worker="w", token=1)
    output.close()
    lose_index(path)
    return path


def test_the_index_of_json_lines_is_made_anew(lines: Path) -> None:
    """Each line says which item it is, and the runs' lists say whose; a line of no run is left out, and kept."""
    foreign = b'{"index": 3, "item": "not ours"}\n'
    with open(lines, "ab") as stranger:
        stranger.write((gzip.compress(foreign) if lines.suffix == ".gz" else foreign) + b"torn")
    content = lines.read_bytes()

    said = rebuild(lines.parent, lines.name, apply=False)
    assert not lines.with_name(f"{lines.name}.index").exists()
    done = rebuild(lines.parent, lines.name, apply=True)

    for each in (said, done):
        assert (dict(each.found), each.unknown) == ({RUN: 38, OTHER: 1}, 1)
    assert done.aside is not None
    assert done.aside.read_bytes() == content
    report = verify(lines.parent, lines)
    assert (report.problems, report.done, report.missing) == ([], 39, 41)
    assert not Run.open(lines.parent, RUN).finished
    output = Output(lines)
    assert output.reader.remaining(RUN, Run.open(lines.parent, RUN).manifest.batch(1)) == [7]
    record = output.records.one(RUN, 30)
    assert json.loads(gzip.decompress(record) if lines.suffix == ".gz" else record)["item"] == "item 30"
    output.close()
    assert not list(lines.parent.glob(".sheaf-rebuild-*"))


def test_records_that_do_not_say_whose_they_are_cannot_be_given_an_index(path: Path) -> None:
    """Said honestly, with what to do; and so is an output of no run, and one that is not there."""
    lose_index(path)
    with pytest.raises(IndexMissing, match="load into a new output"):
        rebuild(path.parent, "pages.txt", apply=True)
    (path.parent / "foreign.jsonl").write_text("{}\n")
    with pytest.raises(IndexMissing, match="no run in"):
        rebuild(path.parent, "foreign.jsonl", apply=True)
    with pytest.raises(OutputMissing, match="submit the run again"):
        rebuild(path.parent, "nothing.jsonl", apply=True)
