"""`sheaf load`, from what was typed to a run that is on its way."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from sheaf.connection import connect
from sheaf.errors import ClusterError
from sheaf.formats import format_for
from sheaf.human import count_text, path_text
from sheaf.locate import locate_output
from sheaf.run import Run
from sheaf.settings import Settings
from sheaf.tasks.load.options import TUNING, LoadOptions
from sheaf_producer.draft import Draft, Tally
from sheaf_producer.inputs.stream import Line, check_inputs
from sheaf_producer.read import read_lists
from sheaf_producer.start import check_cluster, start
from sheaf_producer.submit import Outcome, Wish, check_output, submit
from sheaf_producer.urls import usable_urls

#: Lines between two signs of life while a long list is read on a terminal.
TOLD_LINES = 100_000


@dataclass(frozen=True, slots=True)
class Request:
    """What was typed."""

    lists: Sequence[str]
    output: str
    options: Mapping[str, Any]
    default_scheme: str | None
    batch_size: int | None
    again: bool


def submit_load(settings: Settings, request: Request) -> tuple[Run, Outcome, ClusterError | None]:
    """Check everything, write the run, put its first batches on the queue.

    Raises before anything is written if something is wrong with the request, the output or the cluster. A ClusterError
    that comes after that is returned: the run lies on the volume then, and the workers find it there.
    """
    options = LoadOptions.from_mapping(request.options)
    check_inputs(request.lists)
    inside = locate_output(settings.data_dir, request.output)
    format_for(inside)
    with connect(settings) as connection:
        check_cluster(settings, connection)
        check_output(settings.data_dir, inside)
        source = ", ".join(request.lists)
        wish = Wish(
            task="load",
            options=request.options,
            output=inside,
            source=source,
            batch_size=request.batch_size,
            tuning=TUNING,
            item_timeout_s=options.longest_s,
            again=request.again,
        )
        tallies: list[Tally] = []

        def items(draft: Draft) -> Iterator[list[str]]:
            tallies.append(draft.tally)
            return usable_urls(_told(read_lists(request.lists)), request.default_scheme, draft)

        run, outcome = submit(settings.data_dir, wish, items)
        _tell(settings, run, outcome, tallies[0])
        _tell_other_options(run, request)
        if outcome is Outcome.FINISHED:
            return run, outcome, None
        try:
            start(settings, connection, run)
        except ClusterError as error:
            return run, outcome, error
    return run, outcome, None


def _told(lines: Iterator[Line]) -> Iterator[Line]:
    """Pass lines on; on a terminal, show how far we are, since a list may be long or a pipe slow."""
    if not sys.stderr.isatty():
        yield from lines
        return
    number = 0
    for number, line in enumerate(lines, start=1):
        if number % TOLD_LINES == 0:
            click.echo(f"\rReading: {number:,} lines", nl=False, err=True)
        yield line
    if number >= TOLD_LINES:
        click.echo("\r\x1b[K", nl=False, err=True)


def _tell(settings: Settings, run: Run, outcome: Outcome, tally: Tally) -> None:
    """Say what became of the lists."""
    manifest = run.manifest
    left_out = [f"{count_text(tally.duplicates, 'duplicate')} left out"] if tally.duplicates else []
    if tally.rejected:
        left_out.append(f"{count_text(tally.rejected, 'line')} rejected")
    said = f" ({', '.join(left_out)})" if left_out else ""
    click.echo(f"{count_text(manifest.items, 'URL')} from {manifest.source}{said}", err=True)
    for example in tally.examples:
        click.echo(f"  rejected: {example}", err=True)
    if tally.rejected and outcome is Outcome.NEW:
        click.echo(f"  all of them: {path_text(run.folder / 'rejected.jsonl')}", err=True)
    if outcome is Outcome.RESUMED:
        click.echo(f"Run {manifest.run} has the same URLs and output, and goes on.", err=True)
    if outcome is Outcome.FINISHED:
        click.echo(
            f"Run {manifest.run} has loaded the same URLs with the same options into "
            f"{path_text(settings.data_dir / manifest.output)} already; --again loads them once more.",
            err=True,
        )


def _tell_other_options(run: Run, request: Request) -> None:
    """A run that goes on keeps the options it was submitted with; say so if others were typed now."""
    differing = sorted(
        name
        for name in {*run.manifest.options, *request.options}
        if json.dumps(run.manifest.options.get(name)) != json.dumps(request.options.get(name))
    )
    if differing:
        kept = LoadOptions.from_mapping(run.manifest.options)
        said = ", ".join(f"{name}={getattr(kept, name)}" for name in differing)
        click.echo(f"It keeps the options it was submitted with: {said}.", err=True)
