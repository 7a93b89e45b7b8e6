"""How a run looks while it goes on: a picture that is redrawn on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Protocol, cast

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sheaf.broker.worker_registry import WorkerInfo
from sheaf.core.humanize import bytes_text, count_text, rate_text, seconds_text
from sheaf.core.terminal import Canvas, one_line
from sheaf.view.monitor import RunStatus

#: Seconds between two lines where there is no terminal to redraw.
LINE_S = 5.0
#: Workers that are listed by name; of further ones, only the number.
LISTED_WORKERS = 8
#: States that need not be shown.
_WELL = ("busy", "idle")


class Display(Protocol):
    """Where a run is shown."""

    #: Seconds between two looks.
    beat_s: float

    def show(self, view: RunStatus) -> None:
        """Show the run as it is now."""


@contextmanager
def live_display(title: str, noun: str) -> Iterator[Display]:
    """The display that suits standard error. What was drawn is wiped out at the end; what was printed stays."""
    console = Console(file=cast(IO[str], Canvas()), highlight=False)
    title = one_line(title)
    if console.is_terminal and not console.is_dumb_terminal:
        with Live(console=console, auto_refresh=False, transient=True) as live:
            yield LiveDisplay(live, title, noun)
    else:
        console.print(title, markup=False, soft_wrap=True)
        yield Lines(console, noun)


class Lines:
    """One line at the start, every few seconds, and whenever a problem appears or is over."""

    beat_s = 0.5

    def __init__(self, console: Console, noun: str) -> None:
        self._console = console
        self._noun = noun
        self._next = 0.0
        self._problems: list[str] = []

    def show(self, view: RunStatus) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + LINE_S
            workers = count_text(len(view.workers), "worker")
            self._print(f"{summary(view, self._noun)} · {workers}")
        problems = list(view.problems)
        if problems != self._problems:
            for problem in problems:
                if problem not in self._problems:
                    self._print(f"problem: {problem}")
            if not problems:
                self._print("the problem is over")
            self._problems = problems

    def _print(self, text: str) -> None:
        self._console.print(f"{time.strftime('%H:%M:%S')}  {one_line(text)}", markup=False, soft_wrap=True)


class LiveDisplay:
    """A bar, the numbers, the workers and the problems, redrawn in place."""

    beat_s = 0.25

    def __init__(self, live: Live, title: str, noun: str) -> None:
        self._live = live
        self._title = title
        self._noun = noun

    def show(self, view: RunStatus) -> None:
        self._live.update(self._draw(view), refresh=True)

    def _draw(self, view: RunStatus) -> RenderableType:
        bar = Table.grid(padding=(0, 1))
        bar.add_row(
            ProgressBar(
                total=view.items, completed=view.settled, width=40, complete_style="cyan", finished_style="green"
            ),
            f"{_percent(view)} %",
        )
        parts: list[RenderableType] = [Text(self._title, style="bold"), bar, Text(summary(view, self._noun))]
        if view.workers:
            parts.append(_workers(view, self._noun))
        parts += [Text(f"! {one_line(problem)}", style="yellow") for problem in view.problems]
        parts.append(Text("Ctrl-C stops watching, not the run.", style="dim"))
        return Group(*parts)


def summary(view: RunStatus, noun: str) -> str:
    """The numbers in one line: `1,280 of 2,000 pages · 12 failed · 843 pages/s · 24.1 MB/s · 1 s left`."""
    parts = [f"{view.settled:,} of {count_text(view.items, noun)}"]
    if view.failed:
        parts.append(f"{view.failed:,} failed")
    if view.items_per_s > 0:
        parts.append(f"{rate_text(view.items_per_s)} {noun}s/s")
        parts.append(f"{bytes_text(view.bytes_per_s)}/s")
    if view.left_s is not None and not view.finished:
        parts.append(f"{seconds_text(view.left_s)} left")
    return " · ".join(parts)


def _percent(view: RunStatus) -> int:
    """Rounded down: 100 is said only when all is done."""
    return view.settled * 100 // max(1, view.items)


def _workers(view: RunStatus, noun: str) -> Table:
    """The live workers and their shares of the run; those that have ended together in one row."""
    table = Table.grid(padding=(0, 2))
    for column in range(4):
        table.add_column(justify="right" if column else "left", no_wrap=True)
    for entry in view.workers[:LISTED_WORKERS]:
        table.add_row(*_worker(entry, view.shares.get(entry.id, 0), noun))
    hidden = view.workers[LISTED_WORKERS:]
    if hidden:
        settled = sum(view.shares.get(entry.id, 0) for entry in hidden)
        table.add_row(f"  {count_text(len(hidden), 'more worker')}", "", count_text(settled, noun))
    ended = view.shares.keys() - {entry.id for entry in view.workers}
    if ended:
        settled = sum(view.shares[worker] for worker in ended)
        table.add_row(f"  {count_text(len(ended), 'ended worker')}", "", count_text(settled, noun))
    return table


def _worker(entry: WorkerInfo, settled: int, noun: str) -> list[Text]:
    state = entry.fields.get("state", "?")
    if entry.silent:
        state = f"no sign of life for {entry.silent_s:.0f} s"
    return [
        Text(f"  {one_line(entry.label)}", style="cyan"),
        Text(count_text(entry.number("pool"), "process")),
        Text(count_text(settled, noun)),
        Text("" if state in _WELL else one_line(state), style="yellow"),
    ]
