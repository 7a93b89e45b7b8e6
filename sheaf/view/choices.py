"""What Sheaf has chosen by itself, and why: for `sheaf status --explain`, and `--explain` of what submits a run."""

from __future__ import annotations

import json
from collections.abc import Iterator

from sheaf.broker.connection import connect
from sheaf.broker.worker_registry import WorkerInfo, WorkerRegistry
from sheaf.core.errors import ClusterError
from sheaf.core.humanize import count_text
from sheaf.core.settings import Settings
from sheaf.run.run import Run


def choices(settings: Settings, run: Run | None) -> Iterator[str]:
    """Describe, line by line, what was chosen for a run at its submission, and what the live workers choose."""
    if run is not None:
        manifest = run.manifest
        yield "Chosen at submission:"
        yield (
            f"  items per batch: {manifest.batch_size:,} ({count_text(manifest.batches, 'batch')}; about 200 if there "
            "are enough items, so that workers share evenly, and each small enough to be redone quickly)"
        )
    try:
        with connect(settings, timeout_s=2.0) as connection:
            entries = [entry for entry in WorkerRegistry(connection).workers() if not entry.silent]
    except ClusterError as error:
        yield f"What workers choose is not known: {error}"
        return
    for entry in entries:
        yield f"Chosen by {entry.label}:"
        for name, value, why in _choices(entry):
            yield f"  {name}: {value} ({why})"


def _choices(entry: WorkerInfo) -> list[tuple[str, str, str]]:
    """What is on a worker's entry; nothing if it is of another version."""
    try:
        return [(str(name), str(value), str(why)) for name, value, why in json.loads(entry.fields.get("explain", "[]"))]
    except (ValueError, TypeError):
        return []
