"""`sheaf verify`: is everything in the output that should be, once and whole?"""

from __future__ import annotations

import contextlib

import click

from sheaf.core.errors import RunNotFound
from sheaf.core.humanize import bytes_text, count_text, path_text
from sheaf.core.settings import Settings
from sheaf.output.repair.verify import Report, RunReport
from sheaf.output.repair.verify import verify as check
from sheaf.run.resolve import locate_existing_output, locate_run
from sheaf.run.run import Run

#: Problems that are listed; of further ones, only the number.
LISTED_PROBLEMS = 20


@click.command(short_help="Check that an output holds everything, once and whole.")
@click.argument("output")
@click.option("--run", "run_name", metavar="RUN", help="Count this run's items only [those of all runs in OUTPUT].")
@click.pass_obj
def verify(settings: Settings, output: str, run_name: str | None) -> None:
    """Check OUTPUT against its index and its runs: every byte, every item.

    Exit status 0 if each item is in it once and whole, or among the failures; 1 if one is missing or twice, a record
    is torn, or there are bytes that were never committed. OUTPUT may be in use meanwhile.

    \b
    sheaf verify pages.warc.gz
    """
    inside = locate_existing_output(settings.data_dir, output)
    run = None if run_name is None else locate_run(settings.data_dir, run_name).manifest.run
    report = check(settings.data_dir, inside, run)
    _show(settings, report)
    raise SystemExit(0 if report.ok else 1)


def _show(settings: Settings, report: Report) -> None:
    click.echo(f"{path_text(report.output)}: {bytes_text(report.length)} in {count_text(report.commits, 'commit')}")
    if len(report.runs) > 1:
        for run in report.runs:
            click.echo(f"  run {run.run}: {_counts(run)}")
    click.echo(f"  {_counts(report)}, {report.torn:,} torn")
    for problem in report.problems[:LISTED_PROBLEMS]:
        click.echo(f"  wrong: {problem}")
    if len(report.problems) > LISTED_PROBLEMS:
        click.echo(f"  … and {len(report.problems) - LISTED_PROBLEMS:,} more")
    for note in report.notes[:LISTED_PROBLEMS]:
        click.echo(f"  note: {note}")
    if report.ok:
        click.echo("OK: every item is in the file once and whole, or among the failures.")
    elif not report.problems:
        unfinished = next(run.run for run in report.runs if run.missing)
        click.echo(f"What is there is correct, but not everything is there yet: {_way_on(settings, unfinished)}")
    elif len(report.problems) == report.damaged_runs:
        click.echo("NOT OK. The output itself is as it was written, but its runs' files cannot be trusted.")
    else:
        click.echo(f"NOT OK. What can be repaired: sheaf repair {path_text(report.output)}")


def _way_on(settings: Settings, name: str) -> str:
    with contextlib.suppress(RunNotFound):
        if Run.open(settings.data_dir, name).cancelled:
            return f"run {name} was cancelled; submit the same again to go on with it"
    return f"sheaf watch {name}"


def _counts(counted: Report | RunReport) -> str:
    return (
        f"{count_text(counted.items, 'item')}: {counted.done:,} done, {counted.failed:,} failed, "
        f"{counted.missing:,} missing, {counted.duplicate:,} duplicate"
    )
