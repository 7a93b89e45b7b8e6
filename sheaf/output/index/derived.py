"""What an index holds twice: batches' rows and runs' counters follow from the commits and the failures.

Verify compares both; a repair writes them anew from what they follow from.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from sheaf.core.bitmap import Bitmap
from sheaf.core.ranges import Range, pack, to_masks
from sheaf.output.index import settled as settled_column
from sheaf.output.index.reader import IndexReader
from sheaf.output.index.rows import BatchRow, CommitRow, RunRow, Size
from sheaf.output.index.writer import IndexWriter


@dataclass(slots=True)
class Derived:
    """What follows for one run."""

    size: Size
    done: int = 0
    failed: int = 0
    bytes: int = 0
    #: By batch: the bits of its settled items, and the commits that hold its records.
    settled: dict[int, int] = field(default_factory=dict)
    commits: dict[int, list[int]] = field(default_factory=dict)

    def add_commit(self, commit: CommitRow, items: Iterable[Range]) -> None:
        self.done += commit.items
        self.bytes += commit.length
        for number, mask in to_masks(items, self.size.batch_size).items():
            self.settled[number] = self.settled.get(number, 0) | mask
            self.commits.setdefault(number, []).append(commit.id)

    def add_failure(self, item: int) -> None:
        self.failed += 1
        number, offset = divmod(item, self.size.batch_size)
        self.settled[number] = self.settled.get(number, 0) | 1 << offset

    def is_complete(self, number: int) -> bool:
        return self.settled.get(number, 0).bit_count() == self.size.batch_items(number)

    @property
    def complete_below(self) -> int:
        number = 0
        while number * self.size.batch_size < self.size.items and self.is_complete(number):
            number += 1
        return number

    def batch_rows(self, run_id: int) -> Iterator[BatchRow]:
        for number, settled in sorted(self.settled.items()):
            commits = pack(self.commits.get(number, []))
            yield BatchRow(run_id, number, *settled_column.encode(settled, self.size.batch_items(number)), commits)


def derive(index: IndexReader, run_id: int, size: Size) -> Derived:
    """Work it out for one run, from rows that can be believed: those of a repair."""
    derived = Derived(size)
    for commit in index.all_commits_of(run_id):
        derived.add_commit(commit, commit.records()[0])
    for item in index.failed_items(run_id):
        derived.add_failure(item)
    return derived


def differences(index: IndexReader, run: RunRow, derived: Derived) -> list[str]:
    """Say where the run's row and its batches' differ from that. Raises what damaged rows raise."""
    found = []
    noted = (run.done, run.failed, run.bytes)
    if noted != (derived.done, derived.failed, derived.bytes):
        found.append(
            f"{derived.done} done, {derived.failed} failed, {derived.bytes} bytes, but the index counted {noted}"
        )
    if not 0 <= run.complete_below <= derived.complete_below:
        found.append(
            f"all batches below {run.complete_below} are noted as complete, but {derived.complete_below} is not"
        )
    wrong, seen = 0, 0
    for batch in index.batches_of(run.id):
        wrong += not _is_noted(derived, batch)
        seen += derived.settled.get(batch.number, 0).bit_count()
    if wrong:
        found.append(f"{wrong} batches are noted with other items settled than were committed, or with other commits")
    total = sum(bits.bit_count() for bits in derived.settled.values())
    if seen != total:
        found.append(f"{total - seen} settled items are in no batch's row")
    return found


def _is_noted(derived: Derived, batch: BatchRow) -> bool:
    settled = derived.settled.get(batch.number, 0)
    count = derived.size.batch_items(batch.number)
    try:
        return (
            batch.settled_items(count) == settled
            and batch.left == count - settled.bit_count()
            and sorted(batch.commit_ids()) == sorted(derived.commits.get(batch.number, []))
        )
    except (ValueError, TypeError, OverflowError):
        return False


def write(index: IndexWriter, run_id: int, derived: Derived) -> None:
    """Have the index note it."""
    index.replace_batches(run_id, derived.batch_rows(run_id))
    index.replace_counters(
        run_id,
        derived.size,
        done=derived.done,
        failed=derived.failed,
        length=derived.bytes,
        complete_below=derived.complete_below,
    )


def drop_failures(index: IndexWriter, run_id: int, size: Size, done: Bitmap) -> int:
    """Delete failures of items that are in the output, or that the run does not have; return how many."""
    wrong = [
        number
        for number, item in index.failure_rows(run_id)
        if not isinstance(item, int) or not 0 <= item < size.items or done.add(item, item + 1)
    ]
    index.remove_failure_rows(wrong)
    return len(wrong)
