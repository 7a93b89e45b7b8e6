"""`sheaf repair`: bring an output and its index back in step, where that is possible; says first what it would do."""

from __future__ import annotations

import click

from sheaf.broker.connection import connect
from sheaf.broker.worker_registry import WorkerRegistry
from sheaf.core.errors import ClusterError
from sheaf.core.files import exists
from sheaf.core.humanize import bytes_text, count_text, path_text
from sheaf.core.settings import Settings
from sheaf.output.repair.rebuild import Rebuilt, rebuild, runs_into
from sheaf.output.repair.repair import Diagnosis, clear_end, diagnose, list_strays
from sheaf.output.repair.repair import repair as apply_repair
from sheaf.output.repair.verify import verify
from sheaf.run.resolve import locate_existing_output

#: Damaged commits that are listed; of further ones, only the number.
LISTED = 20


@click.command(short_help="Repair an output that was damaged, shortened, removed, or lost its index.")
@click.argument("output")
@click.option("--apply", is_flag=True, help="Do it. Without this, only show what would be done.")
@click.pass_obj
def repair(settings: Settings, output: str, apply: bool) -> None:
    """Keep every intact commit of OUTPUT, and have the items of the others done again.

    Without --apply nothing is changed. Nothing is destroyed: what is taken out of OUTPUT is kept in OUTPUT.damaged-1
    and so on. Workers may run meanwhile; they wait for it.

    Exit status 0 if there is nothing to repair, or it was repaired; 1 if there is and --apply was not given, or if
    something is wrong that cannot be repaired: then it says what.

    \b
    sheaf repair pages.warc.gz
    sheaf repair pages.warc.gz --apply
    """
    inside = locate_existing_output(settings.data_dir, output)
    path = settings.data_dir / inside
    if exists(path.with_name(f"{path.name}.index")):
        found = apply_repair(settings.data_dir, inside) if apply else diagnose(settings.data_dir, inside)
        needed = found.needed or found.beyond > 0
        _show(found, apply)
        if apply and (found.beyond or found.size is None):
            clear_end(path)  # a file that is gone is begun anew with it, empty
    else:
        _show_rebuilt(rebuild(settings.data_dir, inside, apply=apply), apply)
        needed = True
    if needed and apply:
        _have_workers_look_again(settings, inside)
    if needed and not apply:
        click.echo(f"Nothing was changed. Do it: sheaf repair {output} --apply")
        raise SystemExit(1)
    if left := verify(settings.data_dir, inside).problems:
        click.echo("What is left cannot be repaired from here:")
        for problem in left[:LISTED]:
            click.echo(f"  wrong: {problem}")
        click.echo(
            "Restore what is named from a copy, or submit the run again into another output: what is whole can be "
            "read and exported as it is."
        )
        raise SystemExit(1)
    click.echo("Repaired. Workers will redo the reopened items." if needed else "Nothing to repair.")


def _have_workers_look_again(settings: Settings, inside: str) -> None:
    """After an output was refused they leave its run alone for half a minute; without Redis they check then."""
    try:
        with connect(settings, timeout_s=2.0) as connection:
            registry = WorkerRegistry(connection)
            for run in runs_into(settings.data_dir, inside):
                registry.clear_problem(run.manifest.run)
    except ClusterError as error:
        click.echo(f"Workers could not be notified ({error})")


def _show(found: Diagnosis, applied: bool) -> None:
    name = path_text(found.output)
    size = "gone" if found.size is None else bytes_text(found.size)
    whole = sum(commit.run is not None for commit in found.kept)
    click.echo(f"{name}: {size}, {bytes_text(found.length)} committed; {count_text(whole, 'commit')} whole")
    for commit in found.lost[:LISTED]:
        row = commit.row
        what = f"{count_text(row.items, 'record')} of run {commit.run}" if commit.run else "the header"
        click.echo(f"  damaged: commit {row.id} at byte {row.offset:,} ({bytes_text(row.length)}): {what}")
    if found.header:
        click.echo("  damaged: the header, which is known and will be rewritten")
    if len(found.lost) > LISTED:
        click.echo(f"  … and {len(found.lost) - LISTED:,} more")
    if found.size is not None and found.size > found.length:
        click.echo(
            f"  {bytes_text(found.size - found.length)} come after the last commit: they are cut off, or moved aside "
            "if they are not Sheaf's; a writer that is at work now may have written them"
        )
    for stray in list_strays(found.output):
        click.echo(f"  kept aside: {path_text(stray)} ({bytes_text(stray.stat().st_size)})")
    for run, text in found.mends:
        click.echo(f"  wrong in the index{f', run {run}' if run else ''}: {text}")
    if found.needed:
        _show_actions(found, applied)


def _show_actions(found: Diagnosis, applied: bool) -> None:
    would = "" if applied else "would be "
    if found.mends:
        click.echo(f"  {would}rewritten in the index: what follows from the commits and failures")
    restored = sum(commit.source is not None for commit in found.kept)
    if restored:
        click.echo(f"  {would}restored from what an unfinished repair moved aside: {count_text(restored, 'commit')}")
    if found.size is not None and (found.lost or found.header or restored):
        what = "the end of the file is" if found.in_place else "the file is rewritten without them; the old one is"
        where = path_text(found.aside) if found.aside else f"{found.output.name}.damaged-<n>"
        click.echo(f"  {would}cut to {bytes_text(found.new_length)}: {what} kept in {where}")
    for run, items in found.reopened.items():
        click.echo(f"  {would}reopened: {count_text(items, 'item')} of run {run}")
    for run in found.orphans:
        click.echo(f"  the list of run {run} is gone from the data folder: its reopened items cannot be done again")


def _show_rebuilt(rebuilt: Rebuilt, applied: bool) -> None:
    click.echo(f"{path_text(rebuilt.output)} has no index; its lines say which items they are:")
    for run, items in rebuilt.items.items():
        click.echo(f"  run {run}: {rebuilt.found[run]:,} of {count_text(items, 'item')} are in the file")
    if rebuilt.unknown:
        click.echo(f"  {count_text(rebuilt.unknown, 'line')} in it: not an item of these runs, or a duplicate")
    click.echo("  which items had failed is no longer known; they will be tried again")
    if applied:
        click.echo(f"The index was rebuilt; the original file is kept in {path_text(rebuilt.aside or rebuilt.output)}.")
