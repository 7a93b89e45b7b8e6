"""What a commit settles: drops the items that are settled already, and prepares the rest for the append.

prepare() runs before the lock and the fence are taken, plan() while they are held. The work is per batch or per range;
what has to be done per item is done by single calls over a whole list.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter, lt
from typing import NamedTuple

from isal import isal_zlib

from sheaf.core.errors import IndexForeign
from sheaf.core.ranges import Range, pack, place_of, to_masks, to_ranges
from sheaf.output.commit.data_file import Buffer
from sheaf.output.index.reader import IndexReader
from sheaf.output.index.rows import BatchRow, RunRow
from sheaf.run.items import Bundle, Done, Failed, Result, Results, single_results

#: Records shorter than this on average are joined before they are written: copying is cheaper than a buffer each.
_JOIN_BELOW = 4096
#: Records joined into one buffer.
_JOIN_COUNT = 4096
_index_of = itemgetter(0)
_record_of = itemgetter(1)


@dataclass(slots=True)
class Records:
    """Records in the order of their items; the buffers hold them one after the other."""

    ranges: list[Range] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    buffers: list[Buffer] = field(default_factory=list)
    #: What the index keeps of them, once they are sealed: their lengths in few bytes, and the CRC-32 of all of them.
    packed_lengths: bytes | None = None
    checksum: int = 0

    def seal(self) -> None:
        """Work out what the index keeps of them; that takes as long as writing them, so do it before the fence."""
        if self.packed_lengths is None:
            self.packed_lengths = pack(self.lengths)
            for buffer in self.buffers:
                self.checksum = isal_zlib.crc32(buffer, self.checksum)

    @property
    def indexes(self) -> list[int]:
        return [index for first, end in self.ranges for index in range(first, end)]


@dataclass(slots=True)
class RunResults:
    """One run's results as a commit gets them: sorted by index, each index once, the first one of it."""

    run: str
    done: Records
    failed: list[Failed]
    duplicates: int


@dataclass(slots=True)
class RunCommit:
    """What one run contributes to a commit."""

    run: RunRow
    done: Records
    failed: list[Failed]
    #: Results dropped because their items were settled before.
    duplicates: int
    #: Of the touched batches: the rows there are of them, the bits that were set before the commit, and those that it
    #: sets in each: by records, and in all.
    batches: dict[int, BatchRow]
    settled_before: dict[int, int]
    done_masks: dict[int, int]
    masks: dict[int, int]
    #: Bytes of the records.
    length: int = 0

    @property
    def settled(self) -> int:
        return len(self.done.lengths) + len(self.failed)

    @property
    def finishes(self) -> bool:
        """Whether all of the run's items are settled with this commit."""
        return self.run.open == self.settled


def prepare(groups: Mapping[str, Results]) -> list[RunResults]:
    """Do what can be done for a commit of these results, by run, before the lock and the fence are taken."""
    gathered = [gather(run, results) for run, results in groups.items() if results]
    for group in gathered:
        group.done.seal()
    return gathered


def gather(run: str, results: Results) -> RunResults:
    """Sort a run's results by index; of several for one item keep the first."""
    bundles = [result for result in results if isinstance(result, Bundle)]
    failed = [result for result in results if isinstance(result, Failed)]
    if len(bundles) + len(failed) == len(results):
        records = _in_order(bundles)
        if records is not None and _distinct(records, failed):
            return RunResults(run, records, sorted(failed, key=_index_of), 0)
    return _gather_singly(run, results)


class _Span(NamedTuple):
    """Records of consecutive items, one after the other in a buffer."""

    first: int
    end: int
    lengths: Sequence[int]
    records: Buffer


def _in_order(bundles: list[Bundle]) -> Records | None:
    """Sort bundles by their items without a look at each item; None if an item comes twice."""
    spans = sorted((span for bundle in bundles for span in _spans(bundle)), key=_index_of)
    records = Records()
    position = -1
    for first, end, lengths, _ in spans:
        if first < position:
            return None
        position = end
        records.lengths += lengths
    records.ranges = _joined(span[:2] for span in spans)
    records.buffers = _join([span.records for span in spans], sum(records.lengths))
    return records


def _spans(bundle: Bundle) -> Iterator[_Span]:
    indexes, lengths = bundle.indexes, bundle.lengths
    if isinstance(indexes, range):
        yield _Span(indexes.start, indexes.stop, lengths, bundle.records)
        return
    records = memoryview(bundle.records)
    ends = [0, *itertools.accumulate(lengths)]
    # What comes in the order it was finished in is taken one by one.
    ascending = all(map(lt, indexes, indexes[1:]))
    position = 0
    for first, end in to_ranges(indexes) if ascending else ((index, index + 1) for index in indexes):
        stop = position + end - first
        yield _Span(first, end, lengths[position:stop], records[ends[position] : ends[stop]])
        position = stop


def _joined(ranges: Iterable[Range]) -> list[Range]:
    """The same indexes in as few ranges as possible."""
    joined: list[Range] = []
    for first, end in ranges:
        if joined and joined[-1][1] == first:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((first, end))
    return joined


def _distinct(records: Records, failed: list[Failed]) -> bool:
    indexes = {failure.index for failure in failed}
    return len(indexes) == len(failed) and all(place_of(records.ranges, index) is None for index in indexes)


def _gather_singly(run: str, results: Results) -> RunResults:
    """The same, item by item, for whatever order and repetition they come in."""
    ordered = sorted(single_results(results), key=_index_of)
    first: dict[int, Result] = {}
    for result in ordered:
        first.setdefault(result[0], result)
    done = [result for result in first.values() if isinstance(result, Done)]
    failed = [result for result in first.values() if isinstance(result, Failed)]
    return RunResults(run, _records_of(done), failed, len(ordered) - len(first))


def _records_of(done: Sequence[tuple[int, Buffer]]) -> Records:
    """`done`: index and record of each item, ascending."""
    records = list(map(_record_of, done))
    lengths = list(map(len, records))
    return Records(to_ranges(list(map(_index_of, done))), lengths, _join(records, sum(lengths)))


def plan(index: IndexReader, group: RunResults) -> RunCommit:
    """Drop what is settled already, under the fence, and prepare the rest. Changes nothing."""
    run = index.run(group.run)
    done, failed = group.done, group.failed
    _check_indexes(run, done, failed)
    done_masks, failed_masks = _masks_of(run, done, failed)
    batches, settled = _read_batches(index, run, {*done_masks, *failed_masks})
    given = len(done.lengths) + len(failed)
    if any(settled[number] & mask for masks in (done_masks, failed_masks) for number, mask in masks.items()):
        done, failed = _without(run, settled, done, failed)
        done_masks, failed_masks = _masks_of(run, done, failed)
    masks = {
        number: done_masks.get(number, 0) | failed_masks.get(number, 0) for number in {**done_masks, **failed_masks}
    }
    dropped = given - len(done.lengths) - len(failed)
    return RunCommit(
        run, done, failed, group.duplicates + dropped, batches, settled, done_masks, masks, sum(done.lengths)
    )


def _check_indexes(run: RunRow, done: Records, failed: list[Failed]) -> None:
    edges = [edge for first, end in done.ranges for edge in (first, end - 1)] + [failure.index for failure in failed]
    if edges and not 0 <= min(edges) <= max(edges) < run.items:
        raise ValueError(f"results for items {min(edges)} to {max(edges)}, but run {run.run} has {run.items} items")


def _masks_of(run: RunRow, done: Records, failed: list[Failed]) -> tuple[dict[int, int], dict[int, int]]:
    failed_ranges = to_ranges(list(map(_index_of, failed)))
    return to_masks(done.ranges, run.batch_size), to_masks(failed_ranges, run.batch_size)


def _without(
    run: RunRow, settled: Mapping[int, int], done: Records, failed: list[Failed]
) -> tuple[Records, list[Failed]]:
    """Leave out the items whose bits are set."""

    def is_open(index: int) -> bool:
        number, offset = divmod(index, run.batch_size)
        return not settled[number] >> offset & 1

    whole = memoryview(b"".join(done.buffers))
    ends = itertools.accumulate(done.lengths)
    kept = [
        (index, whole[end - length : end])
        for index, length, end in zip(done.indexes, done.lengths, ends, strict=True)
        if is_open(index)
    ]
    return _records_of(kept), [failure for failure in failed if is_open(failure.index)]


def _read_batches(
    index: IndexReader, run: RunRow, numbers: Collection[int]
) -> tuple[dict[int, BatchRow], dict[int, int]]:
    """The rows that there are of these batches, and the settled items of all of them."""
    batches, size = index.batches(run, numbers), run.size
    settled = dict.fromkeys(numbers, 0)
    for number, batch in batches.items():
        try:
            settled[number] = batch.settled_items(size.batch_items(number))
        except TypeError as error:
            raise IndexForeign(
                f"this output's index is damaged in batch {number} of run {run.run} ({error}); see what can be "
                "repaired: sheaf repair"
            ) from error
    return batches, settled


def _join(records: Sequence[Buffer], length: int) -> list[Buffer]:
    if length >= _JOIN_BELOW * len(records):
        return [record for record in records if record]
    joined = (b"".join(records[start : start + _JOIN_COUNT]) for start in range(0, len(records), _JOIN_COUNT))
    return [buffer for buffer in joined if buffer]
