"""Damaged files of a run: what is read is what was written, or the run is set aside, with file and cure named."""

from __future__ import annotations

import dataclasses
import errno
import functools
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sheaf.core.errors import RunDamaged, RunNotFound
from sheaf.output.output import Output
from sheaf.output.repair.verify import verify
from sheaf.run.items import Done
from sheaf.run.manifest import Manifest
from sheaf.run.run import Run, is_finished, list_runs, list_strangers
from sheaf.run.sessions import create_session, list_segments, remove_session
from sheaf.run.task_spec import TaskSpec
from sheaf.tasks import versions
from tests import runs

NAME = "20260101-000000-abcdef"
#: A list whose checksums are in the manifest, and one that has a file of them.
SHORT = [f"{number} item" for number in range(100)]
LONG = [f"{number} {'ä' * 150}" for number in range(4000)]
BATCH = 30
FUZZ = settings(
    max_examples=150, derandomize=True, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def write_run(data_dir: Path, items: list[str], name: str = NAME, output: str = "o.jsonl") -> Run:
    spec = TaskSpec("t:f", {"pass": "text"}, files={"t.py": "00ff"})
    return runs.write_run(data_dir, items, name, spec, output=output, batch_size=BATCH)


def make_old(run: Run) -> Run:
    """As Sheaf wrote it before there were checksums."""
    path = run.folder / "run.json"
    values = json.loads(path.read_text())
    for name in ("list_bytes", "list_sums", "checksum"):
        del values[name]
    path.write_text(json.dumps(values))
    (run.folder / "items.sums").unlink(missing_ok=True)
    return Run.open(run.folder.parents[1], run.manifest.run)


def read_all(data_dir: Path) -> tuple[Manifest, list[list[str] | None]]:
    """The manifest and each batch's texts; None where they are damaged. Raises RunDamaged for the manifest's sake."""
    run = Run.open(data_dir, NAME)
    found: list[list[str] | None] = []
    for number in range(run.manifest.batches):
        try:
            found.append(list(run.read(run.manifest.batch(number))[1]))
        except RunDamaged as error:
            assert_says_what_to_do(error)
            found.append(None)
    return run.manifest, found


@functools.cache
def texts_of(folder: Path) -> list[list[str]]:
    """Each batch's texts in a run's folder that does not change."""
    run = Run.open(folder.parents[1], folder.name)
    return [list(run.read(run.manifest.batch(number))[1]) for number in range(run.manifest.batches)]


def assert_says_what_to_do(error: RunDamaged) -> None:
    text = str(error)
    assert NAME in text
    assert "set aside" in text
    assert "goes on by itself" in text


# --- bytes that change ---

#: What becomes of a file: a bit flips, it is cut, bytes are put in, a part is another's, all of it is something else.
DAMAGES: dict[str, Callable[[bytes, int], bytes]] = {
    "bit": lambda data, at: data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :],
    "cut": lambda data, at: data[:at],
    "put in": lambda data, at: data[:at] + b"\n" + data[at:],
    "left out": lambda data, at: data[:at] + data[at + 1 :],
    "zeros": lambda data, at: data[:at] + b"\0" * len(data[at : at + 512]) + data[at + 512 :],
    "turned": lambda data, at: data[at:] + data[:at],
    "longer": lambda data, at: data + data[: at + 1],
    "not UTF-8": lambda data, at: data[:at] + b"\xff" + data[at + 1 :],
}


@pytest.fixture(scope="module", params=["short", "long"])
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return write_run(tmp_path_factory.mktemp("whole"), SHORT if request.param == "short" else LONG)


@FUZZ
@given(
    name=st.sampled_from(["run.json", "items", "items.offsets", "items.sums"]),
    damage=st.sampled_from(sorted(DAMAGES)),
    place=st.floats(0, 1, exclude_max=True),
)
def test_no_item_ever_gets_anothers_text(
    whole: Run, tmp_path_factory: pytest.TempPathFactory, name: str, damage: str, place: float
) -> None:
    """Whatever byte of whichever file changes: each batch is what was written, or damaged; `verify` finds it, too."""
    data_dir = tmp_path_factory.mktemp("data")
    folder = data_dir / "runs" / NAME
    shutil.copytree(whole.folder, folder)
    path = folder / name
    if not path.exists():
        return  # a short list has no file of checksums
    before = path.read_bytes()
    path.write_bytes(DAMAGES[damage](before, int(place * len(before))))
    changed = path.read_bytes() != before

    try:
        manifest, batches = read_all(data_dir)
    except RunDamaged as error:
        assert_says_what_to_do(error)
        assert name == "run.json"
    else:
        assert manifest == whole.manifest
        assert all(found in (None, text) for found, text in zip(batches, texts_of(whole.folder), strict=True))
        if changed and name != "run.json":
            with pytest.raises(RunDamaged, match=name.replace(".", r"\.")):
                Run.open(data_dir, NAME).check_list()
    path.write_bytes(before)
    assert None not in read_all(data_dir)[1]
    Run.open(data_dir, NAME).check_list()
    shutil.rmtree(data_dir)


@FUZZ
@given(
    name=st.sampled_from(["run.json", "items", "items.offsets"]),
    damage=st.sampled_from(sorted(DAMAGES)),
    place=st.floats(0, 1, exclude_max=True),
)
def test_an_old_list_without_checksums_is_read_and_never_shifted(
    whole: Run, tmp_path_factory: pytest.TempPathFactory, name: str, damage: str, place: float
) -> None:
    """Runs of earlier versions go on. A changed letter cannot be noticed in them, a changed number of lines is."""
    data_dir = tmp_path_factory.mktemp("data")
    shutil.copytree(whole.folder, data_dir / "runs" / NAME)
    old = make_old(Run.open(data_dir, NAME))
    texts = read_all(data_dir)[1]
    assert None not in texts
    old.check_list()
    path = old.folder / name
    before = path.read_bytes()
    path.write_bytes(DAMAGES[damage](before, int(place * len(before))))

    try:
        _, batches = read_all(data_dir)
        Run.open(data_dir, NAME).check_list()
    except RunDamaged as error:
        assert_says_what_to_do(error)
    else:
        if name != "run.json":
            # What is not noticed has changed characters in place: every item has its own line still.
            assert all(len(found or text) == len(text) for found, text in zip(batches, texts, strict=True) if text)
    shutil.rmtree(data_dir)


def test_no_byte_of_a_manifest_changes_unnoticed(tmp_path: Path) -> None:
    """One bit of each of its bytes: it says the same as before, or it is damaged."""
    run = write_run(tmp_path, SHORT)
    path = run.folder / "run.json"
    whole = path.read_bytes()
    same = 0
    for at in range(len(whole)):
        path.write_bytes(DAMAGES["bit"](whole, at))
        try:
            assert Run.open(tmp_path, NAME).manifest == run.manifest
            same += 1
        except RunDamaged:
            pass
    assert same < 20
    for other in (b'"checksum"', b'"list_sums"'):
        path.write_bytes(whole.replace(other, b'"another"', 1))
        with pytest.raises(RunDamaged, match="its checksum"):
            Run.open(tmp_path, NAME)


@pytest.mark.parametrize("old", [False, True], ids=["with checksums", "without"])
def test_a_blank_that_becomes_a_lines_end_is_noticed(tmp_path: Path, old: bool) -> None:
    """It gave every later item of the batch its neighbour's text, and `verify` said OK."""
    run = write_run(tmp_path, SHORT)
    if old:
        run = make_old(run)
    path = run.folder / "items"
    data = path.read_bytes()
    path.write_bytes(data[:400].replace(b" ", b"\n", 1) + data[400:])

    with pytest.raises(RunDamaged, match=r"is not what was written|it should not have"):
        run.read(run.manifest.batch(0))
    with pytest.raises(RunDamaged, match="items"):
        run.check_list()


def test_only_the_batches_of_a_damaged_page_are_refused(tmp_path: Path) -> None:
    """All others are what was submitted, and may be done."""
    run = write_run(tmp_path, LONG)
    path = run.folder / "items"
    data = bytearray(path.read_bytes())
    data[200_000] ^= 1
    path.write_bytes(data)

    batches = read_all(tmp_path)[1]

    refused = [number for number, texts in enumerate(batches) if texts is None]
    assert 0 < len(refused) <= 3
    assert refused == list(range(refused[0], refused[-1] + 1))


def test_another_runs_list_is_not_taken_for_its_own(tmp_path: Path) -> None:
    """Files that were swapped are whole, and still not those that the manifest speaks of."""
    run = write_run(tmp_path, LONG)
    other = write_run(tmp_path, [text.upper() for text in LONG], "20260101-000001-abcdef")
    for name in ("items", "items.offsets", "items.sums"):
        shutil.copyfile(other.folder / name, run.folder / name)

    with pytest.raises(RunDamaged, match=r"items\.sums is not what was written"):
        run.read(run.manifest.batch(0))
    shutil.copyfile(other.folder / "run.json", run.folder / "run.json")
    with pytest.raises(RunDamaged, match="is that of another run"):
        Run.open(tmp_path, NAME)


# --- manifests that are something else ---

WRONG: dict[str, list[Any]] = {
    "run": [1, None, [], "20260101-000000-other", "../x"],
    "task": [1, None, "", [], "\ud800"],
    "options": [[1, 2], "text", None, 3],
    "output": ["", "/etc/passwd", "../o", "a/../../o", "runs/o", ".sheaf/o", "sessions/x/o", "a\0b", 7, None, [1]],
    "items": [-1, 1.5, "40", None, True, 2**63, []],
    "batch_size": [0, -7, 1.5, "7", None, True, 2**40],
    "fingerprint": [1, None],
    "created": [1, None],
    "source": [1, None],
    "item_timeout_s": [0, -1, "1", [], True, float("nan"), float("inf"), 1e300],
    "attempts": [0, -1, 1.5, "3", None, 2**70],
    "memory_mb": [-1, 1.5, "3", None, 2**70],
    "files": [[], "text", {"t.py": 1}, {"t.py": None}],
    "rejected": [-1, "1", None],
    "duplicates": [-1, "1", None],
    "numbers": [[], [1, 2], [1, 2, 0], [1, 2, "3"], "range", 3, [0, 99, 1], [0, 100, 1.5]],
    "session": [1, [], "session-1"],
    "durable": [0, 1, None, "true"],
    "version": [99, "1", None, -1, []],
}


@pytest.mark.parametrize("name", WRONG)
def test_a_field_of_a_wrong_kind_is_named(tmp_path: Path, name: str) -> None:
    """Even in a manifest of an earlier version, which has no checksum to tell."""
    run = make_old(write_run(tmp_path, SHORT))
    path = run.folder / "run.json"
    values = json.loads(path.read_text())
    for wrong in WRONG[name]:
        path.write_text(json.dumps(values | {name: wrong}))
        with pytest.raises(RunDamaged) as caught:
            Run.open(tmp_path, NAME)
        assert_says_what_to_do(caught.value)
        assert any(word in str(caught.value) for word in (name, "another run", "newer Sheaf"))
    known = {field.name for kind in (Manifest, TaskSpec) for field in dataclasses.fields(kind)}
    assert set(WRONG) == known - {"spec", "list_bytes", "list_sums"}
    for missing in ("run", "task", "options", "output", "items", "batch_size", "fingerprint", "created"):
        path.write_text(json.dumps({key: value for key, value in values.items() if key != missing}))
        with pytest.raises(RunDamaged, match=f"has no field '{missing}'"):
            Run.open(tmp_path, NAME)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"null",
        b"7",
        b'"text"',
        b"{",
        b"{}",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"items": ' + b"9" * 5000 + b"}",
    ],
    ids=["empty", "list", "null", "number", "text", "cut", "nothing", "bytes", "deep", "huge"],
)
def test_what_is_no_manifest_is_said_to_be_none(tmp_path: Path, content: bytes) -> None:
    run = write_run(tmp_path, SHORT)
    (run.folder / "run.json").write_bytes(content)

    with pytest.raises(RunDamaged) as caught:
        Run.open(tmp_path, NAME)

    assert_says_what_to_do(caught.value)
    assert str(run.folder / "run.json") in str(caught.value)


# --- other things in a file's place ---


def as_folder(path: Path) -> None:
    path.mkdir()


def as_fifo(path: Path) -> None:
    os.mkfifo(path)


def as_circle(path: Path) -> None:
    path.symlink_to(path.name)


def as_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def as_hole(path: Path) -> None:
    with open(path, "wb") as stream:
        stream.truncate(1 << 40)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("kind", [as_folder, as_fifo, as_circle, as_device, as_hole])
@pytest.mark.parametrize("name", ["run.json", "items", "items.offsets", "items.sums", "versions.jsonl", "moved"])
def test_another_kind_of_thing_in_a_files_place_is_not_waited_for(
    tmp_path: Path, name: str, kind: Callable[[Path], None]
) -> None:
    """A fifo without a writer hung the reconciler and `status`."""
    run = write_run(tmp_path, LONG)
    path = run.folder / name
    path.unlink(missing_ok=True)
    kind(path)

    with pytest.raises(RunDamaged) as caught:
        opened = Run.open(tmp_path, NAME)
        versions.files_in_force(opened)
        opened.read(opened.manifest.batch(0))

    assert_says_what_to_do(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.EPERM, errno.EMFILE])
@pytest.mark.parametrize("name", ["run.json", "items", "items.offsets", "items.sums", "finished", "cancelled"])
def test_a_file_that_cannot_be_read_sets_its_run_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, number: int
) -> None:
    """No right, or a disk that fails: said by the file's name; when it can be read again, all is as before."""
    run = write_run(tmp_path, LONG)

    def failing(call: Callable[..., Any]) -> Callable[..., Any]:
        def fail(path: Any, *arguments: Any, **named: Any) -> Any:
            if str(path).endswith(f"/{name}"):
                raise OSError(number, os.strerror(number), str(path))
            return call(path, *arguments, **named)

        return fail

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", failing(os.open))
        patched.setattr(os, "lstat", failing(os.lstat))
        with pytest.raises(RunDamaged, match=os.strerror(number)) as caught:
            opened = Run.open(tmp_path, NAME)
            _ = opened.finished, opened.cancelled
            opened.read(opened.manifest.batch(0))
        if name == "finished":
            with pytest.raises(RunDamaged):
                is_finished(tmp_path, NAME)
    assert_says_what_to_do(caught.value)
    assert read_all(tmp_path)[0] == run.manifest


@pytest.mark.parametrize(
    "line",
    [b"[]", b"{}", b"\xff", b'{"files": {"a": 1}, "since": ""}', b'{"files": {}}', b'{"files": [], "since": ""}', b"{"],
)
def test_a_line_that_is_no_version_sets_the_run_aside(tmp_path: Path, line: bytes) -> None:
    """It is read for each batch, by the worker's main thread too."""
    run = write_run(tmp_path, SHORT)
    (run.folder / "versions.jsonl").write_bytes(line + b"\n")

    for look in (versions.files_in_force, versions.versions):
        with pytest.raises(RunDamaged, match=r"versions\.jsonl"):
            look(run)


def test_a_place_that_was_changed_is_not_written_to(tmp_path: Path) -> None:
    """The note of where an output went is trusted no more than the manifest."""
    run = write_run(tmp_path, SHORT)
    run.move_output("o.jsonl.replaced-1/o.jsonl")
    path = run.folder / "moved"
    assert Run.open(tmp_path, NAME).manifest.output == "o.jsonl.replaced-1/o.jsonl"
    whole = path.read_bytes()
    for content in (b"", b"p.jsonl\n", whole.replace(b"o.", b"p."), whole[:-1], b"../x\n" + whole, b"\xff"):
        path.write_bytes(content)
        with pytest.raises(RunDamaged, match="moved"):
            Run.open(tmp_path, NAME)


# --- strangers ---


def test_strangers_among_runs_and_sessions_are_passed_over(tmp_path: Path) -> None:
    """A folder of another name, a file, a fifo, a circle of links: the runs beside them are found as before."""
    run = write_run(tmp_path, SHORT)
    runs, sessions = tmp_path / "runs", tmp_path / "sessions"
    for name in ("a b", "x_y", "-", "ä", "a\nb", "..x"):
        (runs / name).mkdir()
    (runs / "file").write_text("")
    os.mkfifo(runs / "fifo")
    (runs / "circle").symlink_to("circle")
    (runs / "empty").mkdir()
    folder, owner = create_session(tmp_path, "session-1")
    (folder / "runs" / "3").mkdir()
    for path in (
        folder / "runs" / "abc",
        folder / "runs" / "007",
        sessions / "x" / "runs" / "abc",
        sessions / "x" / "9",
    ):
        path.mkdir(parents=True)
    (sessions / "session-2").write_text("")
    (sessions / "session-3").symlink_to("session-3")
    (sessions / "session-4" / "owner").mkdir(parents=True)
    (sessions / "session-5").mkdir()
    os.mkfifo(sessions / "session-5" / "runs")

    assert list_runs(tmp_path) == [run.manifest.run, "empty"]
    assert [path.name for path in list_strangers(tmp_path)] == sorted(
        ["a b", "x_y", "-", "ä", "a\nb", "file", "fifo", "circle"]
    )
    with pytest.raises(RunDamaged, match="is gone"):
        Run.open(tmp_path, "empty")
    with pytest.raises(RunNotFound) as caught:
        Run.open(tmp_path, "nothing")
    assert not isinstance(caught.value, RunDamaged)
    assert list_segments(tmp_path) == ["session-1-3"]
    # The next program's start sweeps what killed ones left, past all of that.
    other, its_owner = create_session(tmp_path, "session-6")
    for path, descriptor in ((folder, owner), (other, its_owner)):
        remove_session(path)
        os.close(descriptor)
    assert (sessions / "session-4" / "owner").is_dir()


# --- verify ---


def test_verify_covers_list_offsets_and_manifest(tmp_path: Path) -> None:
    """A finished output whose run's files are not what was written is not called right; another one's are a note."""
    run = write_run(tmp_path, LONG)
    other = write_run(tmp_path, SHORT, "20260101-000001-abcdef", "p.jsonl")
    for each in (run, other):
        output = Output.create(tmp_path / each.manifest.output)
        output.register_run(each.manifest.run, each.manifest.items, BATCH)
        done = [Done(index, b"{}\n") for index in range(each.manifest.items)]
        output.commit({each.manifest.run: done}, worker="w", token=1)
        output.close()
    assert verify(tmp_path, "o.jsonl").ok
    for name in ("run.json", "items", "items.offsets", "items.sums"):
        path = run.folder / name
        whole = path.read_bytes()
        path.write_bytes(whole[:70] + bytes([whole[70] ^ 4]) + whole[71:])
        # By the catalog it would be known whose run it is.
        assert verify(tmp_path, "p.jsonl").notes == []
        (tmp_path / "runs" / ".catalog").unlink()

        report = verify(tmp_path, "o.jsonl")
        beside = verify(tmp_path, "p.jsonl")

        assert not report.ok
        assert [str(path) in problem for problem in report.problems] == [True]
        assert beside.ok
        assert len(beside.notes) == (name == "run.json")
        path.write_bytes(whole)
        assert verify(tmp_path, "o.jsonl").ok
