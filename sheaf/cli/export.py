"""`sheaf export`: a run's records in a file of another format, or in the input's order."""

from __future__ import annotations

import os
from pathlib import Path

import click

from sheaf.core import permissions
from sheaf.core.errors import UsageError
from sheaf.core.humanize import bytes_text, count_text, path_text
from sheaf.core.settings import Settings
from sheaf.export import Export, check_destination
from sheaf.export import export as write
from sheaf.output.index.rows import RunRow
from sheaf.output.output import Output
from sheaf.run.resolve import locate_existing_output, locate_output, locate_run


@click.command(short_help="Write an output's records in another format, or in the input's order.")
@click.argument("output")
@click.argument("dest")
@click.option("--ordered", is_flag=True, help="In the order of the run's items.")
@click.option("--run", "run_name", metavar="RUN", help="The records of this run [the only one in OUTPUT].")
@click.option("--columns", metavar="A,B,C", help="For tables: only these columns, in this order.")
@click.option("--csv-safe", is_flag=True, help="For .csv: no field that a spreadsheet would treat as a formula.")
@click.option("--force", is_flag=True, help="Replace DEST if it exists.")
@click.pass_obj
def export(
    settings: Settings,
    output: str,
    dest: str,
    run_name: str | None,
    force: bool,
    ordered: bool,
    columns: str | None,
    csv_safe: bool,
) -> None:
    """Write the records of OUTPUT to DEST, whose suffix chooses the format: .jsonl, .jsonl.gz, .csv, .parquet, .txt.

    An output that is not JSON lines keeps its format. DEST is a file in the data folder; write ./DEST or a full path
    for another place. It is there whole or not at all, and has no index: a copy for others to read.

    \b
    sheaf export prices.jsonl prices.csv
    sheaf export prices.jsonl prices.parquet --ordered
    sheaf export pages.jsonl ./pages.csv --columns url,status,bytes --csv-safe
    sheaf export pages.warc.gz ordered.warc.gz --ordered
    """
    inside = locate_existing_output(settings.data_dir, output)
    elsewhere = dest.startswith(("./", "../", "/"))
    place = Path(dest) if elsewhere else settings.data_dir / locate_output(settings.data_dir, dest)
    check_destination(inside, place, replace=force)
    if csv_safe and not (dest.lower().endswith(".csv") and not inside.lower().endswith(".csv")):
        raise UsageError(
            f"--csv-safe is for a .csv made from JSON lines, which {output} to {dest} is not; omit it, or "
            "write the output itself with `sheaf map --csv-safe`"
        )
    if elsewhere:
        # It is no part of the data folder.
        os.umask(click.get_current_context().meta[permissions.UMASK])
    run, progress = _run_of(settings, inside, run_name)
    chosen = None if columns is None else [name.strip() for name in columns.split(",")]
    count = write(Export(settings.data_dir / inside, run, place, ordered, chosen, csv_safe))
    click.echo(f"{count_text(count, 'record')} in {path_text(place)} ({bytes_text(place.stat().st_size)})")
    if progress.failed:
        click.echo(f"{count_text(progress.failed, 'item')} of the run failed and are not in it.", err=True)
    if not progress.finished:
        left = progress.items - progress.done - progress.failed
        click.echo(f"The run is not finished: {count_text(left, 'item')} are still open.", err=True)


def _run_of(settings: Settings, inside: str, name: str | None) -> tuple[str, RunRow]:
    """The requested run, and its progress."""
    opened = Output(settings.data_dir / inside)
    try:
        runs = opened.reader.runs()
    finally:
        opened.close()
    wanted = None if name is None else locate_run(settings.data_dir, name).manifest.run
    if wanted is None:
        filled = [run for run, progress in runs.items() if progress.done]
        if len(filled) > 1:
            raise UsageError(
                f"{inside} holds records of {len(filled)} runs: {', '.join(filled[-5:])}; choose one: --run"
            )
        if not filled:
            raise UsageError(f"{inside} holds no records yet, so there is nothing to export")
        wanted = filled[0]
    if wanted not in runs:
        raise UsageError(f"run {wanted} does not go into {inside}")
    return wanted, runs[wanted]
