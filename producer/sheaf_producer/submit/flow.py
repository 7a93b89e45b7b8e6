"""What every submitting command does with its request: check, write the run, start it, report, follow."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from sheaf.core.humanize import count_text, path_text, value_text
from sheaf.core.settings import Settings
from sheaf.core.terminal import control
from sheaf.run.run import Run
from sheaf.submission.draft import Draft
from sheaf.submission.occupied import Holding
from sheaf.submission.retry import Retry
from sheaf.submission.submission import Submission, submit_and_start
from sheaf.submission.submit import Outcome, RunRequest
from sheaf.submission.tally import EXAMPLES
from sheaf.view.choices import choices
from sheaf_producer.inputs.stream import shown_name

#: Lines between two updates of the counter while a long list is read on a terminal.
PROGRESS_LINES = 100_000

T = TypeVar("T")


def submit_and_report(
    settings: Settings, request: RunRequest, items: Callable[[Draft], Iterable[list[str]]], noun: str
) -> Submission:
    """Submit the run and report what happened. Raises what submit_and_start() raises."""
    submission = submit_and_start(settings, request, items)
    _report(settings, submission, noun)
    if submission.outcome is Outcome.NEW and submission.held is not None:
        _report_place(submission.held, submission.set_aside)
    return submission


def follow_or_detach(settings: Settings, submission: Submission, *, detach: bool, explain: bool = False) -> None:
    """Follow the run to its end, or print its name and return (`detach`). `explain`: also print what was chosen."""
    run, trouble = submission.run, submission.trouble
    if trouble is not None:
        note = f"{trouble}. Run {run.manifest.run} is safe on the volume and will start as soon as Redis accepts it"
        if detach:
            raise type(trouble)(note)
        click.echo(f"sheaf: {note}", err=True)
    if detach:
        click.echo(run.manifest.run)
        click.echo(f"Watch it: sheaf watch {run.manifest.run}", err=True)
        return
    from sheaf_producer.progress.follow import follow, summarize

    (summarize if submission.outcome is Outcome.FINISHED else follow)(settings, run)
    if explain:
        for line in choices(settings, run):
            click.echo(line)


def report_retry(again: Retry) -> None:
    """Say how many failed items are to be done again."""
    version = ", with the task as it is now" if again.changed else ""
    run = again.submission.run.manifest.run
    click.echo(f"Run {run}: {count_text(again.reopened, 'failed item')} to be done again{version}.", err=True)


def with_progress(pieces: Iterator[T], size: Callable[[T], int]) -> Iterator[T]:
    """Pass on pieces of input; on a terminal, show how many lines were read, as lists may be long and pipes slow."""
    if not sys.stderr.isatty():
        yield from pieces
        return
    number, due = 0, PROGRESS_LINES
    for piece in pieces:
        number += size(piece)
        if number >= due:
            due += PROGRESS_LINES
            control(f"\rReading: {number:,} lines")
        yield piece
    if number >= PROGRESS_LINES:
        control("\r\x1b[K")


def _report(settings: Settings, submission: Submission, noun: str) -> None:
    """Say what became of the input."""
    run, outcome, tally = submission.run, submission.outcome, submission.tally
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
        click.echo(f"  skipped: {why}", err=True)
    if outcome is Outcome.RESUMED:
        click.echo(f"Run {manifest.run} has the same {noun}s and output; resuming it.", err=True)
    if outcome is Outcome.FINISHED:
        done = "loaded" if manifest.spec.task == "load" else "done"
        click.echo(
            f"Run {manifest.run} has already {done} the same {noun}s with the same options into "
            f"{path_text(settings.data_dir / manifest.output)}; --again repeats it.",
            err=True,
        )


def _report_place(held: Holding, set_aside: Path | None) -> None:
    """Say where the run's records go, or where the replaced output is now."""
    if set_aside is not None:
        click.echo(f"The previous {path_text(held.path)} is now in {path_text(set_aside)}/.", err=True)
    else:
        click.echo(f"{held.describe()}; these records are added after them.", err=True)


def report_other_options(run: Run, options: Mapping[str, Any], kept: Callable[[Mapping[str, Any]], Any]) -> None:
    """A resumed run keeps the options it was submitted with; say so if other options were given now.

    `kept` turns the run's options into an object with all defaults filled in.
    """
    own = run.manifest.spec.options
    differing = sorted(name for name in {*own, *options} if json.dumps(own.get(name)) != json.dumps(options.get(name)))
    if differing:
        said = ", ".join(f"{name}={value_text(getattr(kept(own), name))}" for name in differing)
        click.echo(f"It keeps the options it was submitted with: {said}.", err=True)


def source_text(names: Sequence[str]) -> str:
    """The inputs' names, for people: the first few of many."""
    return ", ".join(map(shown_name, names[:5])) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
