"""`sheaf retry`: have a run's failed items done again."""

from __future__ import annotations

import click

from sheaf.core.settings import Settings
from sheaf.run.resolve import locate_run


@click.command(short_help="Do a run's failed items again.")
@click.argument("run")
@click.option("--error", "errors", multiple=True, metavar="CLASS", help="Only failures of this class; may be repeated.")
@click.option("--item", "items", multiple=True, type=int, metavar="N", help="Only this item; may be repeated.")
@click.option("--detach", "-d", is_flag=True, help="Return at once; print the run's name.")
@click.pass_obj
def retry(settings: Settings, run: str, errors: tuple[str, ...], items: tuple[int, ...], detach: bool) -> None:
    """Do the failed items of a run again, into the same output, and follow the run to its end.

    RUN is a run's name, the beginning or end of it, or `last`. The task is taken as it is now: correct it first. An
    unfinished run that is paused because its task was changed goes on, with the task as it is now.

    \b
    sheaf retry last
    sheaf retry 3f9a02 --error Timeout --error ConnectionFailed
    sheaf retry 3f9a02 --item 17
    """
    from sheaf.submission.retry import retry as retry_run
    from sheaf_producer.submit.flow import follow_or_detach, report_retry

    found = locate_run(settings.data_dir, run)
    again = retry_run(settings, found, errors, items)
    report_retry(again)
    follow_or_detach(settings, again.submission, detach=detach)
