"""`sheaf prune`: remove what is no longer needed in a data folder."""

from __future__ import annotations

import re
import sys
from collections import defaultdict

import click

from sheaf.core.humanize import bytes_text, count_text, path_text
from sheaf.core.settings import Settings
from sheaf.scheduling import prune as library
from sheaf.scheduling.prune import Waste

#: Seconds of the units that an age may have.
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
#: Things of one kind that are named, before the rest is only counted.
_NAMED = 5


class Age(click.ParamType[float]):
    """`30d`, `12h`, `0s`: a number and a unit."""

    name = "AGE"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", str(value))
        if match is None:
            self.fail(f"{value!r} is no age; write a number and s, m, h, d or w: 30d, 12h, 0s", param, ctx)
        return float(match[1]) * _UNITS[match[2]]


@click.command(short_help="Remove finished runs' lists and leftovers.")
@click.option(
    "--older-than", type=Age(), default="30d", show_default=True, help="Only what ended at least this long ago."
)
@click.option("--failed", is_flag=True, help="Also runs with failed items; they cannot be retried then.")
@click.option("--cancelled", is_flag=True, help="Also cancelled runs; they cannot be resumed then.")
@click.option("--aside", is_flag=True, help="Also what was moved aside next to outputs: .stray-1, .damaged-1, …")
@click.option("--dry-run", is_flag=True, help="Only show what would be removed.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.pass_obj
def prune(
    settings: Settings, older_than: float, failed: bool, cancelled: bool, aside: bool, dry_run: bool, yes: bool
) -> None:
    """Remove the lists of finished runs, and what killed programs have left.

    Outputs stay, with their indexes: `get`, `export`, `verify` and `failures` work as before. What goes with a run's
    list: it cannot be retried, and the same submission is not known again. Unfinished runs are never touched.

    \b
    sheaf prune --dry-run
    sheaf prune --older-than 7d --yes
    sheaf prune --older-than 0s --cancelled --aside
    """
    wanted = library.Wanted(older_than, failed=failed, cancelled=cancelled, aside=aside)
    found = list(library.find_waste(settings.data_dir, wanted))
    if not found:
        click.echo(f"Nothing in {path_text(settings.data_dir)} can be removed.")
        return
    _show(found)
    total = f"{count_text(len(found), 'thing')}, {bytes_text(sum(waste.size for waste in found))}"
    if dry_run:
        click.echo(f"{total} would be removed; nothing was changed.")
        return
    if not yes and not _agreed(total):
        return
    removed = [waste for waste in found if library.remove(settings.data_dir, waste, wanted)]
    library.forget_removed(settings.data_dir)
    size = bytes_text(sum(waste.size for waste in removed))
    kept = f"; {count_text(len(found) - len(removed), 'thing')} had come to life, and stayed" * (removed != found)
    click.echo(f"Removed {count_text(len(removed), 'thing')}, {size}{kept}.")


def _show(found: list[Waste]) -> None:
    kinds: dict[str, list[Waste]] = defaultdict(list)
    for waste in found:
        kinds[re.sub(r" with .*", " with failed items", waste.what)].append(waste)
    for kind, wastes in kinds.items():
        click.echo(f"{kind}: {len(wastes):,}, {bytes_text(sum(waste.size for waste in wastes))}")
        for waste in wastes[:_NAMED]:
            click.echo(f"  {path_text(waste.path)}  {bytes_text(waste.size)}")
        if len(wastes) > _NAMED:
            click.echo(f"  … and {len(wastes) - _NAMED:,} more")


def _agreed(total: str) -> bool:
    if not sys.stdin.isatty():
        raise click.UsageError("there is no terminal to ask on: give --yes to remove them, or --dry-run to only look")
    return click.confirm(f"Remove {total}?")
