"""`sheaf cancel`: stop a run."""

from __future__ import annotations

import click

from sheaf.core.humanize import count_text
from sheaf.core.settings import Settings
from sheaf.run.resolve import locate_run
from sheaf.view.problems import problems


@click.command()
@click.argument("run")
@click.pass_obj
def cancel(settings: Settings, run: str) -> None:
    """Stop a run; what is done stays in its output.

    RUN is a run's name, the beginning or end of it, or `last`. Submitting the same again takes the run up where it
    stopped.

    \b
    sheaf cancel 3f9a02
    sheaf cancel last
    """
    found = locate_run(settings.data_dir, run)
    name = found.manifest.run
    if found.finished:
        click.echo(f"Run {name} is finished; there is nothing to cancel.")
        return
    for line in problems(settings, [found]):
        click.echo(line, err=True)
    found.cancel()
    click.echo(
        f"Run {name} ({count_text(found.manifest.items, 'item')}) is cancelled; workers drop it within seconds. "
        "To resume it, submit the same again."
    )
