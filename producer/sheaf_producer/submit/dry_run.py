"""`sheaf map --dry-run`: what would come of the first few items, found out here, in a process of its own.

Nothing is submitted, and no cluster is needed. The user's function runs in a process of its own (this module as a
program), so that whatever it does (prints, exits, crashes, hangs) ends with that process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sheaf.core.errors import SheafError, TaskError
from sheaf.core.settings import Settings
from sheaf.run.items import Failed, Item, Result
from sheaf.tasks.protocol import Step

#: Items that are tried.
ITEMS = 3
#: Seconds that they may take together.
WITHIN_S = 60.0


def dry_run(settings: Settings, task: str, options: Mapping[str, Any], output: str, texts: Sequence[str]) -> str:
    """Return, for people, what the items would become. Raises TaskError if the task cannot be used or does not end."""
    question: dict[str, Any] = {
        "task": task,
        "folder": str(settings.tasks_dir.resolve()),
        "modules": settings.extra_modules,
    }
    question |= {"options": dict(options), "output": output, "texts": list(texts)}
    command = [sys.executable, "-P", "-m", "sheaf_producer.submit.dry_run"]
    try:
        # What the function prints goes where a person sees it; what comes out of it, through standard output.
        done = subprocess.run(
            command,
            input=json.dumps(question),
            stdout=subprocess.PIPE,
            encoding="utf-8",
            errors="backslashreplace",
            timeout=WITHIN_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise TaskError(
            f"{task!r} has not done the first {len(texts)} items within {WITHIN_S:g} s; try fewer with --limit 1"
        ) from error
    if done.returncode != 0:
        raise TaskError(
            done.stdout.strip()
            or f"{task!r} ended its process with status {done.returncode} at one of the first {len(texts)} items"
        )
    return done.stdout


class _Items:
    """The items as a source, and what became of those that were done by `do_all`."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._left = deque(map(Item, range(len(texts)), texts))
        self.outcomes: dict[int, bytes | Failed] = {}

    def take(self, wait_s: float) -> Item | None:  # noqa: ARG002
        return self._left.popleft() if self._left else None

    def wait(self, wait_s: float) -> None:
        """There is nothing to wait for: everything is here from the start."""

    def postpone(self, index: int, wait_s: float) -> None:
        """No item has a time limit here."""

    def hold(self, index: int) -> None:
        """No item is charged here, either."""

    resume = hold

    def settle(self, results: Sequence[Result]) -> None:
        for result in results:
            self.outcomes[result.index] = result if isinstance(result, Failed) else result.record

    def do_all(self, step: Step) -> None:
        while self._left:
            item = self._left.popleft()
            self.outcomes[item.index] = step(item)

    @property
    def closed(self) -> bool:
        return not self._left


def _outcomes(question: Mapping[str, Any]) -> dict[int, bytes | Failed]:
    from sheaf.formats import format_for
    from sheaf.tasks.registry import resolve

    options = question["options"]
    task = resolve(question["task"], Path(question["folder"]), question["modules"])
    task.window(options)
    source = _Items(question["texts"])
    for result in task.run(source, options, format_for(question["output"], options)):
        if result is not None:
            source.settle([result])
    return source.outcomes


def _shown(index: int, text: str, outcome: bytes | Failed, packed: bool) -> str:
    title = f"item {index}: {text[:200]}"
    if isinstance(outcome, Failed):
        # The message of a function's failure begins with the error's class by itself.
        message = outcome.message.removeprefix(f"{outcome.error}: ")
        return f"{title}\n  fails: {outcome.error}: {message}"
    if packed:
        import gzip

        outcome = gzip.decompress(outcome)
    return f"{title}\n  {outcome.decode(errors='backslashreplace').rstrip()}"


def main() -> int:
    # Whatever the locale can write: it is read by us.
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="backslashreplace")
    os.dup2(2, 1)
    question = json.load(sys.stdin)
    try:
        outcomes = _outcomes(question)
    except SheafError as error:
        answer.write(f"{error}\n")
        answer.close()
        return 2
    packed = question["output"].endswith(".gz")
    for index, text in enumerate(question["texts"]):
        answer.write(_shown(index, text, outcomes[index], packed) + "\n")
    answer.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
