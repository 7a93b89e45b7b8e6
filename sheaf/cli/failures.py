"""`sheaf failures`: what failed, and why, grouped by the class of the error and the place where it was raised."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import click

from sheaf.core.errors import RunDamaged
from sheaf.core.humanize import count_text
from sheaf.core.settings import Settings
from sheaf.core.terminal import data, one_line
from sheaf.output.index.rows import Failure
from sheaf.output.output import Output
from sheaf.run.items import Batch, failure_class
from sheaf.run.resolve import locate_run
from sheaf.run.run import Run
from sheaf.tasks.tracebacks import Fault, split
from sheaf.view.problems import problems

#: Groups that are shown; each may come with a traceback.
SHOWN_GROUPS = 20
#: Characters of an item that are shown: it may be a megabyte of JSON.
_ITEM_CHARS = 200


@dataclass(slots=True)
class _Group:
    """Failures of one class, raised at one place; one of them is shown for all."""

    count: int
    first: Failure


@click.command(short_help="List what failed, and why.")
@click.argument("run", required=False)
@click.option("--error", "wanted", help="Only failures of this class.")
@click.option("--all", "one_by_one", is_flag=True, help="Every item with its reason, instead of the groups.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line, for programs.")
@click.option(
    "--items", "only_items", is_flag=True, help="Only the items, one per line: a list that can be loaded again."
)
@click.pass_obj
def failures(
    settings: Settings, run: str | None, wanted: str | None, one_by_one: bool, as_json: bool, only_items: bool
) -> None:
    """List a run's failed items, grouped by the error's class and place, with the number of each and an example.

    RUN is a run's name, or its beginning or end; the default is the newest.

    \b
    sheaf failures
    sheaf failures 3f9a02 --error ValueError --all
    sheaf failures 3f9a02 --json | jq .error
    sheaf failures --items | sheaf load - --deadline 120
    """
    found = locate_run(settings.data_dir, run)
    output = Output(settings.data_dir / found.manifest.output)
    items = _Items(found)
    try:
        chosen = (
            failure
            for failure in output.reader.failures(found.manifest.run)
            if wanted is None or failure.error == failure_class(wanted)
        )
        if as_json or only_items or one_by_one:
            shown = _as_item if only_items else _as_json if as_json else _as_text
            count = _show_each(items, chosen, shown, click.echo if shown is _as_text else data)
        else:
            count = _show_groups(items, chosen)
    finally:
        output.close()
    if items.damage is not None:
        raise items.damage
    if not found.finished:
        for line in problems(settings, [found]):
            click.echo(line, err=True)
    if not as_json and not only_items:
        click.echo(f"{count_text(count, 'item')} of run {found.manifest.run} failed.", err=True)


class _Items:
    """The failed items' texts. Where the list is damaged, a note takes their place."""

    def __init__(self, run: Run) -> None:
        self._run = run
        #: What is wrong with the list, as far as it was read.
        self.damage: RunDamaged | None = None

    def text(self, failure: Failure) -> str:
        manifest = self._run.manifest
        batch = Batch(manifest.run, manifest.batch_number(failure.index), failure.index, 1)
        try:
            return self._run.items(batch)[0].text
        except RunDamaged as error:
            self.damage = error
            return "(not known: the run's list is damaged)"


def _show_each(
    items: _Items, chosen: Iterator[Failure], shown: Callable[[Failure, str], str], show: Callable[[str], None]
) -> int:
    count = 0
    for failure in chosen:
        count += 1
        text = items.text(failure)
        if shown is _as_item and items.damage is not None:
            # A list to be loaded again holds nothing that is no item.
            break
        show(shown(failure, text))
    return count


def _show_groups(items: _Items, chosen: Iterator[Failure]) -> int:
    """The largest group first."""
    groups: dict[tuple[str, str], _Group] = {}
    count = 0
    for failure in chosen:
        count += 1
        group = groups.setdefault((failure.error, split(failure.message).place), _Group(0, failure))
        group.count += 1
    ordered = sorted(groups.items(), key=lambda entry: -entry[1].count)
    for (error, place), group in ordered[:SHOWN_GROUPS]:
        fault = split(group.first.message)
        click.echo(f"{group.count:>8,}  {error}" + (f" at {place}" if place else ""))
        click.echo(f"          item {group.first.index}: {one_line(items.text(group.first)[:_ITEM_CHARS])}")
        click.echo(textwrap.indent(fault.traceback or _reason(group.first, fault), " " * 10))
    if len(groups) > SHOWN_GROUPS:
        click.echo(f"          and {count_text(len(groups) - SHOWN_GROUPS, 'group')} more; see --all")
    return count


def _reason(failure: Failure, fault: Fault) -> str:
    """The message without the error's class, which is printed before it."""
    tries = f" (tried {failure.attempts} times)" if failure.attempts > 1 else ""
    return fault.summary.removeprefix(f"{failure.error}: ") + tries


def _as_item(_failure: Failure, item: str) -> str:
    return item


def _as_json(failure: Failure, item: str) -> str:
    fault = split(failure.message)
    fields = {
        "index": failure.index,
        "item": item,
        "error": failure.error,
        "message": fault.summary.removeprefix(f"{failure.error}: "),
    }
    fields |= {"place": fault.place, "traceback": fault.traceback, "attempts": failure.attempts}
    return json.dumps(fields, ensure_ascii=False)


def _as_text(failure: Failure, item: str) -> str:
    fault = split(failure.message)
    place = f" ({fault.place})" if fault.place else ""
    return f"{failure.index}  {one_line(item)}\n    {failure.error}: {one_line(_reason(failure, fault))}{place}"
