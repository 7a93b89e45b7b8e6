"""Follow a run to its end, and say what came of it."""

from __future__ import annotations

import shlex
from collections import Counter

import click

from sheaf.errors import OutputRefused, RunCancelled
from sheaf.human import bytes_text, count_text, path_text, seconds_text
from sheaf.output import Output
from sheaf.run import Run
from sheaf.settings import Settings
from sheaf_producer.observe import Observer
from sheaf_producer.screen import screen

#: Classes of failures that the summary lists.
CLASSES = 5


def follow(settings: Settings, run: Run) -> None:
    """Show the run until it is finished, then its summary. Ctrl-C ends the watching only.

    Raises RunCancelled if somebody cancels the run meanwhile, OutputRefused if a person has to look at the output.
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
    return "page" if run.manifest.task == "load" else "item"


def _watch_until_finished(settings: Settings, run: Run) -> None:
    manifest = run.manifest
    output = path_text(settings.data_dir / manifest.output)
    title = f"{count_text(manifest.items, noun_of(run))} into {output} · run {manifest.run}"
    observer = Observer(settings, run)
    try:
        with screen(title, noun_of(run)) as shown:
            while not (view := observer.look()).finished:
                if view.cancelled:
                    raise RunCancelled(
                        f"run {manifest.run} was cancelled with {view.settled:,} of {view.items:,} done; "
                        "what is done stays in the output. Submit the same again to go on"
                    )
                if view.refused is not None:
                    raise OutputRefused(
                        f"run {manifest.run} stands still at {view.settled:,} of {view.items:,}: {view.refused}. "
                        f"When that is settled it goes on by itself; watch it again: sheaf watch {manifest.run}"
                    )
                shown.show(view)
                observer.wait(shown.beat_s)
            shown.show(view)
    finally:
        observer.close()


def summarize(settings: Settings, run: Run) -> None:
    """Print what came of a finished run, and what to do next."""
    manifest, noun = run.manifest, noun_of(run)
    path = settings.data_dir / manifest.output
    output = Output(path)
    try:
        progress = output.progress(manifest.run)
        kinds = Counter(failure.error for failure in output.failures(manifest.run)) if progress.failed else Counter()
    finally:
        output.close()
    took_s = max(0.0, progress.last_commit - progress.started)
    failed = f", {progress.failed:,} failed" if progress.failed else ""
    click.echo(
        f"Done: {count_text(progress.done, noun)} in {path_text(path)} ({bytes_text(progress.bytes)}){failed}, "
        f"in {seconds_text(took_s)}."
    )
    for error, count in kinds.most_common(CLASSES):
        click.echo(f"  {count:>8,}  {error}")
    shown = shlex.quote(path_text(path))
    click.echo(f"Check it:   sheaf verify {shown}")
    click.echo(f"Look at it: sheaf get {shown} {_first(run)}")
    if progress.failed:
        click.echo(f"Failures:   sheaf failures {manifest.run}")
        click.echo(f"Again:      sheaf retry {manifest.run}")


def _first(run: Run) -> str:
    return shlex.quote(next(run.all_items()).text) if run.manifest.task == "load" else "0"
