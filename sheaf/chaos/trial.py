"""One trial: a cluster is started, a run submitted, the plan's faults injected, and the output judged."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sheaf.chaos.cluster import Cluster, Slot
from sheaf.chaos.errors import CALLS, ERRORS
from sheaf.chaos.faults import FAULTS, strike
from sheaf.chaos.judge import LISTED, Judgement, damage_is_found
from sheaf.chaos.observe import Problems, Reruns, Returns, Stalls
from sheaf.chaos.outcome import Outcome, run_of, runs_in, was_finished
from sheaf.chaos.plan import AT_SUBMISSION, HELD, IN_THE_END, PROXIED, RAISING, Plan, Strike
from sheaf.chaos.refusals import Refusals
from sheaf.chaos.replies import ReplyProxy
from sheaf.chaos.work import SecondWork, work_of

#: Seconds between two looks at everything.
POLL_S = 0.005
#: Seconds for which a worker that slept through the end of the run may do its worst.
ZOMBIE_S = 0.3
#: Seconds that workers get to end; their own grace period is 5 (`cluster.py`), the rest is for a busy machine.
END_S = 30.0
#: Seconds between two submissions of what is not there yet, or was stopped.
SUBMIT_AGAIN_S = 5.0
#: Seconds for which damage may go unreported while nothing progresses.
SILENT_S = 15.0


class Trial:
    """Runs one plan in a folder of its own. What faults need of it is `faults.Stage`."""

    def __init__(self, plan: Plan, folder: Path, site_url: str, worker_module: tuple[str, ...]) -> None:
        self.plan = plan
        self.draw = random.Random(f"trial {plan.seed}")  # noqa: S311  not for secrets
        shutil.rmtree(folder, ignore_errors=True)
        #: Who refuses the workers' system calls, and what sits between them and Redis, in those trials that need it.
        self.refusals = Refusals(folder, CALLS) if plan.has(*HELD) else None
        self.proxy: ReplyProxy | None = None
        if plan.has(*RAISING):
            worker_module = ("sheaf.chaos.raising", str(folder), *worker_module)
        wrap = None if self.refusals is None else self.refusals.command
        self.cluster = Cluster(folder, plan, worker_module, wrap)
        if plan.has(*PROXIED):
            self.proxy = ReplyProxy(self.cluster.redis.url)
            self.cluster.point_workers_at(self.proxy.url)
        self.output = self.cluster.data / f"pages{plan.suffix}"
        self._work = work_of(plan, folder, site_url)
        self._second: SecondWork | None = None
        self._stalls = Stalls(self.output)
        self._reruns = Reruns(self.cluster.redis.client)
        self._returns = Returns(self.cluster.redis)
        self._problems = Problems(self.cluster.redis.client)
        self._silent: list[str] = []
        #: What is to strike when all is over.
        self._late: list[str] = []
        self._over = False
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
            if self.refusals is not None:
                self.refusals.close()
            if self.proxy is not None:
                self.proxy.close()

    def later(self, wait_s: float, action: Callable[[], object]) -> None:
        """Do something while the trial goes on, or when it ends."""
        heapq.heappush(self._later, (time.monotonic() + wait_s, next(self._numbers), action))

    def note_kill(self, slot: Slot) -> None:
        self._reruns.note_kill(slot.label)

    def released(self) -> bool:
        """Whether all that was to be submitted is there and finished, so that it cannot be disturbed any more."""
        return len(runs_in(self.cluster.data)) >= len(self._works()) and was_finished(self.cluster.data)

    def submit(self, *, watch: bool) -> subprocess.Popen[bytes]:
        """Run the producer's command; the same each time."""
        return self.cluster.produce(*self._work.command(), *(() if watch else ("--detach",)))

    def cancel(self) -> bool:
        """Stop the run, as a person does."""
        run = run_of(self.cluster.data, self.output.name)
        if run is None or self.released():
            return False
        self.cluster.produce("cancel", run.name)
        return True

    def watch_damage(self, restore: Callable[[], None], length_s: float) -> None:
        """Something of a run is damaged: restore it once it is reported, or work goes on, or ends, anyway."""
        began = time.monotonic()
        self._problems.forget()

        def look() -> None:
            now = time.monotonic()
            blocks = not (self._over or self.released() or self._stalls.grew_since(now - 2 * length_s))
            if blocks and not self._problems.shown() and now - began < SILENT_S:
                self.later(0.1, look)
                return
            if blocks and not self._problems.shown():
                self._silent.append("damage blocked a run and was not reported")
            restore()

        self.later(length_s, look)

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
        next_submission = time.monotonic() + SUBMIT_AGAIN_S
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
            if now > next_submission:
                # Its producer was killed, or found no Redis, or it was stopped: a person would try again.
                next_submission = now + SUBMIT_AGAIN_S
                self._submit_again()
            time.sleep(POLL_S)
        return True

    def _submit_again(self) -> None:
        for work, output in self._works():
            run = run_of(self.cluster.data, output.name)
            if run is None or (run / "cancelled").exists():
                self.cluster.produce(*work.command(), "--detach")

    def _works(self) -> list[tuple[Any, Path]]:
        works: list[tuple[Any, Path]] = [(self._work, self.output)]
        return works if self._second is None else [*works, (self._second, self.cluster.data / self._second.output)]

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
        if due.name in IN_THE_END:
            self._late.append(due.name)
        elif due.name == "poison":
            self._struck[due.name] += 1
        elif due.name == "two-runs":
            self._second = SecondWork(self.cluster.folder)
            self.cluster.produce(*self._second.command(), "--detach")
            self._struck[due.name] += 1
        elif strike(self, {**FAULTS, **ERRORS}[due.name], due.length_s):
            self._struck[due.name] += 1
            self._returns.note(due.name)

    def _end(self) -> None:
        """Wake all sleepers, give them time to do harm, and end everything."""
        if not self.cluster.redis.running:
            self.cluster.redis.start()
        sleepers, self._over = bool(self._later), True
        if self.refusals is not None:
            self.refusals.rule()
        self._do_due(float("inf"))
        time.sleep(ZOMBIE_S if sleepers else 0.0)
        self.cluster.end_workers(END_S)

    def _judge(self, finished: bool, seconds: float, within_s: float) -> Outcome:
        judgement = Judgement(self.plan, self.cluster)
        for work, output in self._works():
            judgement.judge(work, output)
        judgement.judge_workers(self._silent)
        for name in self._late if finished else ():
            self._struck[name] += 1
            judgement.silent += damage_is_found(self.cluster, self.output, self.draw)
        if not finished:
            judgement.problems.insert(0, f"not finished after {within_s:.0f} s")
        return Outcome(
            seed=self.plan.seed,
            ok=judgement.right and finished,
            task=self.plan.task,
            leases=self.plan.leases.name,
            suffix=self.plan.suffix,
            pages=self.plan.pages,
            lost=judgement.lost,
            doubled=judgement.doubled,
            torn=judgement.torn,
            failed=judgement.failed,
            poisoned=judgement.poisoned,
            hung=judgement.hung,
            silent=len(judgement.silent),
            stalled=not finished,
            faults=dict(sorted(self._struck.items())),
            seconds=round(seconds, 2),
            stall_s=round(self._stalls.longest_s, 2),
            reruns_s=self._reruns.seconds,
            returns_s=self._returns.seconds,
            fetched_again=self._work.done_again(),
            problems=[*judgement.problems, *judgement.silent][: 4 * LISTED],
            unexpected_exits=judgement.unexpected_exits,
            folder=str(self.cluster.folder),
        )


def stop_process(process: Any) -> None:
    """SIGTERM, then SIGKILL."""
    process.send_signal(signal.SIGTERM)
    with contextlib.suppress(Exception):
        process.wait(5)
    if process.poll() is None:
        process.kill()
        process.wait()
