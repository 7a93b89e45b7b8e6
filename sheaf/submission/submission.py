"""Submission as a whole: check the output and the cluster, write the run, put its first batches on the queue."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from sheaf.broker.connection import connect
from sheaf.core.errors import ClusterError
from sheaf.core.settings import Settings
from sheaf.run.run import Run
from sheaf.submission.draft import Draft
from sheaf.submission.enqueue import check_cluster, start
from sheaf.submission.occupied import Holding, Onto
from sheaf.submission.submit import Outcome, RunRequest, check_unoccupied, checked_output, submit
from sheaf.submission.tally import Tally


@dataclass(frozen=True, slots=True)
class Submission:
    """A run on the volume, and how its submission went."""

    run: Run
    outcome: Outcome
    #: Why its batches could not be queued yet; workers will find the run on the volume.
    trouble: ClusterError | None = None
    tally: Tally = field(default_factory=Tally)
    #: What the output already held of other runs.
    held: Holding | None = None
    #: Where the replaced output is kept, if the run replaced one.
    set_aside: Path | None = None


def submit_and_start(
    settings: Settings, request: RunRequest, items: Callable[[Draft], Iterable[list[str]]]
) -> Submission:
    """Submit a run; `items` as in submit().

    Raises before anything is written if something is wrong with the output or the cluster. A ClusterError
    after that is the submission's `trouble`.
    """
    with connect(settings) as connection:
        check_cluster(settings, connection)
        replace = request.how.onto is Onto.REPLACE
        with checked_output(settings.data_dir, request.output, request.spec.options, replace=replace) as opened:
            held = check_unoccupied(settings.data_dir, request, opened)
        drafts: list[Draft] = []

        def noted(draft: Draft) -> Iterable[list[str]]:
            drafts.append(draft)
            return items(draft)

        run, outcome = submit(settings.data_dir, request, noted)
        trouble = None
        if outcome is not Outcome.FINISHED:
            try:
                start(settings, connection, run)
            except ClusterError as error:
                trouble = error
    return Submission(run, outcome, trouble, drafts[0].tally, held, drafts[0].set_aside)
