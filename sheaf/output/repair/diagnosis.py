"""What of an output is whole, what of it is lost, and what its index notes wrongly: what a repair goes by."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from sheaf.core.bitmap import Bitmap
from sheaf.core.errors import IndexForeign, OutputReplaced, RunNotFound
from sheaf.core.ranges import Range
from sheaf.output.commit.data_file import checksum_of, edges_of
from sheaf.output.index import errors as disk_errors
from sheaf.output.index.database import Index
from sheaf.output.index.derived import Derived, differences
from sheaf.output.index.reader import IndexReader
from sheaf.output.index.rows import CommitRow, RunRow, Size, State
from sheaf.output.index.writer import IndexWriter
from sheaf.run.run import Run

#: Seconds to wait for a commit that is being made.
_FENCE_WAIT_S = 5.0


@dataclass(frozen=True, slots=True)
class CheckedCommit:
    """A commit, and what was found of it."""

    row: CommitRow
    #: The run's name; None for the header.
    run: str | None
    #: Why its row cannot be believed; None: it can.
    broken: str | None = None
    #: The file that holds its bytes, if that is one which was put aside.
    source: Path | None = None


@dataclass(slots=True)
class Diagnosis:
    """What was found, and what a repair does about it."""

    output: Path
    #: Bytes committed, and bytes that the file has; None: it is gone.
    length: int = 0
    size: int | None = None
    kept: list[CheckedCommit] = field(default_factory=list)
    lost: list[CheckedCommit] = field(default_factory=list)
    #: The lost header is known to the index and can be written again.
    header: bytes = b""
    #: Runs with lost items whose lists are gone, too: those cannot be done again.
    orphans: list[str] = field(default_factory=list)
    #: What earlier repairs, and commits, have put aside.
    strays: list[Path] = field(default_factory=list)
    #: What the index notes wrongly beside that, and a repair mends: run (None: the output itself) -> what.
    mends: list[tuple[str | None, str]] = field(default_factory=list)
    #: Where the repair has put what it took out of the output.
    aside: Path | None = None

    @property
    def reopened(self) -> Counter[str]:
        """Run -> items that have to be done again."""
        counter: Counter[str] = Counter()
        for commit in self.lost:
            if commit.run is not None:
                counter[commit.run] += commit.row.items
        return counter

    @property
    def new_length(self) -> int:
        return sum(commit.row.length for commit in self.kept)

    @property
    def needed(self) -> bool:
        return bool(self.lost or self.header or self.mends or self.from_aside)

    @property
    def beyond(self) -> int:
        """Bytes beyond the last commit, when no repair has moved or cut the file."""
        return 0 if self.size is None or self.lost or not self.in_place else max(0, self.size - self.length)

    @property
    def from_aside(self) -> bool:
        """Whether commits have to be brought back from files that were put aside."""
        return any(commit.source for commit in self.kept)

    @property
    def in_place(self) -> bool:
        """Whether the file needs only to be cut: all that is lost is at its end."""
        if self.header or self.from_aside:
            return False
        return not self.kept or not self.lost or self.kept[-1].row.id < self.lost[0].row.id


def diagnose(data_dir: Path, inside: str) -> Diagnosis:
    """Look only. Others may write meanwhile. Raises IndexMissing, IndexForeign, OutputReplaced."""
    index = Index(data_dir / inside, _FENCE_WAIT_S)
    try:
        with index.reading() as reader:
            if reader.damage() is None:
                return diagnose_inside(data_dir, index.output, reader)
        writer = index.begin()
        with index.translated(), disk_errors.making_sense(index.path):
            reindexed = rebuild_lookups(data_dir, index, writer)
            return diagnose_inside(data_dir, index.output, writer, reindexed=reindexed)
    finally:
        index.roll_back()
        index.drop()


def rebuild_lookups(data_dir: Path, index: Index, writer: IndexWriter) -> bool:
    """Raise IndexForeign for a damaged index: what it says about the output cannot be the measure of a repair.

    Returns whether SQLite's own indexes, which follow from its tables, had to be made anew; the repair commits that.
    """
    if not (why := writer.damage()):
        return False
    if "index" in why:
        # Read by the lookup that is to be made anew, which holds the runs' names as well as their table does.
        names = writer.raw_names()
        writer.rebuild_lookups()
        _restore_names(data_dir, writer, names)
        if writer.damage() is None:
            return True
    raise disk_errors.index_damaged(index.path, why)


def _restore_names(data_dir: Path, writer: IndexWriter, names: list[tuple[int, bytes]]) -> None:
    """Of two names for a run, take the one of which there is a run."""
    for key, name in writer.raw_names():
        other = next((other for found, other in names if found == key), name).decode(errors="replace")
        if open_run(data_dir, name.decode(errors="replace")) is None and open_run(data_dir, other) is not None:
            writer.rename_run(key, other)


def _commits(data_dir: Path, index: IndexReader) -> list[CheckedCommit]:
    """All commits, each with what keeps it from being believed: it contradicts itself, or an item is taken."""
    runs = {run.id: run for run in index.runs()}
    taken = {run.id: Bitmap(size_of(data_dir, run).items) for run in runs.values()}
    commits = []
    for row in index.commits():
        broken = None
        try:
            items, _ = row.records()
            if row.run is not None and _is_taken(items, taken.get(row.run)):
                broken = "its items are in the output already, or the run has none of these"
        except ValueError as error:
            broken = str(error)
        name = None
        if row.run is not None:
            name = runs[row.run].run if row.run in runs else f"number {row.run}"
        commits.append(CheckedCommit(row, name, broken))
    return commits


def _is_taken(items: list[Range], taken: Bitmap | None) -> bool:
    if taken is None or items[-1][1] > taken.size:
        return True
    return sum(taken.add(first, end) for first, end in items) > 0


def size_of(data_dir: Path, row: RunRow) -> Size:
    """How a run is cut into batches: as its manifest says, which never changes; else as the index does."""
    run = open_run(data_dir, row.run)
    return row.size if run is None else Size(run.manifest.items, run.manifest.batch_size)


def diagnose_inside(data_dir: Path, output: Path, index: IndexReader, *, reindexed: bool = False) -> Diagnosis:
    """Look at the output and its index within a transaction."""
    state, commits = index.state(), _commits(data_dir, index)
    found = Diagnosis(output, length=state.length, strays=list_strays(output))
    if reindexed:
        found.mends.append((None, "what SQLite looks up its rows by does not agree with them"))
    end = 0
    for commit in commits:
        if commit.row.offset != end:
            end = -1
            break
        end += commit.row.length
    if end != state.length or state.output != output.name:
        raise IndexForeign(
            f"{output.name}.index contradicts itself, or belongs to {state.output}: it cannot tell which part of the "
            "file is whole. Bring the index back from a copy; or move it away and repair again, if the output is .jsonl"
        )
    with ExitStack() as files:
        source = _open_output(output, found)
        asides = [files.enter_context(file) for file in _open_asides(found.strays)]
        if source is not None:
            files.enter_context(source)
        for commit in commits:
            kept = None if commit.broken else _find_whole(commit, source, asides)
            (found.lost if kept is None else found.kept).append(kept or commit)
        _save_header(found, state)
        whole = source is not None and not (found.lost or found.header or found.from_aside)
        if source is not None and whole and edges_of(source, state.length) != (state.head, state.tail):
            found.mends.append((None, "the bytes by which the output is recognised are noted wrongly"))
    found.orphans = [run for run in found.reopened if open_run(data_dir, run) is None]
    _find_mends(data_dir, index, found)
    return found


def _open_output(output: Path, found: Diagnosis) -> BinaryIO | None:
    try:
        source = open(output, "rb")  # noqa: SIM115  closed by the caller
    except FileNotFoundError:
        return None
    except IsADirectoryError as error:
        raise OutputReplaced(f"{output} is a folder now; move it away") from error
    status = os.fstat(source.fileno())
    if not stat.S_ISREG(status.st_mode):
        source.close()
        raise OutputReplaced(f"{output} is not a regular file; move away what is there")
    found.size = status.st_size
    return source


def _open_asides(strays: list[Path]) -> Iterator[BinaryIO]:
    """The files that repairs have put aside: one that was killed has left the output as it was in the last of them."""
    for path in reversed(strays):
        if ".damaged-" in path.name:
            with suppress(OSError):
                yield open(path, "rb", opener=_open_no_link)  # noqa: SIM115  closed by the caller


def _open_no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _find_whole(commit: CheckedCommit, source: BinaryIO | None, asides: list[BinaryIO]) -> CheckedCommit | None:
    """The commit with where it is whole; None if it is so nowhere."""
    if source is not None and _is_whole(commit, source):
        return commit
    return next((replace(commit, source=Path(file.name)) for file in asides if _is_whole(commit, file)), None)


def _is_whole(commit: CheckedCommit, source: BinaryIO) -> bool:
    row = commit.row
    return checksum_of(source, row.offset, row.length) == (row.checksum, 0)


def _find_mends(data_dir: Path, index: IndexReader, found: Diagnosis) -> None:
    """Find what the index notes beside the commits and failures, and does not follow from them."""
    gone = {commit.row.id for commit in found.lost if commit.broken}
    for run in index.runs():
        size = size_of(data_dir, run)
        if run.size != size:
            noted = f"noted with {run.items} items in batches of {run.batch_size}"
            found.mends.append((run.run, f"{noted}, but has {size.items} in {size.batch_size}"))
        derived, done = Derived(size), Bitmap(size.items)
        for commit in index.all_commits_of(run.id):
            if commit.id not in gone:
                items, _ = commit.records()
                derived.add_commit(commit, items)
                for first, end in items:
                    done.add(first, end)
        failed = list(index.failed_items(run.id))
        wrong = [item for item in failed if not _is_open(item, done)]
        if wrong:
            found.mends.append(
                (run.run, f"{len(wrong)} failures of items that are in the output, or that it does not have")
            )
        for item in set(failed) - set(wrong):
            derived.add_failure(item)
        found.mends += [(run.run, text) for text in differences(index, run, derived)]


def _is_open(item: object, done: Bitmap) -> bool:
    return isinstance(item, int) and 0 <= item < done.size and not done.add(item, item + 1)


def _save_header(found: Diagnosis, state: State) -> None:
    """A damaged header before whole records is written anew, not lost."""
    if found.kept and found.lost and found.lost[0].run is None and len(state.header) == found.lost[0].row.length:
        found.header = state.header
        found.kept.insert(0, found.lost.pop(0))


def open_run(data_dir: Path, run: str) -> Run | None:
    try:
        return Run.open(data_dir, run)
    except RunNotFound:
        return None


def list_strays(output: Path) -> list[Path]:
    """What was moved aside beside an output, by commits and by repairs."""
    names = (f"{output.name}.stray-", f"{output.name}.damaged-")
    with suppress(FileNotFoundError):
        return sorted(path for path in output.parent.iterdir() if path.name.startswith(names))
    return []
