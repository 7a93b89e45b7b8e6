"""The options that say what a run's items are: the same for every command that takes items of any kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from sheaf.run.task_spec import TaskSpec
from sheaf.submission.occupied import chosen
from sheaf.submission.submit import SubmitOptions
from sheaf_producer.inputs import FORMATS, Inputs
from sheaf_producer.submit.map import Choice, Request

F = TypeVar("F", bound=Callable[..., Any])
#: How a delimiter may be written that is hard to type.
_TAB = ("tab", "\\t")


class Share(click.ParamType):  # type: ignore[type-arg]  # generic in newer versions of click only
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


class Delimiter(click.ParamType):  # type: ignore[type-arg]  # generic in newer versions of click only
    """One character, or `tab`."""

    name = "delimiter"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        delimiter = "\t" if value in _TAB else str(value)
        if len(delimiter) != 1 or delimiter in '"\r\n\0 ':
            self.fail(f"{value!r} cannot be a delimiter; give one character, such as ';', or tab", param, ctx)
        return delimiter


_OPTIONS = (
    click.option("--input-format", "format", type=click.Choice(FORMATS), help="What the inputs hold [by suffix]."),
    click.option("--column", metavar="NAME", help="For CSV and Parquet: this column's values are the items [rows]."),
    click.option("--delimiter", type=Delimiter(), metavar="';'", help="For CSV: the delimiter [, or, for .tsv, tab]."),
    click.option("--files", is_flag=True, help="INPUT is a quoted pattern; the paths of the files are the items."),
    click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the first N items."),
    click.option("--sample", "share", type=Share(), metavar="1%", help="A sample of the items, chosen by --seed."),
    click.option("--seed", type=int, default=0, metavar="N", help="Chooses the sample [0]."),
    click.option("--unique", is_flag=True, help="Remove duplicates."),
    click.option("--detach", "-d", is_flag=True, help="Return at once; print the run's name."),
    click.option(
        "--again",
        is_flag=True,
        help="Do once more what was done before: added to the output or, with --replace, into a new one.",
    ),
    click.option("--append", is_flag=True, help="If the output holds other runs: add to it."),
    click.option(
        "--replace", is_flag=True, help="If the output holds other runs: start a new one, and keep the old one."
    ),
    click.option("--retry", is_flag=True, help="If this was done before, redo what failed, into the same file."),
    click.option("--only-failed", is_flag=True, help="Like --retry, but do nothing if it was not done before."),
    click.option("--ordered", is_flag=True, help="Write a copy in the input's order at the end: OUT.ordered.jsonl."),
    click.option("--timeout", "timeout_s", type=float, metavar="SECONDS", help="Time limit of one item [none]."),
    click.option(
        "--batch-size", type=click.IntRange(1, 1_000_000), metavar="N", help="Items per batch [by their number]."
    ),
    click.option("--explain", is_flag=True, help="Print at the end what was chosen automatically, and why."),
)


def input_options(function: F) -> F:
    """Add the options to a command."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def request_of(spec: TaskSpec, names: tuple[str, ...], tuning: frozenset[str], given: dict[str, Any]) -> Request:
    """The options as one value."""
    how = SubmitOptions(
        batch_size=given["batch_size"],
        tuning=tuning,
        again=given["again"],
        onto=chosen(append=given["append"], replace=given["replace"]),
        only_known=given["only_failed"],
        any_version=given["retry"] or given["only_failed"],
    )
    return Request(
        spec,
        Inputs(names, given["format"], given["column"], given["files"], given["delimiter"]),
        given["output"],
        Choice(given["limit"], given["share"], given["seed"], given["unique"]),
        how,
        ordered=given["ordered"],
    )
