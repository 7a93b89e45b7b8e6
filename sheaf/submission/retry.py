"""Have failed items of a run done again: the same run, the same indexes, the same output.

    the task's version as it is now ─► the mark `finished` away ─► failures taken out of the index, all or none
        ─► their batches on the queue

A crash in between leaves a run that is finished as before, or goes on with what was reopened.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sheaf.broker.connection import connect
from sheaf.broker.worker_registry import WorkerRegistry
from sheaf.core.errors import ClusterError, UsageError
from sheaf.core.settings import Settings
from sheaf.output.output import Output
from sheaf.run.items import failure_class
from sheaf.run.run import Run
from sheaf.submission.enqueue import check_cluster, start
from sheaf.submission.submission import Submission
from sheaf.submission.submit import Outcome
from sheaf.tasks.description import describe
from sheaf.tasks.versions import files_in_force, record_version


@dataclass(frozen=True, slots=True)
class Retry:
    """What became of a request to do failed items again."""

    submission: Submission
    #: How many items were reopened.
    reopened: int
    #: Whether the task has changed since the run was submitted, or switched to another version.
    changed: bool


def retry(settings: Settings, run: Run, errors: Collection[str] = (), items: Collection[int] = ()) -> Retry:
    """Reopen the run's failed items of these classes and numbers, or all, and put their batches on the queue.

    Raises TaskError if the task cannot be used as it is now, UsageError for a cancelled run, or if no failed item is
    meant; nothing is changed then.
    """
    manifest = run.manifest
    if run.cancelled:
        raise UsageError(f"run {manifest.run} was cancelled; to resume it, submit the same again, then retry")
    files = _files_now(settings, run)
    changed = files != dict(files_in_force(run))
    output = Output(settings.data_dir / manifest.output)
    try:
        if not changed or errors or items:
            _check_meant(run, output, errors, items)
        with connect(settings) as connection:
            check_cluster(settings, connection)
            # Before anything is open: a worker that takes a reopened item uses the task as it is now.
            record_version(run, files)
            reopened = _reopen(run, output, errors, items)
            # Workers leave a run alone for half a minute after its task was found to be another one.
            WorkerRegistry(connection).clear_problem(manifest.run)
            trouble = None
            try:
                start(settings, connection, run)
            except ClusterError as error:
                trouble = error
    finally:
        output.close()
    return Retry(Submission(run, Outcome.RESUMED, trouble), reopened, changed)


def has_open_ends(settings: Settings, submission: Submission) -> bool:
    """Whether the run was there before and has failed items, or is paused as its task has changed since."""
    run = submission.run
    if submission.outcome is Outcome.NEW:
        return False
    output = Output(settings.data_dir / run.manifest.output)
    try:
        progress = output.reader.run(run.manifest.run)
    finally:
        output.close()
    return progress.failed > 0 or (not progress.finished and _files_now(settings, run) != dict(files_in_force(run)))


def _files_now(settings: Settings, run: Run) -> dict[str, str]:
    spec = run.manifest.spec
    return dict(describe(spec.task, settings.tasks_dir, spec.options, modules=settings.extra_modules).spec.files)


def _reopen(run: Run, output: Output, errors: Collection[str], items: Collection[int]) -> int:
    # A mark that outlives the items would keep the run from ever being looked at again: taken away before, in case we
    # die; and after the commit, in case it was set meanwhile.
    run.reopen()
    reopened = output.reopen_failures(run.manifest.run, errors, items)
    run.reopen()
    return reopened


def _check_meant(run: Run, output: Output, errors: Collection[str], items: Collection[int]) -> None:
    """Raise UsageError if no failed item is meant, or one that has not failed."""
    name = run.manifest.run
    errors = [failure_class(error) for error in errors]
    kinds: Counter[str] = Counter()
    found: set[int] = set()
    meant = 0
    for failure in output.reader.failures(name):
        kinds[failure.error] += 1
        found.update({failure.index} & set(items))
        meant += (not errors or failure.error in errors) and (not items or failure.index in items)
    if not kinds:
        raise UsageError(f"no item of run {name} has failed, so there is nothing to retry")
    if missing := sorted(set(items) - found):
        raise UsageError(
            f"{_listed(missing)} of run {name} {'has' if len(missing) == 1 else 'have'} not failed; "
            f"see `sheaf failures {name}`"
        )
    if meant == 0:
        there = ", ".join(f"{error} ({count:,})" for error, count in kinds.most_common())
        raise UsageError(f"no item of run {name} has failed with {', '.join(errors)}; the failures are: {there}")


def _listed(items: Iterable[int]) -> str:
    numbers = list(map(str, items))
    return f"item {numbers[0]}" if len(numbers) == 1 else f"items {', '.join(numbers)}"
