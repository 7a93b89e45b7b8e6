"""`sheaf up` and `sheaf down`: the embedded cluster of a data folder."""

from __future__ import annotations

import click

from sheaf.core import permissions
from sheaf.core.humanize import count_text, path_text
from sheaf.core.settings import Settings


@click.command(short_help="Start a cluster on this machine.")
@click.option("--workers", "-w", type=click.IntRange(0, 256), default=2, show_default=True, help="How many workers.")
@click.option("--foreground", is_flag=True, help="Stay in this terminal; Ctrl-C stops the cluster.")
@click.option("--share-group", is_flag=True, help="Open the data folder, and what is created in it, to its group.")
@click.pass_obj
def up(settings: Settings, workers: int, foreground: bool, share_group: bool) -> None:
    """Start a cluster on this machine: Redis and workers, no containers.

    It serves one data folder, goes on when this terminal closes, and starts again whatever of it dies. Called again, it
    changes the number of workers.

    \b
    sheaf up
    sheaf up --workers 4
    sheaf --data /srv/crawl up --share-group      # else its files are yours alone
    """
    from sheaf.embedded import cluster

    if share_group:
        permissions.share_with_group(settings.data_dir)
    if foreground:
        from sheaf.core import logs

        logs.configure(settings.log_level, role="supervisor")
        places = cluster.prepare(settings, workers)
        click.echo(
            f"Redis and {count_text(workers, 'worker')} on {path_text(places.data_dir)}; Ctrl-C stops them.", err=True
        )
        raise SystemExit(cluster.supervise(settings))
    state = cluster.up(settings, workers, say=lambda text: click.echo(text, err=True))
    click.echo(
        f"Sheaf is up: Redis and {count_text(workers, 'worker')} on the data folder {path_text(settings.data_dir)}."
    )
    click.echo(f"Logs: {path_text(settings.data_dir / '.sheaf')}/*.log   supervisor: pid {state.supervisor.pid}")
    click.echo("Next: sheaf load urls.txt     (stop with: sheaf down)")


@click.command()
@click.pass_obj
def down(settings: Settings) -> None:
    """Stop the cluster of the data folder.

    Workers finish or hand back what they have in hand. Unfinished runs go on after the next `sheaf up`.
    """
    from sheaf.embedded import cluster

    if cluster.down(settings):
        click.echo("Sheaf is down.")
    else:
        click.echo(f"No cluster was running on the data folder {path_text(settings.data_dir)}.")
