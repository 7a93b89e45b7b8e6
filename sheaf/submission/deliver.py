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
class Delivery:
    """A run that lies on the volume, and what became of its submission."""

    run: Run
    outcome: Outcome
    #: Why it could not be put on the queue; the workers find it on the volume when that is over.
    trouble: ClusterError | None = None
    tally: Tally = field(default_factory=Tally)
    #: What the output held of other runs before.
    held: Holding | None = None
    #: The folder that holds it now, if the run took its place.
    set_aside: Path | None = None


def deliver(settings: Settings, request: RunRequest, items: Callable[[Draft], Iterable[list[str]]]) -> Delivery:
    """Submit a run; `items` as in submit().

    Raises before anything is written if something is wrong with the output or the cluster. A ClusterError that comes
    after that is in the Delivery.
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
    return Delivery(run, outcome, trouble, drafts[0].tally, held, drafts[0].set_aside)
