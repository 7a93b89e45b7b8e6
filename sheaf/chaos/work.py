"""What a trial has the cluster do, and how its output is judged: pages of the test site, or values of a function."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any, Protocol

from sheaf.chaos.checker import Verdict, check, check_values
from sheaf.chaos.pages import page, page_url
from sheaf.chaos.plan import Plan

#: Seconds that one item may take where one hangs: more than any worker is stopped for.
HANG_S = 6
#: The file in the tasks folder. Its values are the same pages, so that records have all sizes.
TASK = '''"""What a trial of `sheaf torture` runs."""

import os
import signal
import time

from sheaf.chaos.pages import page

#: Items that can never succeed, and what they do.
POISON = {poison!r}


def harm(how):
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "kill-worker":
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)
    elif how == "exit":
        os._exit(3)
    elif how == "close":
        os.closerange(3, 256)
    elif how == "hang":
        time.sleep(3600)
    elif how == "system-exit":
        raise SystemExit(5)
    elif how == "interrupt":
        raise KeyboardInterrupt
    raise ValueError(how)


def read(text):
    time.sleep({seconds})
    if int(text) in POISON:
        harm(POISON[int(text)])
    return page({site!r}, int(text)).decode()
'''


class Work(Protocol):
    """One of the two."""

    def command(self) -> list[str]:
        """Return what a person types after `sheaf`; the same each time."""

    def check(self, output: Path) -> Verdict:
        """Read the output as a stranger would."""

    def done_again(self) -> int:
        """Return how many items were done more than once, as far as that is known: the price of the faults."""


class PageWork:
    """`sheaf load`."""

    def __init__(self, plan: Plan, folder: Path, site_url: str) -> None:
        self._plan = plan
        self._site_url = site_url
        self._expected = {
            page_url(site_url, plan.site, number, plan.latency_ms): page(plan.site, number)
            for number in range(plan.pages)
        }
        (folder / "urls.txt").write_text("".join(f"{url}\n" for url in self._expected))

    def command(self) -> list[str]:
        sizes = ["--connections", str(self._plan.connections), "--batch-size", str(self._plan.batch_size)]
        return ["load", "urls.txt", "-o", f"pages{self._plan.suffix}", "--allow-net", "127.0.0.0/8", *sizes]

    def check(self, output: Path) -> Verdict:
        return check(output, self._expected)

    def done_again(self) -> int:
        with urllib.request.urlopen(f"{self._site_url}/counts/{self._plan.site}", timeout=20) as answer:  # noqa: S310
            counts: dict[str, Any] = json.load(answer)
        return sum(int(count) - 1 for count in counts.values())


class ValueWork:
    """`sheaf map`."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self._plan = plan
        (folder / "tasks").mkdir(exist_ok=True)
        task = TASK.format(seconds=plan.latency_ms / 1000, site=plan.site, poison=dict(plan.poison))
        (folder / "tasks/values.py").write_text(task)

    def command(self) -> list[str]:
        source = ["map", "values:read", f"range({self._plan.pages})"]
        limit = ["--timeout", str(HANG_S)] if any(how == "hang" for _, how in self._plan.poison) else []
        return [*source, "-o", f"pages{self._plan.suffix}", "--batch-size", str(self._plan.batch_size), *limit]

    def check(self, output: Path) -> Verdict:
        return check_values(output, self._plan.pages, lambda index: page(self._plan.site, index).decode())

    def done_again(self) -> int:
        return 0


class SecondWork:
    """A small `sheaf map` into an output of its own, beside the trial's run."""

    output = "second.jsonl"
    items = 40

    def __init__(self, folder: Path) -> None:
        (folder / "tasks").mkdir(exist_ok=True)
        (folder / "tasks/second.py").write_text("def square(text):\n    return int(text) ** 2\n")

    def command(self) -> list[str]:
        return ["map", "second:square", f"range({self.items})", "-o", self.output, "--batch-size", "5"]

    def check(self, output: Path) -> Verdict:
        return check_values(output, self.items, lambda index: index**2)

    def done_again(self) -> int:
        return 0


def work_of(plan: Plan, folder: Path, site_url: str) -> Work:
    return ValueWork(plan, folder) if plan.task == "map" else PageWork(plan, folder, site_url)
