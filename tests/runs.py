"""Runs in a data folder, as a submission writes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sheaf.run.run import Manifest, Run, RunWriter
from sheaf.run.task_spec import TaskSpec

RUN = "20260101-000000-abcdef"
SPEC = TaskSpec("t:f")


def a_manifest(
    run: str = RUN,
    items: int = 2,
    spec: TaskSpec = SPEC,
    *,
    output: str = "o.jsonl",
    batch_size: int = 7,
    fingerprint: str = "f",
    session: str | None = None,
    durable: bool = True,
) -> Manifest:
    created = "2026-01-01T00:00:00Z"
    return Manifest(
        run, spec, output, items, batch_size, fingerprint, created=created, session=session, durable=durable
    )


def write_run(
    data: Path,
    items: Sequence[str],
    run: str = RUN,
    spec: TaskSpec = SPEC,
    *,
    output: str = "o.jsonl",
    batch_size: int = 7,
    fingerprint: str | None = None,
) -> Run:
    """Submit these items. The fingerprint is of them alone, unless given."""
    writer = RunWriter(data, run)
    writer.add_all(items)
    fingerprint = writer.digest if fingerprint is None else fingerprint
    manifest = a_manifest(run, len(items), spec, output=output, batch_size=batch_size, fingerprint=fingerprint)
    return writer.publish(manifest)


def numbered(count: int) -> list[str]:
    """Items that say which they are."""
    return [f"item {index}" for index in range(count)]
