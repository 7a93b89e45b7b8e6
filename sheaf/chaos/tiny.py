"""A long run of tiny items while a worker is killed every few seconds: `sheaf torture --tiny 1000000`.

Here it is the protocol that works, not the items: nearly all the time goes into claiming, passing on and committing.
The run is submitted as a person would (`sheaf map`), its function is in a tasks folder, and the output is read by the
same checker as everything else.
"""

from __future__ import annotations

import json
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from sheaf.chaos.checker import check_values
from sheaf.chaos.cluster import Cluster
from sheaf.chaos.judge import LISTED
from sheaf.chaos.observe import Reruns, Stalls
from sheaf.chaos.outcome import failures_of, was_finished
from sheaf.chaos.plan import Leases
from sheaf.chaos.trial import END_S

#: What each item's function is: as little as possible, yet distinct from its neighbours'.
TASK = '''"""What `sheaf torture --tiny` runs."""


def square(text):
    return int(text) ** 2
'''
#: Seconds between two looks at everything.
POLL_S = 0.01
#: Seconds that the whole run gets, besides one for each of this many items.
LONGEST_S, ITEMS_PER_S = 600.0, 500


@dataclass(frozen=True, slots=True)
class TinyPlan:
    """How the run is laid out; fields that are called as a setting are that setting's value."""

    items: int
    kill_every_s: float
    leases: Leases
    workers: int = 3
    pool: int = 1

    @property
    def batch_size(self) -> int:
        """Enough that there is always one to be killed in."""
        return max(20, self.items // 500)


@dataclass(slots=True)
class TinyOutcome:
    """What came of it; a line of the results' file."""

    items: int
    workers: int
    kill_every_s: float
    leases: str
    kind: str = "tiny"
    ok: bool = False
    finished: bool = False
    lost: int = 0
    doubled: int = 0
    torn: int = 0
    failed: int = 0
    kills: int = 0
    seconds: float = 0.0
    stall_s: float = 0.0
    reruns_s: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    unexpected_exits: list[str] = field(default_factory=list)
    folder: str = ""
    code: str = ""
    at: str = ""

    def as_json(self) -> str:
        return json.dumps(asdict(self))


class TinyRun:
    """One such run, in a folder of its own."""

    def __init__(self, folder: Path, items: int, kill_every_s: float, leases: Leases) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        self.plan = TinyPlan(items, kill_every_s, leases)
        self.cluster = Cluster(folder, self.plan, ("sheaf_worker",))
        (folder / "tasks/tiny.py").write_text(TASK)
        self.output = self.cluster.data / "tiny.jsonl"
        self._draw = random.Random(f"tiny {items}")  # noqa: S311  not for secrets
        self._stalls = Stalls(self.output)
        self._reruns = Reruns(self.cluster.redis.client)
        self._kills = 0

    def run(self, tell: Callable[[str], None] = lambda _: None) -> TinyOutcome:
        """Returns when all is over and every process has ended; `tell` is called at each kill."""
        began = time.monotonic()
        try:
            self.cluster.start()
            source = ["map", "tiny:square", f"range({self.plan.items})", "-o", self.output.name]
            self.cluster.produce(*source, "--batch-size", str(self.plan.batch_size), "--detach")
            finished = self._drive(began, tell)
            seconds = time.monotonic() - began
            self.cluster.end_workers(END_S)
            return self._judge(finished, seconds)
        finally:
            self.cluster.close()

    def _drive(self, began: float, tell: Callable[[str], None]) -> bool:
        """Kill a worker with the first record, and again at each interval, until the run is finished (True)."""
        next_kill = None
        while not was_finished(self.cluster.data):
            now = time.monotonic()
            if now > began + LONGEST_S + self.plan.items / ITEMS_PER_S:
                return False
            self.cluster.supervise(now)
            self._stalls.look(now)
            self._reruns.look(now)
            if next_kill is None and self._stalls.began:
                next_kill = now
            if next_kill is not None and now >= next_kill and self._all_are_there():
                next_kill = now + self.plan.kill_every_s
                self._kill_one(now - began, tell)
            time.sleep(POLL_S)
        return True

    def _all_are_there(self) -> bool:
        """Whether each worker has shown itself: who is killed faster than it can start never does anything."""
        shown = self._reruns.shown()
        return all(slot.label in shown for slot in self.cluster.slots)

    def _kill_one(self, after_s: float, tell: Callable[[str], None]) -> None:
        """Kill one that holds batches, if there is one."""
        living = self.cluster.living()
        holding = self._reruns.holders()
        if living:
            slot = self._draw.choice([slot for slot in living if slot.label in holding] or living)
            self._reruns.note_kill(slot.label)
            slot.ending = True
            slot.process.kill()
            self._kills += 1
            tell(f"{after_s:6.1f} s: kill -9 of {slot.label}; {self.output.stat().st_size:,} bytes are written")

    def _judge(self, finished: bool, seconds: float) -> TinyOutcome:
        verdict = check_values(self.output, self.plan.items, lambda index: index**2)
        failures = failures_of(self.output)
        problems = [] if finished else ["not finished in time"]
        for what, wrong in (("lost", verdict.lost), ("doubled", verdict.doubled), ("torn", verdict.torn)):
            problems += [f"{what}: {each}" for each in wrong[:LISTED]]
        return TinyOutcome(
            items=self.plan.items,
            workers=self.plan.workers,
            kill_every_s=self.plan.kill_every_s,
            leases=self.plan.leases.name,
            ok=verdict.ok and finished and not failures,
            finished=finished,
            lost=len(verdict.lost),
            doubled=len(verdict.doubled),
            torn=len(verdict.torn),
            failed=len(failures),
            kills=self._kills,
            seconds=round(seconds, 1),
            stall_s=round(self._stalls.longest_s, 2),
            reruns_s=self._reruns.seconds,
            problems=[*problems, *failures[:LISTED]],
            unexpected_exits=self.cluster.unexpected_exits,
            folder=str(self.cluster.folder),
        )
