"""Do runs take turns? A small job alone and behind a million items, and the parts of two long runs, on one cluster.

    python benchmarks/fairness.py [--workers 1] [--seconds 10] [--json FILE]

"First result" is the time from before the command `sheaf map` (or the call `submit`) to the first commit (or the
result). The tasks sleep, so that a part is nearly the same however busy the machine is: 5 ms an item in one run, 20 ms
in the other.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

SHEAF = Path(sys.executable).with_name("sheaf")
TASKS = """
import time

def short(item):
    time.sleep(0.005)
    return item

def long(item):
    time.sleep(0.02)
    return item
"""
#: Seconds that an item of each takes.
ITEM_S = {"short": 0.005, "long": 0.02}
SMALL = "range(10)"
TURNS = 5


class Person:
    """Types commands, in a folder of his own."""

    def __init__(self, folder: Path, workers: int) -> None:
        self.folder = folder
        tasks = folder / "tasks"
        tasks.mkdir()
        (tasks / "paced.py").write_text(TASKS)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SHEAF_")}
        self.environment = kept | {"SHEAF_TASKS_DIR": str(tasks), "SHEAF_POOL_SIZE": "2"}
        self.workers = workers

    @contextmanager
    def cluster(self) -> Iterator[None]:
        self.sheaf("up", "--workers", str(self.workers))
        try:
            yield
        finally:
            self.sheaf("down")

    def sheaf(self, *arguments: str) -> str:
        command = [str(SHEAF), *arguments]
        return subprocess.run(
            command, cwd=self.folder, env=self.environment, check=True, capture_output=True, text=True
        ).stdout

    def submit(self, task: str, items: str, output: str) -> None:
        self.sheaf("map", f"paced:{task}", items, "-o", output, "--detach")

    def done(self, output: str) -> int:
        index = self.folder / "data" / f"{output}.index"
        with closing(sqlite3.connect(f"file:{index}?mode=ro", uri=True)) as connection:
            return int(connection.execute("SELECT total(done) FROM runs").fetchone()[0])

    def first_result(self, output: str) -> float:
        """Seconds until a small run has its first result."""
        began = time.perf_counter()
        self.submit("short", SMALL, output)
        while not self.done(output):
            time.sleep(0.002)
        return time.perf_counter() - began

    def call(self) -> float:
        """Seconds that a program's call takes, in a session of its own."""
        code = (
            "import time; from sheaf import Cluster\nwith Cluster() as cluster:\n began = time.perf_counter()\n"
            " cluster.submit(pow, 2, 3).result(60)\n print(time.perf_counter() - began)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=self.folder,
            env=self.environment,
            check=True,
            capture_output=True,
            text=True,
        )
        return float(done.stdout)


def measure(person: Person, seconds: float) -> dict[str, float]:
    first = {"alone": [person.first_result(f"alone-{turn}.jsonl") for turn in range(TURNS)]}
    calls = {"alone": [person.call() for _ in range(TURNS)]}
    person.submit("short", "range(1000000)", "short.jsonl")
    while person.done("short.jsonl") < 200:
        time.sleep(0.05)
    first["behind"] = [person.first_result(f"behind-{turn}.jsonl") for turn in range(TURNS)]
    calls["behind"] = [person.call() for _ in range(TURNS)]
    person.submit("long", "range(1000000)", "long.jsonl")
    while person.done("long.jsonl") < 100:
        time.sleep(0.05)
    before = {name: person.done(f"{name}.jsonl") for name in ITEM_S}
    time.sleep(seconds)
    had = {name: (person.done(f"{name}.jsonl") - before[name]) * ITEM_S[name] for name in ITEM_S}
    found = {f"first_{where}_s": statistics.median(times) for where, times in first.items()}
    found |= {f"call_{where}_s": statistics.median(times) for where, times in calls.items()}
    return found | {
        "first_later_s": found["first_behind_s"] - found["first_alone_s"],
        "share": had["long"] / sum(had.values()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=10.0, help="for which two long runs are compared")
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        person = Person(Path(folder), asked.workers)
        with person.cluster():
            found = {name: round(value, 3) for name, value in measure(person, asked.seconds).items()}
    print("\n".join(f"{name:16} {value}" for name, value in found.items()))
    if asked.json:
        asked.json.write_text(json.dumps({"workers": asked.workers, **found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
