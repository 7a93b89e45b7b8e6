"""What is wrong after a trial: with the outputs, with the workers, and with what was said about it."""

from __future__ import annotations

import random
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

from sheaf.chaos.cluster import Cluster
from sheaf.chaos.outcome import failed_items, runs_in
from sheaf.chaos.plan import Plan
from sheaf.chaos.work import Work

#: Wrong things that a result spells out.
LISTED = 5
#: How a worker that ends by itself says why; one that could not even read its own code says so as Python does.
_WORDS = ('"critical"', '"error"', "sheaf-worker: ", "importlib._bootstrap")
#: Seconds that one command may take.
_COMMAND_S = 120


class Judgement:
    """Adds up what is wrong."""

    def __init__(self, plan: Plan, cluster: Cluster) -> None:
        self._plan = plan
        self._cluster = cluster
        self._outputs = 0
        self.lost = self.doubled = self.torn = self.failed = self.poisoned = self.hung = 0
        self.problems: list[str] = []
        self.silent: list[str] = []
        self.unexpected_exits: list[str] = []

    @property
    def right(self) -> bool:
        wrong = (self.lost, self.doubled, self.torn, self.failed, self.hung, self.silent)
        return not any(wrong) and len(runs_in(self._cluster.data)) == self._outputs

    def judge(self, work: Work, output: Path) -> None:
        """Read an output, and what its index says was given up."""
        self._outputs += 1
        if len(runs_in(self._cluster.data)) < self._outputs:
            self.problems.append(f"{len(runs_in(self._cluster.data))} runs came of {self._outputs} submissions")
        verdict = work.check(output)
        try:
            failures = failed_items(output)
        except sqlite3.Error as error:
            failures = {}
            self.torn += 1
            self.problems.append(f"the index of {output.name} cannot be read: {error}")
        poison = dict(self._plan.poison) if self._outputs == 1 else {}
        given_up = {index for index in failures if index in poison}
        excused = {f"item {index}" for index in given_up}
        lost = [each for each in verdict.lost if each not in excused]
        innocent = [why for index, why in failures.items() if index not in poison]
        self.poisoned += len(given_up)
        self.failed += len(innocent)
        self.lost += len(lost)
        self.doubled += len(verdict.doubled)
        self.torn += len(verdict.torn)
        for what, each in (("lost", lost), ("doubled", verdict.doubled), ("torn", verdict.torn), ("failed", innocent)):
            self.problems += [f"{output.name}: {what}: {text}" for text in each[:LISTED]]

    def judge_workers(self, silent: list[str]) -> None:
        """Those that ended by themselves have to have said why; those that did not end were dead already."""
        self.silent += silent
        killed = any(how == "kill-worker" for _, how in self._plan.poison)
        for ending in self._cluster.unexpected_exits:
            label, _, how = ending.partition(": ")
            if "did not end" in how:
                self.hung += 1
                self.problems.append(f"a worker only seemed to live: {ending}")
            elif not (killed and how == "status -9"):
                self.unexpected_exits.append(ending)
                if not self._says_why(label):
                    self.silent.append(f"a worker ended without a word: {ending}")

    def _says_why(self, label: str) -> bool:
        text = self._cluster.log_of(label).read_text(errors="replace")
        # Where the log itself could not be written, nothing can be in it.
        return any(words in text for words in _WORDS) or self._plan.has("disk-full", "disk-error")


def damage_is_found(cluster: Cluster, output: Path, draw: random.Random) -> list[str]:
    """Change one bit of a whole output: `sheaf verify` has to notice. Bring it back: it has to be right again."""
    content = output.read_bytes()
    place = draw.randrange(len(content))
    output.write_bytes(content[:place] + bytes([content[place] ^ (1 << draw.randrange(8))]) + content[place + 1 :])
    wrong = [] if _verify(cluster, output) == 1 else [f"verify does not notice that byte {place} is another one"]
    output.write_bytes(content)
    return wrong if _verify(cluster, output) == 0 else [*wrong, "verify finds something wrong with a right output"]


def _verify(cluster: Cluster, output: Path) -> int:
    """The exit status; one that is not said in Sheaf's own words does not count."""
    command = [sys.executable, "-c", "from sheaf.cli.main import main; main()", "verify", output.name]
    done = subprocess.run(
        command,
        cwd=cluster.folder,
        env=cluster.environment,
        capture_output=True,
        text=True,
        timeout=_COMMAND_S,
        check=False,
    )
    return -1 if re.search("^Traceback", done.stderr, re.M) else done.returncode
