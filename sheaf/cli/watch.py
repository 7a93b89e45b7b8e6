"""`sheaf watch`: follow a run to its end."""

from __future__ import annotations

import click

from sheaf.core.settings import Settings
from sheaf.run.resolve import locate_run


@click.command()
@click.argument("run", required=False)
@click.pass_obj
def watch(settings: Settings, run: str | None) -> None:
    """Follow a run to its end.

    RUN is a run's name, or the beginning or end of it; without it, the newest. Ctrl-C stops watching, not the run.

    \b
    sheaf watch
    sheaf watch 3f9a02
    """
    from sheaf_producer.progress.follow import follow

    follow(settings, locate_run(settings.data_dir, run))
