"""One trial: a cluster is started, a run submitted, the plan's faults injected, and the output judged."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import json
import random
import shutil
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sheaf.torture.checker import Verdict
from sheaf.torture.cluster import Cluster, Slot
from sheaf.torture.faults import strike
from sheaf.torture.observe import Reruns, Returns, Stalls
from sheaf.torture.plan import AT_SUBMISSION, Plan, Strike
from sheaf.torture.work import work_of

#: Seconds between two looks at everything.
TURN_S = 0.005
#: Seconds for which a worker that slept through the end of the run may do its worst.
ZOMBIE_S = 0.3
#: Seconds that workers get to end; their own grace period is 5 (`cluster.py`), the rest is for a busy machine.
END_S = 30.0
#: Wrong things that a result spells out.
LISTED = 5


@dataclass(slots=True)
class Outcome:
    """What came of one trial; a line of the results' file."""

    seed: int
    ok: bool
    sabotage: str = ""
    task: str = "load"
    leases: str = ""
    suffix: str = ""
    pages: int = 0
    lost: int = 0
    doubled: int = 0
    torn: int = 0
    #: Items that were given up; none of these faults is a reason to.
    failed: int = 0
    #: Whether the run was not finished when the time was over.
    stalled: bool = False
    #: How often each class of faults struck.
    faults: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    stall_s: float = 0.0
    reruns_s: list[float] = field(default_factory=list)
    #: (fault, seconds): how soon a batch was claimed after Redis was back from it.
    returns_s: list[tuple[str, float]] = field(default_factory=list)
    #: Pages that were fetched more than once: the price of the faults.
    fetched_again: int = 0
    problems: list[str] = field(default_factory=list)
    unexpected_exits: list[str] = field(default_factory=list)
    folder: str = ""
    #: Seconds from the beginning of the campaign until the fault was found; with a sabotaged worker only.
    found_after_s: float | None = None
    #: Which call of the tool this was part of.
    campaign: str = ""
    #: Which state of the source code ran, and when it ended (UTC).
    code: str = ""
    at: str = ""

    def as_json(self) -> str:
        return json.dumps(asdict(self))


class Trial:
    """Runs one plan in a folder of its own. What faults need of it is `faults.Stage`."""

    def __init__(self, plan: Plan, folder: Path, site_url: str, worker_module: tuple[str, ...]) -> None:
        self.plan = plan
        self.draw = random.Random(f"trial {plan.seed}")  # noqa: S311  not for secrets
        shutil.rmtree(folder, ignore_errors=True)
        self.cluster = Cluster(folder, plan, worker_module)
        self.output = self.cluster.data / f"pages{plan.suffix}"
        self._work = work_of(plan, folder, site_url)
        self._stalls = Stalls(self.output)
        self._reruns = Reruns(self.cluster.redis.client)
        self._returns = Returns(self.cluster.redis)
        self._later: list[tuple[float, int, Callable[[], object]]] = []
        self._numbers = itertools.count()
        self._struck: Counter[str] = Counter()
        self._strikes = list(plan.strikes)
        self._first_record_at: float | None = None

    def run(self, within_s: float) -> Outcome:
        """Returns when all is over and every process has ended; a run that takes longer counts as stalled."""
        began = time.monotonic()
        try:
            self.cluster.start()
            self._submit()
            finished = self._drive(began + within_s)
            seconds = time.monotonic() - began
            self._end()
            return self._judge(finished, seconds, within_s)
        finally:
            self.cluster.close()

    def later(self, wait_s: float, action: Callable[[], object]) -> None:
        """Do something while the trial goes on, or when it ends."""
        heapq.heappush(self._later, (time.monotonic() + wait_s, next(self._numbers), action))

    def note_kill(self, slot: Slot) -> None:
        self._reruns.note_kill(slot.label)

    def released(self) -> bool:
        """Whether the run is finished, so that it cannot be disturbed any more."""
        return was_finished(self.cluster.data)

    def submit(self, *, watch: bool) -> subprocess.Popen[bytes]:
        """Run the producer's command; the same each time."""
        return self.cluster.produce(*self._work.command(), *(() if watch else ("--detach",)))

    def _submit(self) -> None:
        """Start the producer; if it is killed in mid-submission, do what a person does: the same again."""
        watch = any(each.name == "kill-watcher" for each in self._strikes)
        for each in self._strikes:
            if each.name in AT_SUBMISSION:
                producer = self.submit(watch=True)
                time.sleep(each.length_s)
                if producer.poll() is None:
                    producer.kill()
                    self._struck[each.name] += 1
        self._strikes = [each for each in self._strikes if each.name not in AT_SUBMISSION]
        self.submit(watch=watch)

    def _drive(self, deadline: float) -> bool:
        """Strike, repair and look until the run is finished (True), or the time is over."""
        next_submission = time.monotonic() + 5.0
        while not self.released():
            now = time.monotonic()
            if now > deadline:
                return False
            self._do_due(now)
            self._strike_due(now)
            self.cluster.supervise(now)
            self._stalls.look(now)
            self._reruns.look(now)
            self._returns.look(now)
            if not runs_in(self.cluster.data) and now > next_submission:
                # Its producer was killed, or found no Redis: a person would try again.
                self.submit(watch=False)
                next_submission = now + 5.0
            time.sleep(TURN_S)
        return True

    def _do_due(self, now: float) -> None:
        while self._later and self._later[0][0] <= now:
            heapq.heappop(self._later)[2]()

    def _strike_due(self, now: float) -> None:
        if self._first_record_at is None and self._stalls.began:
            self._first_record_at = now
        if self._first_record_at is None:
            return
        while self._strikes and self._first_record_at + self._strikes[0].at_s <= now:
            self._strike(self._strikes.pop(0))

    def _strike(self, due: Strike) -> None:
        if strike(self, due.name, due.length_s):
            self._struck[due.name] += 1
            self._returns.note(due.name)

    def _end(self) -> None:
        """Wake all sleepers, give them time to do harm, and end everything."""
        if not self.cluster.redis.running:
            self.cluster.redis.start()
        sleepers = bool(self._later)
        self._do_due(float("inf"))
        time.sleep(ZOMBIE_S if sleepers else 0.0)
        self.cluster.end_workers(END_S)

    def _judge(self, finished: bool, seconds: float, within_s: float) -> Outcome:
        verdict = self._work.check(self.output)
        failures = failures_of(self.output)
        problems = [*self._problems(verdict, None if finished else within_s), *failures][: 4 * LISTED]
        return Outcome(
            seed=self.plan.seed,
            ok=verdict.ok and finished and not failures and len(runs_in(self.cluster.data)) == 1,
            task=self.plan.task,
            leases=self.plan.leases.name,
            suffix=self.plan.suffix,
            pages=self.plan.pages,
            lost=len(verdict.lost),
            doubled=len(verdict.doubled),
            torn=len(verdict.torn),
            failed=len(failures),
            stalled=not finished,
            faults=dict(sorted(self._struck.items())),
            seconds=round(seconds, 2),
            stall_s=round(self._stalls.longest_s, 2),
            reruns_s=self._reruns.seconds,
            returns_s=self._returns.seconds,
            fetched_again=self._work.done_again(),
            problems=problems,
            unexpected_exits=self.cluster.unexpected_exits,
            folder=str(self.cluster.folder),
        )

    def _problems(self, verdict: Verdict, stalled_s: float | None) -> list[str]:
        problems = [] if stalled_s is None else [f"not finished after {stalled_s:.0f} s"]
        if len(runs_in(self.cluster.data)) != 1:
            problems.append(f"{len(runs_in(self.cluster.data))} runs came of one submission")
        problems += [f"lost: {url}" for url in verdict.lost[:LISTED]]
        problems += [f"doubled: {url}" for url in verdict.doubled[:LISTED]]
        return problems + [f"torn: {what}" for what in verdict.torn[:LISTED]]


def runs_in(data: Path) -> list[Path]:
    return [path for path in (data / "runs").glob("*") if not path.name.startswith(".")]


def was_finished(data: Path) -> bool:
    """Whether there is a run, and every one is finished."""
    runs = runs_in(data)
    return bool(runs) and all((run / "finished").exists() for run in runs)


def failures_of(output: Path) -> list[str]:
    """Read with plain SQLite what the index says was given up."""
    path = output.with_name(f"{output.name}.index")
    try:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            rows = connection.execute("SELECT item, error, message, attempts FROM failures").fetchall()
    except sqlite3.Error as error:
        return [f"the index cannot be read: {error}"]
    return [f"item {item} failed after {attempts}: {error}: {message}" for item, error, message, attempts in rows]


def stop_process(process: Any) -> None:
    """SIGTERM, then SIGKILL."""
    process.send_signal(signal.SIGTERM)
    with contextlib.suppress(Exception):
        process.wait(5)
    if process.poll() is None:
        process.kill()
        process.wait()
