"""`sheaf status`: the runs of a data folder and the workers that live, or one run in detail."""

from __future__ import annotations

import itertools

import click

from sheaf.broker import keys
from sheaf.broker.connection import connect
from sheaf.broker.lock import LockStatus, lock_status
from sheaf.broker.worker_registry import WorkerInfo, WorkerRegistry
from sheaf.core.errors import ClusterError, OutputError, RunNotFound
from sheaf.core.files import exists
from sheaf.core.humanize import bytes_text, count_text, path_text, seconds_text, value_text
from sheaf.core.last_words import last_words
from sheaf.core.settings import Settings
from sheaf.core.terminal import one_line
from sheaf.output.blocker import blocker
from sheaf.output.index.rows import RunRow
from sheaf.output.output import Output
from sheaf.run.resolve import locate_run
from sheaf.run.run import Run, is_finished, list_runs, list_strangers
from sheaf.tasks.versions import versions
from sheaf.view.choices import choices
from sheaf.view.presence import absence, cluster_news, living_workers
from sheaf.view.problems import problems

#: Runs that the overview lists.
LISTED_RUNS = 10
#: Broken workers whose last words it shows.
LISTED_DEATHS = 5


@click.command(short_help="Show the workers and the runs.")
@click.argument("run", required=False)
@click.option("--explain", is_flag=True, help="Show what the workers have chosen automatically, and why.")
@click.pass_obj
def status(settings: Settings, run: str | None, explain: bool) -> None:
    """Show the workers and the newest runs, or one run with what each worker did.

    RUN is a run's name, the beginning or end of it, or `last`.

    \b
    sheaf status
    sheaf status last --explain
    """
    found = None if run is None else locate_run(settings.data_dir, run)
    if found is None:
        _overview(settings)
    else:
        _detail(settings, found)
    if explain:
        for line in choices(settings, found):
            click.echo(line)


def _overview(settings: Settings) -> None:
    click.echo(f"Data folder {path_text(settings.data_dir)}")
    _show_workers(settings)
    _show_troubles(settings)
    names = list_runs(settings.data_dir)
    if names:
        newest = f", the newest {LISTED_RUNS}" if len(names) > LISTED_RUNS else ""
        click.echo(f"{count_text(len(names), 'run')}{newest}")
        _show_runs(settings, names)
    else:
        click.echo("No runs yet; start one with: sheaf load urls.txt")
    for path in list_strangers(settings.data_dir):
        click.echo(f"ignored  {one_line(path_text(path))} is not a run: move it away")


def _show_runs(settings: Settings, names: list[str]) -> None:
    """A run that cannot be opened is shown with the reason, among the others."""
    opened = {name: _open(settings, name) for name in reversed(names[-LISTED_RUNS:])}
    _table([_run_row(settings, run) if isinstance(run, Run) else [name, "set aside"] for name, run in opened.items()])
    unfinished = [run for run in opened.values() if isinstance(run, Run) and not run.finished]
    for line in problems(settings, unfinished):
        click.echo(line)
    # An older one that is finished blocks nothing.
    older = {name: _open_unfinished(settings, name) for name in names[:-LISTED_RUNS]}
    for name, found in (opened | older).items():
        if isinstance(found, RunNotFound):
            click.echo(f"problem  {name}: {one_line(str(found))}")
    for output in sorted({run.manifest.output for run in unfinished}):
        _show_blocker(settings, output)


def _open(settings: Settings, name: str) -> Run | RunNotFound:
    """The run, or why it cannot be opened; its markers are checked too."""
    try:
        run = Run.open(settings.data_dir, name)
        _ = run.finished, run.cancelled
    except RunNotFound as error:
        return error
    return run


def _open_unfinished(settings: Settings, name: str) -> Run | RunNotFound | None:
    try:
        return None if is_finished(settings.data_dir, name) else _open(settings, name)
    except RunNotFound as error:
        return error


def _run_row(settings: Settings, run: Run) -> list[str]:
    manifest = run.manifest
    try:
        progress = read_progress(settings, run)
    except (OutputError, OSError):
        return [manifest.run, "unreadable", f"{manifest.items:,}", "", manifest.output]
    if progress is None:
        return [manifest.run, "no output", f"{manifest.items:,}", "", manifest.output]
    failed = f"{progress.failed:,} failed" if progress.failed else ""
    return [manifest.run, _state(run, progress), f"{progress.done:,} of {manifest.items:,}", failed, manifest.output]


def _detail(settings: Settings, run: Run) -> None:
    manifest = run.manifest
    path = settings.data_dir / manifest.output
    click.echo(f"run      {manifest.run}, submitted {manifest.created}")
    options = "".join(f" {name}={value_text(value)}" for name, value in manifest.spec.options.items())
    click.echo(f"task     {manifest.spec.task}{options}")
    for version in versions(run):
        click.echo(f"version  {version.name} since {version.since}: {', '.join(version.files)}")
    batches = count_text(manifest.batches, "batch")
    click.echo(f"items    {manifest.items:,} in {batches}, from {one_line(manifest.source) or '?'}")
    if manifest.rejected:
        click.echo(f"rejected {count_text(manifest.rejected, 'line')}, see {path_text(run.folder / 'rejected.jsonl')}")
    try:
        progress = read_progress(settings, run)
    except (OutputError, OSError) as error:
        click.echo(f"output   {error}")
        _show_redis(settings, run)
        return
    if progress is None:
        why = "does not know this run" if exists(path) else "is not there"
        click.echo(f"output   {path_text(path)} {why}")
        _show_redis(settings, run)
        return
    click.echo(f"state    {_state(run, progress)}: {progress.done:,} done, {progress.failed:,} failed")
    click.echo(f"output   {path_text(path)}, {bytes_text(progress.bytes)} of this run")
    _show_redis(settings, run)
    _show_blocker(settings, manifest.output)
    output = Output(path)
    try:
        shares = output.reader.shares(manifest.run)
    finally:
        output.close()
    _table(
        [
            [
                share.worker,
                count_text(share.items, "item"),
                bytes_text(share.bytes),
                count_text(share.commits, "commit"),
            ]
            for share in sorted(shares, key=lambda share: share.worker)
        ]
    )


def read_progress(settings: Settings, run: Run) -> RunRow | None:
    """What the output knows of a run; None if there is no output, or it does not know the run.

    Raises OutputError or OSError if it cannot be read.
    """
    path = settings.data_dir / run.manifest.output
    if not exists(path):
        return None
    output = Output(path)
    try:
        return output.reader.runs().get(run.manifest.run)
    finally:
        output.close()


def _state(run: Run, progress: RunRow) -> str:
    if progress.done + progress.failed == run.manifest.items:
        return "finished"
    return "cancelled" if run.cancelled else "unfinished"


def _show_workers(settings: Settings) -> None:
    try:
        with connect(settings, timeout_s=2.0) as connection:
            registry = WorkerRegistry(connection)
            entries = registry.workers()
            absent = absence(settings, registry, entries)
    except ClusterError as error:
        living = living_workers(settings)
        click.echo(f"Workers: not known ({error})" + (f"; these live: {', '.join(living)}" if living else ""))
        return
    silent = sum(entry.silent for entry in entries)
    without = f", and {silent} without a sign of life" if silent else ""
    if entries:
        click.echo(count_text(len(entries) - silent, "worker") + without)
    if absent is not None:
        click.echo(f"problem  {absent}" if entries else f"{absent[0].upper()}{absent[1:]}.")
    _table([_worker_row(entry) for entry in entries])


def _show_troubles(settings: Settings) -> None:
    """Workers that broke, and what the supervisor has done."""
    for death in last_words(settings.data_dir)[:LISTED_DEATHS]:
        times = f", {death.times} consecutive times" if death.times > 1 else ""
        click.echo(f"broke    {death.label} (pid {death.pid}), {seconds_text(death.ago_s)} ago{times}: {death.cause}")
    for news in cluster_news(settings):
        click.echo(f"cluster  {news}")


def _worker_row(entry: WorkerInfo) -> list[str]:
    fields = entry.fields
    return [
        entry.label,
        f"no sign of life for {seconds_text(entry.silent_s)}" if entry.silent else fields.get("state", "?"),
        count_text(entry.number("pool"), "process"),
        f"{entry.number('in_hand'):,} in hand",
        f"{count_text(entry.number('items'), 'item')} done",
        f"pid {fields.get('pid', '?')}: stopped or dead; others take its batches"
        if entry.silent
        else f"seen {seconds_text(entry.silent_s)} ago",
        fields.get("problem", ""),
    ]


def _show_redis(settings: Settings, run: Run) -> None:
    """What keeps the run from progressing, and which worker is next at its output."""
    try:
        with connect(settings, timeout_s=2.0) as connection:
            problem = WorkerRegistry(connection).problem(run.manifest.run)
            lock = lock_status(connection, keys.output_lock(run.manifest.output))
    except ClusterError as error:
        click.echo(f"workers  not known ({error})")
        return
    click.echo(f"lock     {_lock_text(lock)}")
    if problem is not None:
        worker = one_line(problem.worker) or "reconciler"
        click.echo(f"problem  {one_line(problem.text)} ({worker}, {seconds_text(problem.since_s)} ago)")


def _lock_text(lock: LockStatus) -> str:
    waits = f"; {count_text(lock.waiting, 'worker')} waiting" if lock.waiting else ""
    if not lock.holder:
        return f"free, last token {lock.token}{waits}"
    return f"held by {one_line(lock.label)} for {seconds_text(lock.held_s)}, token {lock.token}{waits}"


def _show_blocker(settings: Settings, output: str) -> None:
    """Which process keeps all others from writing to the output, if any."""
    try:
        holder = blocker(settings.data_dir / output)
    except OutputError:
        return  # it is said elsewhere that this output cannot be read
    if holder is not None:
        click.echo(f"blocked  {output}: {holder.describe()}")


def _table(rows: list[list[str]]) -> None:
    """Print rows in columns; numbers are not treated differently, since each column reads as words."""
    rows = [[one_line(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in itertools.zip_longest(*rows, fillvalue="")]
    for row in rows:
        click.echo(("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False))).rstrip())
