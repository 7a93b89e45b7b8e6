"""`sheaf map`: a function over every item of a list."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import click

from sheaf.settings import Settings

if TYPE_CHECKING:
    from sheaf_producer.mapping import Request

#: Parameters of the command line that are options of the run, by the same name.
_RUN_OPTIONS = ("pass", "timeout_s", "attempts", "concurrency", "columns")


class _Share(click.ParamType):  # type: ignore[type-arg]  # generic in newer versions of click only
    """`1%` or `0.01`."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        text = str(value).strip()
        try:
            share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
        except ValueError:
            share = -1.0
        if not 0 < share <= 1:
            self.fail(f"{value!r} is no part of a whole; write it as 1% or 0.01", param, ctx)
        return share


@click.command("map", short_help="Apply a function to every item of a list.")
@click.argument("task", metavar="MODULE:FUNCTION")
@click.argument("inputs", metavar="INPUT...", nargs=-1, required=True)
@click.option("--output", "-o", help="The file; its suffix chooses the format [FUNCTION.jsonl].")
@click.option("--detach", "-d", is_flag=True, help="Return at once; print the run's name.")
@click.option("--again", is_flag=True, help="Do even what was done before.")
@click.option("--retry", is_flag=True, help="If this was done before, do what failed once more, into the same file.")
@click.option("--only-failed", is_flag=True, help="As --retry, and nothing if it was not done before.")
@click.option("--dry-run", is_flag=True, help="Show what the first items become, here; submit nothing.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="The first N items only.")
@click.option("--sample", "share", type=_Share(), metavar="1%", help="A part of the items, chosen by --seed.")
@click.option("--seed", type=int, default=0, metavar="N", help="Another sample [0].")
@click.option("--unique", is_flag=True, help="Each text once.")
@click.option("--ordered", is_flag=True, help="Write a copy in the input's order at the end: OUT.ordered.jsonl.")
@click.option(
    "--input-format", "format", type=click.Choice(["lines", "jsonl", "csv", "tsv", "parquet"]), help="[by suffix]"
)
@click.option("--column", metavar="NAME", help="Of CSV and Parquet: this column's values are the items [whole rows].")
@click.option("--files", is_flag=True, help="INPUT is a quoted pattern; the paths of the files it finds are the items.")
@click.option(
    "--pass", "pass_", type=click.Choice(["text", "json", "call"]), help="How the function gets an item [by input]."
)
@click.option("--columns", metavar="A,B,C", help="Of a .csv output: keys of the objects that the function returns.")
@click.option("--timeout", "timeout_s", type=float, metavar="SECONDS", help="For one item [none].")
@click.option("--attempts", type=click.IntRange(1), metavar="N", help="How often an item is tried [the task's].")
@click.option("--concurrency", type=click.IntRange(1), metavar="N", help="Of an async function: items in flight.")
@click.option("--batch-size", type=click.IntRange(1, 1_000_000), metavar="N", help="Items per batch [by their number].")
@click.option("--explain", is_flag=True, help="Say at the end what was chosen for you, and why.")
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
    .gz and .zst are unpacked.

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
    from sheaf_producer.inputs import Inputs
    from sheaf_producer.mapping import Choice, Request

    given["pass"] = given.pop("pass_")
    if given["columns"] is not None:
        given["columns"] = [name.strip() for name in given["columns"].split(",")]
    options = {name: given[name] for name in _RUN_OPTIONS if given[name] is not None}
    request = Request(
        task,
        Inputs(inputs, given["format"], given["column"], given["files"]),
        options,
        given["output"],
        Choice(given["limit"], given["share"], given["seed"], given["unique"]),
        given["batch_size"],
        given["again"],
        given["only_failed"],
        given["retry"] or given["only_failed"],
        given["ordered"],
    )
    if given["dry_run"]:
        _dry_run(settings, request)
        return
    _run(settings, request, given)


def _run(settings: Settings, request: Request, given: dict[str, Any]) -> None:
    from sheaf_producer.deliver import conclude
    from sheaf_producer.mapping import submit_map
    from sheaf_producer.retry import has_open_ends, retry

    delivery, copy = submit_map(settings, request)
    if request.any_version and has_open_ends(settings, delivery):
        delivery = retry(settings, delivery.run)
    conclude(settings, delivery, detach=given["detach"], explain=given["explain"])
    if copy is not None and given["detach"]:
        click.echo(f"When it is finished: {copy.command(delivery.run)}", err=True)
    elif copy is not None:
        copy.make(settings, delivery.run)


def _dry_run(settings: Settings, request: Request) -> None:
    from sheaf.errors import InputError
    from sheaf.formats import check_holds
    from sheaf_producer.dry_run import ITEMS, dry_run
    from sheaf_producer.mapping import described, output_name

    description, options = described(settings, request)
    texts: list[str] = []
    rejected: list[str] = []
    inputs = request.inputs
    with closing(
        inputs.read(lambda line: rejected.append(f"line {line.number} of {line.source}: {line.problem}"))
    ) as read:
        for some in read:
            texts += some
            if len(texts) >= ITEMS:
                break
    for line in rejected[:ITEMS]:
        click.echo(f"rejected: {line}", err=True)
    if not texts:
        raise InputError(f"{inputs.names[0]} holds no item; there is nothing to try")
    output = request.output or output_name(request.task, description.output)
    if output.endswith(".parquet"):
        output += ".jsonl"  # which it is worked on as
    check_holds(output, "values")
    wanted = min(ITEMS, request.choice.limit or ITEMS)
    click.echo(dry_run(settings, request.task, options, output, texts[:wanted]), nl=False)
    click.echo("Nothing was submitted.", err=True)
