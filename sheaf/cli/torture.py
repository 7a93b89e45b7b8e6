"""`sheaf torture`: does it hold on this machine, on this disk?"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sheaf.chaos.plan import ERROR_WEIGHTS, LEASES, WEIGHTS
from sheaf.core.humanize import count_text, seconds_text

if TYPE_CHECKING:
    from sheaf.chaos.outcome import Outcome
    from sheaf.chaos.tiny import TinyOutcome

#: Minutes within which a sabotage must be found.
SABOTAGE_MINUTES = 5.0


@click.command(short_help="Kill and break everything, many times, and check that nothing is lost.")
@click.option("--seed", type=int, metavar="N", help="Run this seed only.")
@click.option(
    "--seeds", type=click.IntRange(0), default=10, show_default=True, metavar="N", help="How many; 0: only --report."
)
@click.option("--first", type=int, metavar="N", help="The first seed [1, or the one after the last in --results].")
@click.option("--minutes", type=float, metavar="M", help="Start no run after this many minutes.")
@click.option("--jobs", "-j", type=click.IntRange(1, 64), default=1, show_default=True, help="Runs at once.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where the runs' folders are made [a temporary one].")
@click.option(
    "--results",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Add each run's outcome to this file, one JSON object per line; reports read this and further files.",
)
@click.option(
    "--report", type=click.Path(path_type=Path), help="Write a page about everything in --results (.md, .json)."
)
@click.option(
    "--only",
    multiple=True,
    type=click.Choice([*WEIGHTS, *ERROR_WEIGHTS]),
    help="Only this class of faults; may be repeated.",
)
@click.option(
    "--leases", type=click.Choice(list(LEASES)), default="quick", help="Short leases, or the product's defaults."
)
@click.option(
    "--sabotage", type=click.Choice(["fence", "truncate", "ack-before-sync", "zombie"]), help="Remove a safeguard."
)
@click.option("--tiny", type=click.IntRange(1), metavar="N", help="Instead: one run of N tiny items, see --kill-every.")
@click.option(
    "--kill-every", "kill_every_s", type=float, default=5.0, show_default=True, metavar="S", help="For --tiny, seconds."
)
@click.option("--short", is_flag=True, help="Shorter runs with fewer kills and all the errors: more runs per hour.")
@click.option("--keep", is_flag=True, help="Keep every run's folder, not only those with a problem.")
def torture(seed: int | None, seeds: int, report: Path | None, results: tuple[Path, ...], **given: Any) -> None:
    """Do many small runs, kill, stop and damage everything meanwhile, and check each output from outside.

    Everything happens in a scratch folder, with a Redis and workers of its own; nothing of yours is touched. Exit
    status 0 if every page of every run is in its file once and whole, 1 otherwise. A run that went wrong keeps its
    folder and can be repeated by its seed. With --sabotage it is the other way round: 0 if the fault was found.

    \b
    sheaf torture
    sheaf torture --seeds 200 --jobs 2 --folder /srv/data
    sheaf torture --seed 17
    sheaf torture --sabotage fence
    sheaf torture --tiny 1000000 --leases product
    """
    if report is not None and not results:
        raise click.UsageError("--report needs --results, the file whose runs it is about.")
    noted = results[0] if results else None
    folder = given["folder"] or Path(tempfile.mkdtemp(prefix="sheaf-torture-runs-"))
    folder.mkdir(parents=True, exist_ok=True)
    if given["tiny"] is not None:
        status = _run_tiny(folder.resolve(), noted, given)
    else:
        wanted = [seed] if seed is not None else _seeds(seeds, noted, given)
        status = _run(folder.resolve(), iter(wanted), noted, given) if seeds else 0
    if report is not None:
        from sheaf.chaos.report import read_results, write_report

        write_report([result for path in results for result in read_results(path)], report)
        click.echo(f"Report: {report}")
    raise SystemExit(status)


def _seeds(number: int, results: Path | None, given: dict[str, Any]) -> Iterator[int]:
    """From the first one asked for, else after the last one done; a search for a sabotage goes on until it finds."""
    from sheaf.chaos.report import read_results

    if given["sabotage"]:
        return count(given["first"] or 1)
    noted = [] if results is None else read_results(results)
    seeds = [result for result in noted if "seed" in result]
    done = [result["seed"] for result in seeds if not result["sabotage"] and result["leases"] == given["leases"]]
    first = given["first"] or max(done, default=0) + 1
    return iter(range(first, first + number))


def _run(folder: Path, seeds: Iterator[int], results: Path | None, given: dict[str, Any]) -> int:
    """Run the seeds and print what comes; return the exit status."""
    from sheaf.chaos.campaign import Order, run_seeds, site

    sabotage = given["sabotage"] or ""
    minutes = given["minutes"] or (SABOTAGE_MINUTES if sabotage else None)
    began = time.monotonic()
    counts: Counter[str] = Counter()
    wrong: list[int] = []
    found = False
    with site(folder) as url:
        order = Order(folder, url, given["leases"], given["only"], sabotage, given["keep"], given["short"])
        outcomes = run_seeds(order, seeds, given["jobs"], began + minutes * 60 if minutes else float("inf"))
        for outcome in outcomes:
            # Sabotaged workers that end by themselves prove nothing.
            found = bool(sabotage) and not outcome.ok and not outcome.unexpected_exits
            outcome.found_after_s = round(time.monotonic() - began, 1) if found else None
            _note(outcome, results)
            _show(outcome)
            counts.update(runs=1, pages=outcome.pages, faults=sum(outcome.faults.values()))
            counts.update(lost=outcome.lost, doubled=outcome.doubled, torn=outcome.torn)
            counts.update(hung=outcome.hung + outcome.stalled, silent=outcome.silent)
            wrong += [] if outcome.ok else [outcome.seed]
            if found:
                outcomes.close()
                break
    _print_verdict(counts, wrong, time.monotonic() - began)
    if sabotage:
        click.echo(f"The sabotage was {'found' if found else 'NOT found: the kit is blind to it'}.")
    return int(not found if sabotage else bool(wrong))


def _run_tiny(folder: Path, results: Path | None, given: dict[str, Any]) -> int:
    """Run one run of tiny items and print what came of it; return the exit status."""
    from sheaf.chaos.campaign import run_tiny

    outcome = run_tiny(folder, given["tiny"], given["kill_every_s"], given["leases"], given["keep"], tell=click.echo)
    _note(outcome, results)
    click.echo(
        f"{count_text(outcome.items, 'item')}, {count_text(outcome.kills, 'kill')} in {seconds_text(outcome.seconds)}: "
        f"{outcome.lost} lost, {outcome.doubled} doubled, {outcome.torn} torn."
    )
    for problem in (*outcome.problems, *(f"a worker ended by itself: {ending}" for ending in outcome.unexpected_exits)):
        click.echo(f"    {problem}")
    if outcome.folder:
        click.echo(f"    kept: {outcome.folder}")
    return int(not outcome.ok)


def _note(outcome: Outcome | TinyOutcome, results: Path | None) -> None:
    if results is not None:
        results.parent.mkdir(parents=True, exist_ok=True)
        with open(results, "a") as file:
            file.write(outcome.as_json() + "\n")


def _show(outcome: Outcome) -> None:
    faults = ", ".join(f"{name} {count}" if count > 1 else name for name, count in outcome.faults.items())
    mark = "ok" if outcome.ok else "WRONG"
    click.echo(
        f"seed {outcome.seed:>6} {mark:<5} {outcome.pages:>4} pages {outcome.seconds:>5.1f} s  "
        f"{outcome.suffix:<9} {faults}"
    )
    for problem in outcome.problems:
        click.echo(f"    {problem}")
    for ending in outcome.unexpected_exits:
        click.echo(f"    a worker ended by itself: {ending}")
    if outcome.folder:
        click.echo(
            f"    kept: {outcome.folder}   again: sheaf torture --seed {outcome.seed}{' --short' * outcome.short}"
        )


def _print_verdict(counts: Counter[str], wrong: list[int], seconds: float) -> None:
    click.echo(
        f"{count_text(counts['runs'], 'run')}, {count_text(counts['pages'], 'page')}, "
        f"{count_text(counts['faults'], 'fault')} in {seconds_text(seconds)}: "
        f"{counts['lost']} lost, {counts['doubled']} doubled, {counts['torn']} torn, "
        f"{counts['hung']} hung, {counts['silent']} silent."
    )
    if wrong:
        click.echo(f"Seeds with something wrong: {', '.join(map(str, wrong))}")
