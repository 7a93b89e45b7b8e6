"""The threads of a program's session raise: the program gets its results all the same, or an error that says why."""

from __future__ import annotations

import json
import random
import secrets
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from sheaf.chaos.raising import ERRORS
from tests.chaos.errors_bench import HUNG_S, Bench
from tests.chaos.errors_case import Case

#: What the program does. It prints one line of JSON in the end, or what went wrong.
PROGRAM = """
import json
import time

from sheaf import Cluster

with Cluster() as cluster:
    squares = list(cluster.map("little:square", map(str, range(40))))
    with cluster.lock("a lock", lease_s=0.5):
        time.sleep(0.4)
        futures = [cluster.submit("little:square", str(number)) for number in range(5)]
        more = [future.result(60) for future in futures]
print(json.dumps([squares, more]))
"""
RIGHT = [[number**2 for number in range(40)], [number**2 for number in range(5)]]


class ProgramErrors:
    """Runs the program on a bench whose cluster nothing disturbs."""

    means = "threads"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._runs = 0
        self.bench = Bench.with_workers(folder / "program")
        self.sites: Counter[str] = Counter()

    def record(self) -> None:
        folder = self._new_folder()
        (folder / "record").touch()
        done = self._program(folder)
        assert done.returncode == 0, done.stderr
        for path in folder.glob("recorded-*.json"):
            found = json.loads(path.read_text())
            self.sites.update(
                {site: count for site, count in found.items() if site.split()[0] not in ("main", "recording")}
            )

    def cases(self, draw: random.Random, full: bool) -> Iterator[Case]:
        for site in sorted(self.sites):
            thread, _, function = site.partition(" ")
            for error in ERRORS if full else (draw.choice(list(ERRORS)),):
                after = draw.choice((0, self.sites[site] // 2))
                yield Case(self.means, thread, f"{function}, after {after}", error, lasting=False, group="program")
                yield Case(self.means, thread, function, error, lasting=True, group="program")

    def run(self, case: Case) -> Case:
        began = time.monotonic()
        folder = self._new_folder()
        function, _, after = case.where.partition(", after ")
        order = {"id": secrets.token_hex(4), "thread": case.who, "function": function, "after": int(after or 0)}
        (folder / "raise.json").write_text(json.dumps(order | {"error": case.fault, "lasting": case.lasting}))
        (folder / "struck").touch()
        try:
            done = self._program(folder)
        except subprocess.TimeoutExpired as hung:
            case.hung = 1
            case.notes.append((hung.stderr or b"").decode()[-500:])
        else:
            self._quarantine(case, done)
        case.struck = len((folder / "struck").read_bytes())
        case.seconds = round(time.monotonic() - began, 2)
        return case

    def _quarantine(self, case: Case, done: subprocess.CompletedProcess[str]) -> None:
        if done.returncode == 0:
            case.lost = int(json.loads(done.stdout.splitlines()[-1]) != RIGHT)
            return
        last = (done.stderr.strip().splitlines() or [""])[-1]
        case.said = last[:300]
        # A program learns of it by an exception: one of Sheaf's, or what was raised itself.
        case.silent = int(not last.startswith(("sheaf.core.errors.", *ERRORS)))
        case.notes += [done.stderr[-600:]] * case.silent

    def _program(self, folder: Path) -> subprocess.CompletedProcess[str]:
        (folder / "a_program.py").write_text(PROGRAM)
        environment = dict(self.bench.cluster.environment)
        environment["PYTHONPATH"] = f"{folder}:{environment['PYTHONPATH']}"
        command = [sys.executable, "-m", "sheaf.chaos.raising", str(folder), "a_program"]
        return subprocess.run(
            command, cwd=self.bench.folder, env=environment, capture_output=True, text=True, timeout=HUNG_S + 30
        )

    def _new_folder(self) -> Path:
        self._runs += 1
        folder = self._folder / f"program-{self._runs}"
        folder.mkdir()
        return folder

    def close(self) -> None:
        self.bench.close()
