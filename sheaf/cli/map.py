"""`sheaf map`: a function over every item of a list."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import click

from sheaf.cli.options import input_options, request_of
from sheaf.core.errors import InputError, UsageError
from sheaf.core.settings import Settings
from sheaf.formats import check_holds
from sheaf.run.task_spec import TaskSpec
from sheaf.tasks.decorator import OVERRIDES
from sheaf_producer.submit.dry_run import ITEMS, dry_run
from sheaf_producer.submit.map import Request, described, output_name

#: Options that do not change what a function returns. `echo` and `columns` do change the record.
TUNING = frozenset(OVERRIDES)
#: Parameters of the command line that are options of the run, by the same name.
_RUN_OPTIONS = ("pass", "timeout_s", "attempts", "concurrency", "columns", "csv_safe")


@click.command("map", short_help="Apply a function to every item of a list.")
@click.argument("task", metavar="MODULE:FUNCTION")
@click.argument("inputs", metavar="INPUT...", nargs=-1, required=True)
@click.option("--output", "-o", help="The file; its suffix chooses the format [FUNCTION.jsonl].")
@click.option("--dry-run", is_flag=True, help="Show the results of the first items, computed here; submit nothing.")
@click.option(
    "--pass", "pass_", type=click.Choice(["text", "json", "call"]), help="How the function gets an item [by input]."
)
@click.option("--columns", metavar="A,B,C", help="For .csv output: keys of the objects that the function returns.")
@click.option("--csv-safe", is_flag=True, help="For .csv output: no field that a spreadsheet would treat as a formula.")
@click.option("--attempts", type=click.IntRange(1), metavar="N", help="How often an item is tried [the task's].")
@click.option(
    "--concurrency", type=click.IntRange(1), metavar="N", help="For async functions: items in flight per process."
)
@input_options
@click.pass_obj
def map_(settings: Settings, /, task: str, inputs: tuple[str, ...], **given: Any) -> None:
    """Apply a function to every item of the inputs; each result goes into one file, exactly once.

    MODULE:FUNCTION is a function in a file of the tasks folder (SHEAF_TASKS_DIR), or a harmless one of Python's own,
    such as math:sqrt. The same command again goes on with an unfinished run. Ctrl-C stops watching, not the run.

    \b
    INPUT                        the function gets
      lines.txt                  each line that is not blank, as text
      rows.jsonl                 each line's JSON value
      rows.csv rows.parquet      each row as a dict; with --column NAME that column's text
      'range(1000000)'           each number; as Python's range(), with up to three numbers
      --files 'photos/*.jpg'     each file's path
      -                          standard input: lines, or what --input-format says
    gzip, zstd, bzip2 and xz are unpacked. A pipe, as <(…), is lines, or what --input-format says.

    \b
    The output's suffix chooses the format:
      .jsonl .jsonl.gz           {"index": 0, "item": "…", "value": …} a line, as they are finished
      .csv                       index, item, value; or --columns of the objects that the function returns
      .txt                       each value as one line
      .parquet                   a table, made at the end (needs pyarrow)

    \b
    sheaf map shop:price items.txt -o prices.jsonl
    sheaf map math:sqrt 'range(1000000)' --ordered
    sheaf map photos:thumbnail --files 'photos/**/*.jpg' --timeout 20
    sheaf map shop:price items.csv --column url --dry-run
    """
    given["pass"] = given.pop("pass_")
    # Not asked for is no option of the run: it is the same run as before there was this option.
    given["csv_safe"] = given["csv_safe"] or None
    if given["csv_safe"] and not (given["output"] or "").lower().endswith(".csv"):
        raise UsageError("--csv-safe is for an output that ends in .csv; name one with -o, or omit it")
    if given["columns"] is not None:
        given["columns"] = [name.strip() for name in given["columns"].split(",")]
    options = {name: given[name] for name in _RUN_OPTIONS if given[name] is not None}
    request = request_of(TaskSpec(task, options), inputs, TUNING, given)
    if given["dry_run"]:
        _dry_run(settings, request)
        return
    carry_out(settings, request, detach=given["detach"], explain=given["explain"])


def carry_out(settings: Settings, request: Request, *, detach: bool, explain: bool) -> None:
    """Submit what was typed, follow it to its end, make the copy that was asked for; or only submit it."""
    from sheaf.submission.retry import has_open_ends, retry
    from sheaf_producer.submit.flow import follow_or_detach, report_retry
    from sheaf_producer.submit.map import submit_map

    submission, copy = submit_map(settings, request)
    if request.how.any_version and has_open_ends(settings, submission):
        again = retry(settings, submission.run)
        report_retry(again)
        submission = again.submission
    follow_or_detach(settings, submission, detach=detach, explain=explain)
    if copy is not None and detach:
        click.echo(f"When it is finished: {copy.command(submission.run)}", err=True)
    elif copy is not None:
        copy.make(settings, submission.run)


def _dry_run(settings: Settings, request: Request) -> None:
    description = described(settings, request)
    texts = first_items(request)
    spec = description.spec
    output = request.output or output_name(spec.task, description.output)
    if output.endswith(".parquet"):
        output += ".jsonl"  # which it is worked on as
    check_holds(output, "values")
    click.echo(dry_run(settings, spec.task, spec.options, output, texts), nl=False)
    click.echo("Nothing was submitted.", err=True)


def first_items(request: Request) -> list[str]:
    """The first few items; says what is rejected before them. Raises InputError if there is none."""
    wanted = min(ITEMS, request.choice.limit or ITEMS)
    texts: list[str] = []
    rejected: list[str] = []
    reading = request.inputs.read(lambda line: rejected.append(f"line {line.number} of {line.source}: {line.problem}"))
    with closing(reading) as read:
        for some in read:
            texts += some
            if len(texts) >= wanted:
                break
    for line in rejected[:ITEMS]:
        click.echo(f"rejected: {line}", err=True)
    if not texts:
        raise InputError(f"{request.inputs.names[0]} contains no items, so there is nothing to try")
    return texts[:wanted]
