"""Why runs do not go on, as far as a worker has said so: shown by every command that is about a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sheaf.broker.connection import connect
from sheaf.broker.worker_registry import WorkerRegistry
from sheaf.core.errors import ClusterError
from sheaf.core.settings import Settings
from sheaf.core.terminal import one_line
from sheaf.run.run import Run


def problems(settings: Settings, runs: Sequence[Run]) -> Iterator[str]:
    """The lines to show. None if Redis cannot be asked: what a run has done is on the volume."""
    if not runs:
        return
    try:
        with connect(settings, timeout_s=2.0) as connection:
            registry = WorkerRegistry(connection)
            found = [(run.manifest.run, registry.problem(run.manifest.run)) for run in runs]
    except ClusterError:
        return
    for name, problem in found:
        if problem is not None:
            yield f"problem  {name}: {one_line(problem.text)}"
