"""Check an output, its index and its runs' manifests against each other.

The index is read at one moment, the file after that, up to the length that was committed then; so an output that is
being written to can be verified too. Memory: two bits per item of one run, and a page of commits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from sheaf.core.bitmap import Bitmap
from sheaf.core.errors import FenceTimeout, OutputMissing, RunNotFound
from sheaf.core.files import exists
from sheaf.output.commit.data_file import checksum_of, edges_of
from sheaf.output.index import errors as disk_errors
from sheaf.output.index.database import Index
from sheaf.output.index.derived import Derived, differences
from sheaf.output.index.reader import IndexReader
from sheaf.output.index.rows import CommitRow, RunRow, State
from sheaf.run.catalog import runs_of
from sheaf.run.run import Run

#: Seconds to wait for a writer that may be about to commit the bytes beyond the committed length.
_WRITER_WAIT_S = 2.0
#: Commits read at once; each may be some 10,000 bytes.
_PAGE_ROWS = 100


@dataclass(slots=True)
class RunReport:
    """What was found of one run."""

    run: str
    items: int = 0
    done: int = 0
    failed: int = 0
    missing: int = 0
    #: Items that are in the output more than once, or in the output and among the failures.
    duplicate: int = 0


@dataclass(slots=True)
class Report:
    """What was found. `ok`: every item is in the output once, and whole, or failed for a reason."""

    output: Path
    runs: list[RunReport] = field(default_factory=list)
    #: Records whose bytes are not those that were committed.
    torn: int = 0
    commits: int = 0
    #: Bytes committed, and bytes beyond them that no writer is about to commit.
    length: int = 0
    stray_bytes: int = 0
    #: What is wrong, for a person; missing items are not among it, a run may still be going on.
    problems: list[str] = field(default_factory=list)
    #: How many of these are about files of runs, and not about the output.
    damaged_runs: int = 0
    #: What a person should know besides, though this output is right.
    notes: list[str] = field(default_factory=list)

    @property
    def items(self) -> int:
        return sum(run.items for run in self.runs)

    @property
    def done(self) -> int:
        return sum(run.done for run in self.runs)

    @property
    def failed(self) -> int:
        return sum(run.failed for run in self.runs)

    @property
    def missing(self) -> int:
        return sum(run.missing for run in self.runs)

    @property
    def duplicate(self) -> int:
        return sum(run.duplicate for run in self.runs)

    @property
    def ok(self) -> bool:
        return not self.problems and self.missing == 0


def verify(data_dir: Path, path: str | Path, run: str | None = None) -> Report:
    """Check the output at that path (inside the data folder, or absolute), or one run's part of it.

    Raises IndexMissing, IndexForeign or OutputMissing if there is nothing to check; all else is in the report.
    """
    output = data_dir / path
    index = Index(output, _WRITER_WAIT_S)
    try:
        return _Verifier(data_dir, index, Report(output), run).verify()
    finally:
        index.drop()


class _Verifier:
    def __init__(self, data_dir: Path, index: Index, report: Report, run: str | None) -> None:
        self._data_dir = data_dir
        self._index = index
        self._report = report
        self._run = run
        self._manifests: dict[str, int] = {}
        self._state: State
        #: Runs that cannot be opened, and why.
        self._damaged: dict[str, str] = {}

    def verify(self) -> Report:
        self._index.connect()
        if not exists(self._index.output):
            raise OutputMissing(f"{self._index.output} is gone, but its index is there; bring the file back")
        self._read_manifests()
        with self._index.reading() as index:
            if why := index.damage():
                raise disk_errors.index_damaged(self._index.path, why)
            self._state = index.state()
            self._report.length = self._state.length
            if self._state.output != self._index.output.name:
                self._problem(f"its index is that of {self._state.output!r}: give both files their old names back")
            last = index.last_commit()
            self._check_order(index)
            known = self._check_runs(index)
        self._check_manifests(known)
        with open(self._index.output, "rb") as source:
            for commit in self._commits(last):
                if self._run is None or commit.run == known.get(self._run):
                    self._check_bytes(source, commit)
            self._check_edges(source)
        self._check_end()
        return self._report

    def _read_manifests(self) -> None:
        wanted = self._index.output.resolve()
        for name in runs_of(self._data_dir, self._index.output):
            try:
                run = Run.open(self._data_dir, name)
            except RunNotFound as error:
                self._damaged[name] = str(error)
                continue
            if (self._data_dir / run.manifest.output).resolve() == wanted:
                self._manifests[name] = run.manifest.items
                if self._run in (None, name):
                    self._check_list(run)

    def _check_list(self, run: Run) -> None:
        """The run's list is the one that was submitted."""
        try:
            run.check_list()
        except RunNotFound as error:
            self._problem_of_run(str(error))

    def _problem_of_run(self, text: str) -> None:
        self._report.damaged_runs += 1
        self._problem(text)

    def _problem(self, text: str) -> None:
        self._report.problems.append(text)

    def _check_order(self, index: IndexReader) -> None:
        """The commits follow each other without a gap, from the file's first byte to L."""
        end = 0
        for commit in index.commits():
            if commit.offset != end:
                self._problem(f"commit {commit.id} begins at byte {commit.offset}, but the one before it ends at {end}")
            end = commit.offset + commit.length
        if end != self._report.length:
            self._problem(f"the commits end at byte {end}, but {self._report.length} bytes are noted as committed")

    def _check_runs(self, index: IndexReader) -> dict[str, int]:
        runs = index.runs()
        for run in runs:
            if self._run is None or run.run == self._run:
                self._check_run(index, run)
        return {run.run: run.id for run in runs}

    def _check_run(self, index: IndexReader, row: RunRow) -> None:
        run = row.run
        if row.items < 0 or row.batch_size < 1:
            self._problem(f"run {run} is noted with {row.items} items in batches of {row.batch_size}")
            return
        report = RunReport(run, row.items)
        self._report.runs.append(report)
        derived, settled = Derived(row.size), Bitmap(row.items)
        for commit in index.all_commits_of(row.id):
            report.done += commit.items
            derived.bytes += commit.length
            try:
                items, _ = commit.records()
            except ValueError as error:
                self._problem(f"run {run}: {error}")
                items = commit.claimed_items()
            else:
                derived.bytes -= commit.length
                derived.add_commit(commit, items)
            for first, end in items:
                report.duplicate += settled.add(first, end)
        derived.done = report.done
        for item in index.failed_items(row.id):
            report.duplicate += settled.add(item, item + 1)
            report.failed += 1
            derived.add_failure(item)
        report.missing = row.items - settled.count()
        if report.duplicate:
            self._problem(f"run {run}: {report.duplicate} items are in the output twice, or both done and failed")
        if settled.outside:
            self._problem(f"run {run}: {settled.outside} settled items are none of its {row.items}")
        for difference in differences(index, row, derived):
            self._problem(f"run {run}: {difference}")

    def _check_manifests(self, known: dict[str, int]) -> None:
        """A run that the index does not know, or knows with another number of items, is not all there."""
        for name, why in self._damaged.items():
            if self._run not in (None, name):
                continue
            if name in known or name == self._run:
                self._problem_of_run(why)
            else:
                # Its output's index would know it, had it ever begun.
                self._report.notes.append(why)
        reports = {report.run: report for report in self._report.runs}
        for name, manifest_items in self._manifests.items():
            report = reports.get(name)
            if report is not None and report.items != manifest_items:
                self._problem(f"run {name} has {manifest_items} items, but the index knows it with {report.items}")
            elif name not in known and self._run in (None, name):
                self._report.runs.append(RunReport(name, manifest_items, missing=manifest_items))
        if self._run is not None and self._run not in known and self._run not in self._manifests | self._damaged:
            self._problem(f"neither the index nor the data folder knows a run {self._run} of this output")

    def _commits(self, last: int) -> Iterator[CommitRow]:
        after = 0
        while True:
            with self._index.reading() as index:
                page = list(index.commits(after, last, _PAGE_ROWS))
            yield from page
            if len(page) < _PAGE_ROWS:
                return
            after = page[-1].id

    def _check_bytes(self, source: BinaryIO, commit: CommitRow) -> None:
        """The commit's bytes are the ones that were written."""
        self._report.commits += 1
        checksum, left = checksum_of(source, commit.offset, commit.length)
        if left or checksum != commit.checksum:
            self._report.torn += max(1, commit.items)
            why = f"{left} of its bytes are gone" if left else "its bytes are not those that were written"
            self._problem(f"commit {commit.id} ({commit.items} records at byte {commit.offset}) is damaged: {why}")

    def _check_edges(self, source: BinaryIO) -> None:
        """The output is recognised by its first and last bytes: noted wrongly, a whole one would be refused."""
        edges = edges_of(source, self._report.length)
        if self._report.torn == 0 and edges != (self._state.head, self._state.tail):
            self._problem("its first or last bytes are not those by which the index knows it, so no commit is taken")

    def _check_end(self) -> None:
        """Bytes beyond L that no writer is about to commit are a problem."""
        if self._index.output.stat().st_size <= self._report.length:
            return
        try:
            index = self._index.begin()
        except FenceTimeout:
            return  # a writer is at work
        try:
            length, size = index.state().length, self._index.output.stat().st_size
        finally:
            self._index.roll_back()
        self._report.stray_bytes = max(0, size - length)
        if self._report.stray_bytes:
            self._report.torn += 1
            self._problem(
                f"{self._report.stray_bytes} bytes are beyond the last commit, left by a writer that died, or written "
                "by another program; the next commit cuts them, or moves them aside if they are not ours"
            )
