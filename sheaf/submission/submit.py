"""Step 1 of 6: write down what must be done as a run on the volume, then put its first batches on the queue.

    items ──► runs/.<id> (hidden draft) ──published in one step──► runs/<id> ──batches──► queue (step 2)
                                                                      └─────────► known to the output's index

Killing the producer at any point loses nothing: an unpublished draft was never a run, and a published run is taken up
by the workers' reconciler whether or not the producer still lives.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from sheaf.core.errors import OutputError, OutputPathError, RunNotFound, UsageError
from sheaf.core.files import exists, is_dir
from sheaf.formats import format_for
from sheaf.formats.separator import has_separator, new_separator
from sheaf.output.output import Output
from sheaf.output.replace import set_aside
from sheaf.run.catalog import catalog
from sheaf.run.run import Manifest, Run, submission_lock
from sheaf.run.task_spec import TaskSpec
from sheaf.submission.draft import Draft, check_data_dir
from sheaf.submission.occupied import Holding, Onto, check_free, holding, may_be_known
from sheaf.submission.tally import Tally
from sheaf.tasks.versions import files_in_force, version_name

#: Batches per run that are aimed at: enough to share among workers, few enough to cost nothing.
AIMED_BATCHES = 200
#: Pages and commands per batch at most: each may take seconds.
LARGEST_BATCH = 500
#: Items of a function per batch at most, as most take microseconds; and in a run so large that batches add up.
LARGEST_MAP_BATCH = 5_000
LARGEST_HUGE_BATCH = 10_000
HUGE_RUN = 100_000_000
#: Bytes of a batch's items, on average.
LARGEST_BATCH_BYTES = 8 << 20


class Outcome(Enum):
    """What became of a submission."""

    NEW = "new"
    #: An unfinished run of the same task, options, items and output goes on.
    RESUMED = "resumed"
    #: The same has been done already; nothing was submitted.
    FINISHED = "finished"


@dataclass(frozen=True, slots=True)
class SubmitOptions:
    """How a run is to be submitted: one value from the command line to submit(), so a further option is one line here.

    What the run's items need instead belongs into TaskSpec.
    """

    #: Items per batch; None: chosen by the number of items.
    batch_size: int | None = None
    #: Names of the task's options that do not change what ends up in the output.
    tuning: frozenset[str] = frozenset()
    #: Submit even what has been submitted before.
    again: bool = False
    #: What to do with an output that holds records of other runs.
    onto: Onto = Onto.ASK
    #: Submit nothing that has not been submitted before.
    only_known: bool = False
    #: Take up a run of an earlier version of the task, too.
    any_version: bool = False

    @property
    def place(self) -> Onto:
        """What to do with an output that holds other runs: a request for the same once more has said where."""
        return Onto.APPEND if self.again and self.onto is Onto.ASK else self.onto


AS_USUAL = SubmitOptions()


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What a person wants done."""

    spec: TaskSpec
    #: The output's path inside the data folder.
    output: str
    #: The lists' names, for people.
    source: str
    how: SubmitOptions = AS_USUAL


@contextlib.contextmanager
def checked_output(
    data_dir: Path, output: str, options: Mapping[str, Any], *, replace: bool = False
) -> Iterator[Output | None]:
    """Raise what is wrong with the output's path, before anything is read or written; give what is there, opened.

    OutputPathError for its folder, for its suffix, or for other columns than it has (unless a new one is to take its
    place); OutputRefused if what is there is not an output of ours.
    """
    path = data_dir / output
    check_data_dir(data_dir)
    if not is_dir(path.parent):
        raise OutputPathError(f"the folder {path.parent} does not exist; create it first: mkdir -p {path.parent}")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise OutputPathError(f"this user cannot write to the folder {path.parent}, where the output would be")
    if not os.path.lexists(path):
        yield None
        return
    # Opens what is there if it is ours, refuses it otherwise, and changes nothing in either case.
    opened = _create_output(data_dir, output, options)
    try:
        if not replace:
            _check_header(opened, format_for(output, options).header(path.name))
        yield opened
    finally:
        opened.close()


def check_unoccupied(data_dir: Path, request: RunRequest, opened: Output | None = None) -> Holding | None:
    """Return what the output holds of other runs. Raises UsageError if it is certain already that submit() will refuse.

    That is not certain while it holds runs of the same task: one of them may be the same submission, which is not known
    before the list has been read. `opened`: the output, if it is open already.
    """
    held = holding(data_dir, request.output, opened)
    if held is not None and not may_be_known(data_dir, held, request.spec.task):
        check_free(held, request.how.place)
    return held


def submit(data_dir: Path, request: RunRequest, items: Callable[[Draft], Iterable[list[str]]]) -> tuple[Run, Outcome]:
    """Write the run and make it known to its output. `items` yields many at once, and notes in the draft what it leaves
    out; or gives the draft's writer a range of numbers, and yields nothing.

    When this returns, the run survives a power cut. Raises what `items` raises, OutputError and OutputPathError, and
    UsageError if the output holds other runs and the request does not say what to do; no run is left over then.
    """
    with Draft(data_dir) as draft:
        for texts in items(draft):
            draft.writer.add_all(texts)
        draft.settle()
        fingerprint = fingerprint_of(request, draft.writer.digest)
        with submission_lock(data_dir):
            existing = None if request.how.again else _find_existing(data_dir, request, fingerprint, draft.tally)
            if existing is not None:
                return existing if existing[1] is Outcome.FINISHED else _take_up(data_dir, existing[0])
            if request.how.only_known:
                raise UsageError(
                    f"no run has the same items, task and options and goes into {request.output}, so there is nothing "
                    "of it that failed; submit it without --only-failed"
                )
            draft.set_aside = _make_room(data_dir, request)
            return _publish(data_dir, request, draft, fingerprint), Outcome.NEW


def _make_room(data_dir: Path, request: RunRequest) -> Path | None:
    """Return the folder that now holds what was in the output, if it was to be replaced."""
    held = holding(data_dir, request.output)
    check_free(held, request.how.place)
    path = data_dir / request.output
    interrupted = not exists(path) and exists(path.with_name(f"{path.name}.index"))
    if request.how.onto is Onto.REPLACE and (held is not None or interrupted):
        return set_aside(data_dir, request.output)
    return None


def _batch_size(request: RunRequest, draft: Draft) -> int:
    """By the number of items; large items make small batches, since a worker reads a batch at once."""
    items = draft.writer.items
    by_number = batch_size_for(items, slow=request.spec.task in ("load", "exec"))
    return max(1, min(by_number, LARGEST_BATCH_BYTES * items // max(1, draft.writer.bytes)))


def batch_size_for(items: int, *, slow: bool) -> int:
    largest = LARGEST_BATCH if slow else LARGEST_HUGE_BATCH if items >= HUGE_RUN else LARGEST_MAP_BATCH
    return max(1, min(largest, items // AIMED_BATCHES))


def fingerprint_of(request: RunRequest, digest: str) -> str:
    """Return a text that is equal for two requests of the same task, options (but for tuning), output and items.

    The same task is the same text: after a change of its files, whose digest follows the dot, the same command is a new
    request.
    """
    options = {name: value for name, value in request.spec.options.items() if name not in request.how.tuning}
    parts = [request.spec.task, options, request.output, digest]
    version = f".{version_name(request.spec.files)}" if request.spec.files else ""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest() + version


def _publish(data_dir: Path, request: RunRequest, draft: Draft, fingerprint: str) -> Run:
    manifest = Manifest(
        run=draft.run,
        spec=request.spec,
        output=request.output,
        items=draft.writer.items,
        batch_size=request.how.batch_size or _batch_size(request, draft),
        fingerprint=fingerprint,
        created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        source=request.source,
        rejected=draft.tally.rejected,
        duplicates=draft.tally.duplicates,
        numbers=draft.writer.numbers,
    )
    # The output first: if it cannot be made, there is no run. A row of a run that is never published is harmless.
    _register(data_dir, manifest)
    return draft.writer.publish(manifest)


def _take_up(data_dir: Path, run: Run) -> tuple[Run, Outcome]:
    """The same has been submitted before, and is not done: let it go on."""
    _register(data_dir, run.manifest)
    run.resume()
    return run, Outcome.RESUMED


def _find_existing(data_dir: Path, request: RunRequest, fingerprint: str, tally: Tally) -> tuple[Run, Outcome] | None:
    """Return the newest run of the same submission, if its output is still at its place and knows of it, and whether it
    is finished or to be resumed.
    """
    for entry in reversed(catalog(data_dir)):
        if not entry.is_like(fingerprint):
            continue
        if entry.damage is not None:
            # It may be the same; that cannot be determined.
            tally.damaged.append(entry.damage)
            continue
        try:
            run = Run.open(data_dir, entry.run)
            there = run.manifest.output == request.output
            if there and _is_same(run, request, fingerprint):
                if _is_done(data_dir, run):
                    return run, Outcome.FINISHED
                if not run.finished:
                    return run, Outcome.RESUMED
        except RunNotFound as error:
            tally.damaged.append(str(error))
    return None


def _is_same(run: Run, request: RunRequest, fingerprint: str) -> bool:
    """Whether the run is the same submission: by now, if it was switched to a later version of its task."""
    known, wanted = run.manifest.fingerprint, fingerprint
    if known.partition(".")[0] != wanted.partition(".")[0]:
        return False
    return (
        request.how.any_version
        or known == wanted
        or version_name(files_in_force(run)) == version_name(request.spec.files)
    )


def _is_done(data_dir: Path, run: Run) -> bool:
    """Ask the output, not the run's folder: a person may have removed the output to have everything loaded anew."""
    manifest = run.manifest
    path = data_dir / manifest.output
    if not exists(path):
        return False
    output = Output(path)
    try:
        progress = output.reader.runs().get(manifest.run)
    except OutputError:
        return False
    finally:
        output.close()
    return progress is not None and progress.done + progress.failed == manifest.items


def _register(data_dir: Path, manifest: Manifest) -> None:
    separator = new_separator() if manifest.spec.task == "load" and has_separator(manifest.output) else ""
    output = _create_output(data_dir, manifest.output, manifest.spec.options, separator)
    try:
        output.register_run(manifest.run, manifest.items, manifest.batch_size)
    finally:
        output.close()


def _create_output(data_dir: Path, output: str, options: Mapping[str, Any], separator: str = "") -> Output:
    """Make the output, or open what is there. `separator`: of one that is made."""
    path = data_dir / output
    return Output.create(path, header=format_for(output, options, separator).header(path.name))


def _check_header(opened: Output, wanted: bytes) -> None:
    """A header is written once: a table's later rows have the columns of its first ones."""
    path, header = opened.path, opened.reader.state().header
    if path.name.lower().endswith(".csv") and header != wanted:
        raise OutputPathError(
            f"{path} has the columns {header.decode().strip()}, but now they would be {wanted.decode().strip()}; "
            "choose another output, or give --columns as before"
        )
