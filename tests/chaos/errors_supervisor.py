"""What the supervisor of an embedded cluster calls fails: each system call once and for good, each function by raising.

In each run a worker and Redis are killed, and another worker is wanted, so that there is something to supervise.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import secrets
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import redis

from sheaf.broker.connection import connect
from sheaf.chaos.cluster import start_process
from sheaf.chaos.raising import ERRORS as RAISED
from sheaf.chaos.refusals import Refusals, Rule, Site
from sheaf.core.settings import Settings, child_environment
from tests.chaos.errors_bench import HUNG_S, Bench
from tests.chaos.errors_calls import BY_PATH, CALLS, ERRORS, escaped
from tests.chaos.errors_case import Case

#: Seconds until a supervisor that has ended is started again, as a person would.
RESTART_S = 0.5
_SETTINGS = {
    **{"SHEAF_BATCH_LEASE_S": "0.8", "SHEAF_HEARTBEAT_S": "0.25", "SHEAF_RECONCILE_S": "0.25"},
    **{"SHEAF_LOCK_LEASE_S": "0.6", "SHEAF_POOL_SIZE": "1", "SHEAF_COMMIT_S": "0.05", "SHEAF_GRACE_S": "3"},
}


class Embedded:
    """A supervisor, with what it starts; what a bench needs of a cluster."""

    def __init__(self, folder: Path, wrap: Callable[[list[str]], list[str]]) -> None:
        self.folder, self.data = folder, folder / "data"
        (self.data / ".sheaf/redis").mkdir(parents=True)
        (folder / "tasks").mkdir()
        changes = {"SHEAF_DATA_DIR": str(self.data), "SHEAF_TASKS_DIR": str(folder / "tasks"), "SHEAF_REDIS_URL": None}
        self.environment = child_environment({**_SETTINGS, **changes})
        self._wrap = wrap
        self.unexpected_exits: list[str] = []
        self._starts = 0
        self._start_at: float | None = None
        #: Whether its end was asked for.
        self.ending = False
        self.want(1)
        self.start()

    def want(self, count: int) -> None:
        (self.data / ".sheaf/workers").write_text(f"{count}\n")

    def start(self) -> None:
        self._starts += 1
        self.label = f"supervisor-{self._starts}"
        command = self._wrap(["sheaf.embedded", str(self.data)])
        self.process = start_process(command, self.folder, self.environment, self.log_of(self.label))
        self.slots = [SimpleNamespace(label=self.label, process=self.process)]

    def log_of(self, label: str) -> Path:
        return self.folder / f"{label}.log"

    @property
    def redis(self) -> Any:
        try:
            url = str(json.loads((self.data / ".sheaf/cluster.json").read_text())["redis_url"])
        except (OSError, ValueError) as error:
            raise redis.exceptions.ConnectionError("no cluster") from error
        return SimpleNamespace(client=connect(Settings(redis_url=url), timeout_s=2.0))

    def pids(self) -> dict[str, int]:
        """Of Redis and the workers, by name."""
        try:
            found = json.loads((self.data / ".sheaf/cluster.json").read_text())["processes"]
        except (OSError, ValueError):
            return {}
        return {name: pid for name, (pid, _) in found.items()}

    def supervise(self, now: float) -> None:
        """Start the supervisor again if it has ended."""
        if self.process.poll() is None:
            return
        if self._start_at is None:
            if not self.ending:
                self.unexpected_exits.append(f"{self.label}: status {self.process.returncode}")
            self._start_at = now + RESTART_S
        elif now >= self._start_at:
            self._start_at, self.ending = None, False
            self.start()

    def kill(self, *names: str) -> None:
        for name, pid in self.pids().items():
            if name in names:
                _kill(pid)

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(HUNG_S)
        except subprocess.TimeoutExpired:
            self.unexpected_exits.append(f"{self.label}: did not end")
            self.process.kill()
            self.process.wait()
            for pid in self.pids().values():
                _kill(pid)


def _kill(pid: int) -> None:
    """It may be gone already: what is written down is what was started last."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


class SupervisorErrors:
    """Fails what the supervisor calls, on a bench of its own."""

    means = "calls and exceptions"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._benches = 0
        self._refusals: Refusals
        self.bench: Bench | None = None
        #: Whether its supervisor can be made to raise; that needs a thread, of which it has none by itself.
        self._raises = False
        self.sites: Counter[str] = Counter()
        self._starting: set[str] = set()

    def record(self) -> None:
        """Once to see the calls, once to see the functions."""
        for record in (False, True):
            bench = self._new_bench(raises=record, record=record)
            started = self._seen(bench, record)
            for _ in range(2):
                self._disturb(bench)
                bench.next_run()
                bench.submit()
                assert bench.drive(HUNG_S), "the bench does not work"
            if record:
                time.sleep(0.3)
            working = self._seen(bench, record)
            self._starting |= {site for site in started if working[site] <= (started[site] if record else 0)}
            self.sites |= started | working
        self.close()

    def _seen(self, bench: Bench, record: bool) -> Counter[str]:
        if not record:
            seen = {
                f"{site.call} {site.place}": count for site, count in self._refusals.seen().items() if _is_ours(site)
            }
            return Counter(seen)
        counts: Counter[str] = Counter()
        for path in bench.folder.glob("recorded-*.json"):
            counts.update(
                {name: count for name, count in json.loads(path.read_text()).items() if name.startswith("main ")}
            )
        return Counter({name: count for name, count in counts.items() if "sheaf.core.logs:" not in name})

    def cases(self, draw: random.Random, full: bool) -> Iterator[Case]:
        for site in sorted(self.sites):
            call, _, place = site.partition(" ")
            faults = [errno.errorcode[code] for code in ERRORS[call]] if call in ERRORS else list(RAISED)
            for fault in faults if full else [draw.choice(faults)]:
                for lasting in (False, True):
                    who = "main" if call == "main" else "supervisor"
                    where = place if call == "main" else site
                    yield Case(self.means, who, where, fault, lasting, group="supervisor")

    def run(self, case: Case) -> Case:
        bench, raises = self.bench, case.who == "main"
        if bench is None or bench.broken or self._raises != raises:
            bench = self._new_bench(raises=raises)
        site = f"main {case.where}" if case.who == "main" else case.where
        anew = site in self._starting
        if raises:
            return self._raise(bench, case, anew)
        call, _, place = case.where.partition(" ")
        error, times = getattr(errno, case.fault), None if case.lasting else 1
        rule = Rule(error, (call,), f"^{escaped(place)}$", "supervisor", times=times)
        return bench.try_case(
            case,
            lambda: self._arm(bench, lambda: self._refusals.rule(rule), anew),
            lambda: rule.refused,
            self._refusals.rule,
        )

    def _raise(self, bench: Bench, case: Case, anew: bool) -> Case:
        order = {"id": secrets.token_hex(4), "thread": "main", "function": case.where, "after": 0}
        text = json.dumps(order | {"error": case.fault, "lasting": case.lasting})
        (bench.folder / "struck").write_bytes(b"")

        def arm() -> None:
            (bench.folder / "raise.draft").write_text(text)
            (bench.folder / "raise.draft").replace(bench.folder / "raise.json")

        return bench.try_case(
            case,
            lambda: self._arm(bench, arm, anew),
            lambda: len((bench.folder / "struck").read_bytes()),
            lambda: (bench.folder / "raise.json").unlink(missing_ok=True),
        )

    def _arm(self, bench: Bench, arm: Callable[[], object], anew: bool) -> None:
        arm()
        if anew:
            bench.cluster.ending = True
            bench.cluster.process.kill()
            bench.cluster.process.wait()
        else:
            time.sleep(0.1)
            self._disturb(bench)

    def _disturb(self, bench: Bench) -> None:
        bench.cluster.kill("worker-1", "redis")
        bench.cluster.want(1 + (bench.cluster.pids().keys() >= {"worker-1"} and "worker-2" not in bench.cluster.pids()))
        bench.cluster.process.send_signal(signal.SIGHUP)

    def _new_bench(self, *, raises: bool, record: bool = False) -> Bench:
        self.close()
        self._raises = raises
        self._benches += 1
        folder = self._folder / f"supervisor-{self._benches}"
        folder.mkdir()
        if record:
            (folder / "record").touch()
        self._refusals = Refusals(folder, CALLS)

        def wrap(command: list[str]) -> list[str]:
            if raises:
                return [sys.executable, "-m", "sheaf.chaos.raising", str(folder), *command]
            return self._refusals.command("supervisor", [sys.executable, "-m", *command])

        self.bench = Bench(Embedded(folder, wrap))
        self.bench.next_run()
        self.bench.submit()
        assert self.bench.drive(HUNG_S), "the bench does not work"
        return self.bench

    def close(self) -> None:
        if self.bench is not None:
            self._refusals.rule()
            self.bench.close()
            self._refusals.close()
            self.bench = None


def _is_ours(site: Site) -> bool:
    """Whether the supervisor does it, and not Python that looks for modules, nor the test that has it raise."""
    return site.who == "supervisor" and (site.call not in BY_PATH or site.place.startswith("data/"))
