"""Follow a run to its end, and say what came of it."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable

import click

from sheaf.core.errors import OutputRefused, RunCancelled, RunDamaged
from sheaf.core.humanize import bytes_text, count_text, path_text, seconds_text
from sheaf.core.settings import Settings
from sheaf.output.index.rows import Failure
from sheaf.output.output import Output
from sheaf.run.items import Batch
from sheaf.run.run import Run
from sheaf.tasks.tracebacks import split
from sheaf.view.monitor import Monitor
from sheaf_producer.progress.display import live_display

#: Classes of failures that the summary lists, and characters of the one reason that it shows of each.
CLASSES = 5
REASON_CHARS = 300


def follow(settings: Settings, run: Run) -> None:
    """Show the run until it is finished, then its summary. Ctrl-C ends the watching only.

    A run of which every item failed ends the command with status 1.

    Raises RunCancelled if the run is cancelled meanwhile, OutputRefused if a person has to look at the output.
    """
    name = run.manifest.run
    try:
        _watch_until_finished(settings, run)
    except KeyboardInterrupt:
        click.echo(
            f"\nStopped watching; the run goes on. Watch it again: sheaf watch {name}   Stop it: sheaf cancel {name}",
            err=True,
        )
        raise SystemExit(130) from None
    summarize(settings, run)


def noun_of(run: Run) -> str:
    """What one item of the run is called."""
    return "page" if run.manifest.spec.task == "load" else "item"


def _watch_until_finished(settings: Settings, run: Run) -> None:
    manifest = run.manifest
    output = path_text(settings.data_dir / manifest.output)
    title = f"{count_text(manifest.items, noun_of(run))} into {output} · run {manifest.run}"
    observer = Monitor(settings, run)
    try:
        with live_display(title, noun_of(run)) as shown:
            while not (view := observer.look()).finished:
                if view.cancelled:
                    raise RunCancelled(
                        f"run {manifest.run} was cancelled with {view.settled:,} of {view.items:,} done; "
                        "finished items stay in the output. Submit the same again to resume"
                    )
                if view.refused is not None:
                    raise OutputRefused(
                        f"run {manifest.run} is paused at {view.settled:,} of {view.items:,}: {view.refused}. "
                        f"When that is resolved it resumes by itself; watch it again: sheaf watch {manifest.run}"
                    )
                shown.show(view)
                observer.wait(shown.beat_s)
            shown.show(view)
    finally:
        observer.close()


def summarize(settings: Settings, run: Run) -> None:
    """Print what came of a finished run, and what to do next. Raises SystemExit(1) if every item has failed."""
    manifest, noun = run.manifest, noun_of(run)
    path = settings.data_dir / manifest.output
    output = Output(path)
    try:
        progress = output.reader.run(manifest.run)
        failures = _Failures(output.reader.failures(manifest.run) if progress.failed else ())
    finally:
        output.close()
    took_s = max(0.0, progress.last_commit - progress.started)
    failed = f", {progress.failed:,} failed" if progress.failed else ""
    click.echo(
        f"Done: {count_text(progress.done, noun)} in {path_text(path)} ({bytes_text(progress.bytes)}){failed}, "
        f"in {seconds_text(took_s)}."
    )
    for error, count in failures.classes.most_common(CLASSES):
        click.echo(f"  {count:>8,}  {error}: {failures.reasons[error]}")
    shown = shlex.quote(path_text(path))
    if progress.done:
        click.echo(f"Check it:   sheaf verify {shown}")
        click.echo(f"Look at it: sheaf get {shown} {_name_of(run, failures.first_done)}")
    if progress.failed:
        click.echo(f"Failures:   sheaf failures {manifest.run}")
        click.echo(f"Again:      sheaf retry {manifest.run}")
    if progress.failed and not progress.done:
        raise SystemExit(1)


class _Failures:
    """What is shown of a run's failures: how many of each class, one reason of each, and what did not fail."""

    def __init__(self, failures: Iterable[Failure]) -> None:
        self.classes: Counter[str] = Counter()
        self.reasons: dict[str, str] = {}
        #: The lowest number of an item that is not among them.
        self.first_done = 0
        for failure in failures:
            self.classes[failure.error] += 1
            if failure.error not in self.reasons:
                self.reasons[failure.error] = _reason(failure)
            if failure.index == self.first_done:
                self.first_done += 1


def _reason(failure: Failure) -> str:
    """In one line."""
    fault = split(failure.message)
    text = " ".join(fault.summary.removeprefix(f"{failure.error}: ").split())
    return text if len(text) <= REASON_CHARS else f"{text[:REASON_CHARS]}…"


def _name_of(run: Run, index: int) -> str:
    """How an item is named to `sheaf get`."""
    if run.manifest.spec.task != "load":
        return str(index)
    batch = Batch(run.manifest.run, run.manifest.batch_number(index), index, 1)
    try:
        return shlex.quote(run.items(batch)[0].text)
    except RunDamaged:
        return str(index)
