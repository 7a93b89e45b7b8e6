"""What every submitting command does once it knows what is wanted: check, write the run, start it, tell, follow."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from sheaf.broker.connection import connect
from sheaf.cli.explain import show_choices
from sheaf.core.errors import ClusterError
from sheaf.core.humanize import count_text, path_text, value_text
from sheaf.core.settings import Settings
from sheaf.core.terminal import control
from sheaf.run.run import Run
from sheaf_producer.inputs.stream import shown_name
from sheaf_producer.submit.draft import EXAMPLES, Draft, Tally
from sheaf_producer.submit.enqueue import check_cluster, start
from sheaf_producer.submit.occupied import Holding, Onto
from sheaf_producer.submit.submit import Outcome, Wish, check_output, check_unoccupied, submit

#: Lines between two signs of life while a long list is read on a terminal.
TOLD_LINES = 100_000

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Delivery:
    """A run that lies on the volume, and what became of its submission."""

    run: Run
    outcome: Outcome
    #: Why it could not be put on the queue; the workers find it on the volume when that is over.
    trouble: ClusterError | None = None


def deliver(settings: Settings, wish: Wish, items: Callable[[Draft], Iterable[list[str]]], noun: str) -> Delivery:
    """Check the output and the cluster, write the run, put its first batches on the queue.

    Raises before anything is written if something is wrong with the output or the cluster. A ClusterError that comes
    after that is in the Delivery.
    """
    with connect(settings) as connection:
        check_cluster(settings, connection)
        check_output(settings.data_dir, wish.output, wish.options, replace=wish.onto is Onto.REPLACE)
        held = check_unoccupied(settings.data_dir, wish)
        drafts: list[Draft] = []

        def noted(draft: Draft) -> Iterable[list[str]]:
            drafts.append(draft)
            return items(draft)

        run, outcome = submit(settings.data_dir, wish, noted)
        _tell(settings, run, outcome, drafts[0].tally, noun)
        if outcome is Outcome.NEW and held is not None:
            _tell_place(held, drafts[0].set_aside)
        if outcome is not Outcome.FINISHED:
            try:
                start(settings, connection, run)
            except ClusterError as error:
                return Delivery(run, outcome, error)
    return Delivery(run, outcome)


def conclude(settings: Settings, delivery: Delivery, *, detach: bool, explain: bool = False) -> None:
    """Follow the run to its end; or say its name and return, if told to detach. `explain`: say what was chosen, too."""
    run, trouble = delivery.run, delivery.trouble
    if trouble is not None:
        note = f"{trouble}. The run {run.manifest.run} is safe on the volume, and begins as soon as Redis takes it"
        if detach:
            raise type(trouble)(note)
        click.echo(f"sheaf: {note}", err=True)
    if detach:
        click.echo(run.manifest.run)
        click.echo(f"Watch it: sheaf watch {run.manifest.run}", err=True)
        return
    from sheaf_producer.progress.follow import follow, summarize

    (summarize if delivery.outcome is Outcome.FINISHED else follow)(settings, run)
    if explain:
        show_choices(settings, run)


def told(pieces: Iterator[T], size: Callable[[T], int]) -> Iterator[T]:
    """Pass pieces of input on; on a terminal, show how far we are, since a list may be long or a pipe slow."""
    if not sys.stderr.isatty():
        yield from pieces
        return
    number, due = 0, TOLD_LINES
    for piece in pieces:
        number += size(piece)
        if number >= due:
            due += TOLD_LINES
            control(f"\rReading: {number:,} lines")
        yield piece
    if number >= TOLD_LINES:
        control("\r\x1b[K")


def _tell(settings: Settings, run: Run, outcome: Outcome, tally: Tally, noun: str) -> None:
    """Say what became of the input."""
    manifest = run.manifest
    left_out = [f"{count_text(tally.duplicates, 'duplicate')} left out"] if tally.duplicates else []
    if tally.rejected:
        left_out.append(f"{count_text(tally.rejected, 'line')} rejected")
    said = f" ({', '.join(left_out)})" if left_out else ""
    click.echo(f"{count_text(manifest.items, noun)} from {manifest.source}{said}", err=True)
    for example in tally.examples:
        click.echo(f"  rejected: {example}", err=True)
    if tally.rejected and outcome is Outcome.NEW:
        click.echo(f"  all of them: {path_text(run.folder / 'rejected.jsonl')}", err=True)
    for why in tally.damaged[:EXAMPLES]:
        click.echo(f"  passed over: {why}", err=True)
    if outcome is Outcome.RESUMED:
        click.echo(f"Run {manifest.run} has the same {noun}s and output, and goes on.", err=True)
    if outcome is Outcome.FINISHED:
        done = "loaded" if manifest.task == "load" else "done"
        click.echo(
            f"Run {manifest.run} has {done} the same {noun}s with the same options into "
            f"{path_text(settings.data_dir / manifest.output)} already; --again has them {done} once more.",
            err=True,
        )


def _tell_place(held: Holding, set_aside: Path | None) -> None:
    """Say where the run's records stand, or what has become of what was there."""
    if set_aside is not None:
        click.echo(f"What {path_text(held.path)} held is in {path_text(set_aside)}/ now.", err=True)
    else:
        click.echo(f"{held.describe()}; these records come after them.", err=True)


def tell_other_options(run: Run, options: Mapping[str, Any], kept: Callable[[Mapping[str, Any]], Any]) -> None:
    """A run that goes on keeps the options it was submitted with; say so if others were typed now.

    `kept` makes of the run's options an object that has their defaults, too.
    """
    own = run.manifest.options
    differing = sorted(name for name in {*own, *options} if json.dumps(own.get(name)) != json.dumps(options.get(name)))
    if differing:
        said = ", ".join(f"{name}={value_text(getattr(kept(own), name))}" for name in differing)
        click.echo(f"It keeps the options it was submitted with: {said}.", err=True)


def source_text(names: Sequence[str]) -> str:
    """The inputs' names, for people: the first few of many."""
    return ", ".join(map(shown_name, names[:5])) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
