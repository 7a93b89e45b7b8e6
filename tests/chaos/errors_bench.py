"""A small cluster that runs the same little job again and again, while something is made to fail; and the judge of it.

The judge looks from outside: at the file, with plain JSON, at the failures with plain SQLite, at the run's folder, at
what a person is shown. It notices who hangs, not only who dies: a run has to come to its end once nothing fails any
more, and while something fails for good, that has to be reported.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from sheaf.broker import keys
from sheaf.chaos.checker import check_values
from sheaf.chaos.cluster import Cluster, what_it_does
from sheaf.chaos.outcome import failures_of
from sheaf.chaos.plan import LEASES, Leases
from tests.chaos.errors_case import Case
from tests.chaos.errors_submitter import Submitter

#: What is added to a place when the fault strikes while the worker ends because it was asked to.
AT_ITS_END = ", at its end"
ITEMS, BATCH_SIZE = 12, 3
#: What each run does: it prints, reads a file and takes a moment, as tasks do.
TASK = '''"""What runs while something is made to fail."""

import time


def square(text):
    print("item", text)
    time.sleep(0.005)
    return int(text) ** 2
'''
#: Seconds for which a fault that is to last is kept up, unless the run ends or the problem is reported.
LASTING_S = 10.0
#: Seconds after which, if still nothing was reported, a lasting fault counts as silent.
SILENT_S = 45.0
#: Seconds for which it may stall while the reason is reported: a problem is checked again after 30.
WAITING_S = 75.0
#: Seconds between two looks at what is said.
LISTEN_S = 0.5
#: Seconds in which a Python starts, at most, where nothing else happens; and how many times as long it may take.
START_S, MOST_SLOW = 0.1, 10.0
#: Seconds within which a worker ends when asked to: its grace, what it gets beyond that, and a busy machine's.
END_S = 45.0
#: Seconds until a person whose submission came to nothing tries again.
AGAIN_S = 1.0
#: Seconds without any progress, nor a word about why, after which a run hangs, on a busy machine.
HUNG_S = 60.0
#: What is in a line that says why a process ends: in Sheaf's words, or in Python's while it reads the code.
WORDS = ('"critical"', '"error"', "sheaf-worker: ", "sheaf: ", "made to raise", "importlib._bootstrap", "[Errno ")
#: Lines of `sheaf status` that tell a person that something is wrong.
SIGNS = (
    *("problem", "blocked", "not known", "No workers are running", "no sign of life", "not visible in Redis"),
    *("stopped", "damaged", "sheaf:"),
)


@dataclass(slots=True)
class Shape:
    """Two workers, so that one can do what the other leaves; fields that are called as a setting are its value."""

    workers: int = 2
    pool: int = 1
    leases: Leases = LEASES["quick"]
    commit_s: float = 0.05
    lock_wait_s: float = 1.0


def _slowness() -> float:
    """How many times as long a process takes to start now as on a machine that has nothing else to do, about."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return min(MOST_SLOW, max(1.0, (time.monotonic() - began) / START_S))


class Bench:
    """Runs on a cluster, judged. A run that was not right leaves the bench `broken`: make another one."""

    def __init__(self, cluster: Any) -> None:
        """`cluster`: the chaos kit's, or something like it (`errors_supervisor.py`)."""
        self.folder: Path = cluster.folder
        self.cluster = cluster
        (self.folder / "tasks/little.py").write_text(TASK)
        self.broken = False
        self._serial = 0
        self._submitter = Submitter(self.folder, cluster.environment)

    @classmethod
    def with_workers(
        cls,
        folder: Path,
        *,
        wrap: Callable[[str, list[str]], list[str]] | None = None,
        worker_module: tuple[str, ...] = ("sheaf_worker",),
        workers: int = 2,
        redis_through: Callable[[str], str] | None = None,
    ) -> Bench:
        """On a Redis and workers that this process starts, and starts again."""
        cluster = Cluster(folder, Shape(workers), worker_module, wrap)
        cluster.redis.start()
        if redis_through is not None:
            cluster.point_workers_at(redis_through(cluster.redis.url))
        cluster.start_workers()
        return cls(cluster)

    @property
    def output(self) -> Path:
        data: Path = self.cluster.data
        return data / f"out-{self._serial}.jsonl"

    def command(self) -> list[str]:
        source = ["map", "little:square", f"range({ITEMS})", "-o", self.output.name]
        return [*source, "--batch-size", str(BATCH_SIZE)]

    def next_run(self) -> None:
        self._serial += 1

    def submit(self) -> None:
        """Submit without a fault, as fast as it goes. Without a Redis that fails, and `drive()` does it again."""
        self._submitter.run([*self.command(), "--detach"])

    def runs(self) -> list[Path]:
        """The folders of the runs of this output; there should be one."""
        found = []
        for path in (self.cluster.data / "runs").glob("[!.]*"):
            try:
                if json.loads((path / "run.json").read_text())["output"] == self.output.name:
                    found.append(path)
            except (OSError, ValueError):
                continue
        return found

    @property
    def finished(self) -> bool:
        found = self.runs()
        return bool(found) and all((path / "finished").exists() for path in found)

    def restart_worker(self, until: Callable[[], bool]) -> None:
        """Kill the first worker; return when the next one has begun, or something else has happened."""
        slot = self.cluster.slots[0]
        slot.ending = True
        slot.process.kill()
        slot.process.wait()
        deadline = time.monotonic() + LASTING_S
        while time.monotonic() < deadline and not until():
            self.cluster.supervise(time.monotonic())
            if self._serves(slot):
                return
            time.sleep(0.02)

    def _serves(self, slot: Any) -> bool:
        return slot.process.poll() is None and "worker started" in self.cluster.log_of(slot.label).read_text()

    def drive(self, within_s: float, *, until: Callable[[], bool] = lambda: False) -> bool:
        """Start again what dies, until the run is finished (True), or `until`, or nothing moved for that long."""
        since, last = time.monotonic(), self._progress()
        submit_at = since + AGAIN_S
        while not self.finished and not until():
            now = time.monotonic()
            self.cluster.supervise(now)
            if now > submit_at and not self.runs():
                self.submit()
                submit_at = now + AGAIN_S
            if (progress := self._progress()) != last:
                since, last = now, progress
            if now - since > within_s:
                return False
            time.sleep(0.02)
        return self.finished

    def _progress(self) -> tuple[int, int]:
        """What grows while work goes on: the output. A worker that ends and is started again is no progress."""
        try:
            return self.output.stat().st_size, len(self.runs())
        except OSError:
            return 0, len(self.runs())

    def end_worker(self, arm: Callable[[], None] = lambda: None) -> str:
        """Tell the first worker to end in the midst of a run; return what was wrong with its end, if anything was."""
        slot, deadline = self.cluster.slots[0], time.monotonic() + HUNG_S
        while not (self.runs() and self._serves(slot)) and time.monotonic() < deadline:
            self.cluster.supervise(time.monotonic())
            time.sleep(0.005)
        arm()
        slot.ending = True
        slot.process.terminate()
        try:
            status = slot.process.wait(END_S)
        except subprocess.TimeoutExpired:
            doing = what_it_does(slot.process.pid)
            slot.process.kill()
            slot.process.wait()
            return f"{slot.label}: did not end within {END_S:g} s of SIGTERM; {doing}"
        return "" if status == 0 or self._last_words(slot.label) else f"{slot.label}: status {status}: without a word"

    def try_ending(
        self, case: Case, arm: Callable[[], None], struck: Callable[[], int], lift: Callable[[], None]
    ) -> Case:
        """Let the fault strike while a worker ends because it was asked to."""

        def end() -> None:
            wrong = self.end_worker(arm)
            case.notes += [wrong] * bool(wrong)
            case.hung, case.silent = int("did not end" in wrong), int("without a word" in wrong)

        return self.try_case(case, lambda: None, struck, lift, end)

    def try_case(
        self,
        case: Case,
        arm: Callable[[], None],
        struck: Callable[[], int],
        lift: Callable[[], None],
        midway: Callable[[], None] = lambda: None,
    ) -> Case:
        """Let the fault strike during a run; `case` becomes what came of it."""
        began = time.monotonic()
        self.next_run()
        exits = len(self.cluster.unexpected_exits)
        arm()
        self.submit()
        midway()
        ended = False
        if case.lasting:
            self._stand(case, struck, exits)
        else:
            ended = self._come_to_end(exits)
        case.struck = struck()
        lift()
        if case.lasting:
            ended = self._come_to_end(exits)
        if not ended:
            case.hung = 1
            case.notes += [f"{slot.label}: {what_it_does(slot.process.pid)}" for slot in self.cluster.slots]
        self._hear(case, exits)
        self.quarantine(case)
        case.seconds = round(time.monotonic() - began, 2)
        self.broken |= not case.right
        return case

    def _stand(self, case: Case, struck: Callable[[], int], exits: int) -> None:
        """Wait while it fails for good: until the run ends all the same, or the problem is reported."""
        silent_at = time.monotonic() + SILENT_S
        while not case.said:
            if self._listen(case, exits, LASTING_S) or not struck():
                return
            # It is reported neither in Redis nor in a log: perhaps when a person asks.
            case.said = case.said or self._shown()
            if not case.said and time.monotonic() > silent_at:
                case.silent = 1
                return

    def _listen(self, case: Case, exits: int, within_s: float) -> bool:
        """Wait for the run's end (True), but no longer than until something is reported."""
        deadline = time.monotonic() + within_s

        def heard() -> bool:
            case.said = case.said or self._said(exits)
            return bool(case.said) or time.monotonic() > deadline

        return self.drive(within_s, until=heard)

    def _shown(self) -> str:
        """What a person is shown that is wrong, if anything is."""
        return next((line for line in self.status().splitlines() if any(sign in line for sign in SIGNS)), "")

    def _come_to_end(self, exits: int) -> bool:
        """Drive the run to its end. It may wait for a reason that is reported, and goes on when that is over."""
        said, looked = False, 0.0

        def listen() -> bool:
            nonlocal said, looked
            if time.monotonic() - looked > LISTEN_S:
                looked = time.monotonic()
                said = said or bool(self._said(exits))
            return False

        if self.drive(HUNG_S, until=listen) or (said and self.drive(WAITING_S)):
            return True
        # Others may have the processors: what then takes so much longer does not hang.
        return self.drive(HUNG_S * (_slowness() - 1))

    def _said(self, exits: int) -> str:
        """What a worker says in Redis, or said when it ended."""
        try:
            for run in self.runs():
                if problem := self.cluster.redis.client.hget(keys.PROBLEM_PREFIX + run.name, "problem"):
                    return f"problem: {problem!r}"
        except redis.exceptions.RedisError:
            return ""
        ended = self.cluster.unexpected_exits[exits:]
        return self._last_words(ended[0]) if ended else ""

    def _last_words(self, ending: str) -> str:
        """The last thing that a worker which has ended wrote; empty if it said nothing."""
        label = ending.partition(":")[0]
        lines = self.cluster.log_of(label).read_text(errors="replace").splitlines()
        words = [line for line in lines if any(sign in line for sign in WORDS)]
        return f"{ending}: {words[-1][:300]}" if words else ""

    def _hear(self, case: Case, exits: int) -> None:
        """A worker that ended without a word was silent, whether or not the run suffered from it."""
        for ending in self.cluster.unexpected_exits[exits:]:
            words = self._last_words(ending)
            case.notes.append(words or f"{ending}: without a word")
            case.silent |= int(not words)

    def quarantine(self, case: Case) -> None:
        """Read the output and its failures."""
        if len(self.runs()) > 1:
            case.doubled += 1
            case.notes.append(f"{len(self.runs())} runs came of one submission")
        verdict = check_values(self.output, ITEMS, lambda index: index**2)
        failures = failures_of(self.output)
        case.failed = len(failures)
        # What is still to be done is not lost.
        case.lost = 0 if case.hung else max(0, len(verdict.lost) - len(failures))
        case.doubled += len(verdict.doubled)
        case.torn = 0 if case.hung else len(verdict.torn)
        case.notes += [*verdict.torn[:3], *failures[:3]]

    def status(self) -> str:
        """What a person is shown."""
        done = subprocess.run(
            [sys.executable, "-c", "from sheaf.cli.main import main; main()", "status"],
            cwd=self.folder, env=self.cluster.environment, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        return done.stdout + done.stderr

    def close(self) -> None:
        self._submitter.close()
        self.cluster.close()
