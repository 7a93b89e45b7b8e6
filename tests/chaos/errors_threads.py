"""Unexpected exceptions: every thread of a worker raises at every function of ours that it calls."""

from __future__ import annotations

import json
import random
import secrets
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from sheaf.chaos.raising import ERRORS
from tests.chaos.errors_bench import AT_ITS_END, HUNG_S, Bench
from tests.chaos.errors_case import Case

#: Functions in which nothing can be reported any more, or that do the reporting: an exception there is not seen.
_NOT_TRIED = ("sheaf.core.logs:", "sheaf.core.settings:child_environment")


class ThreadErrors:
    """Has threads raise, in runs on a bench of its own with one worker."""

    means = "threads"
    worker: tuple[str, ...] = ("sheaf_worker",)

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._benches = 0
        self.bench: Bench | None = None
        #: "thread module:function" -> how often it was called in a run that nothing disturbed.
        self.sites: Counter[str] = Counter()
        self._starting: set[str] = set()
        self._ending: set[str] = set()

    def record(self) -> None:
        """Have a worker start, work, idle and end, and note what each of its threads calls."""
        bench = self._new_bench(record=True)
        for _ in range(2):
            bench.next_run()
            bench.submit()
            assert bench.drive(HUNG_S), "the bench does not work"
        time.sleep(0.5)
        self.sites = self._recorded(bench)
        bench.next_run()
        bench.submit()
        assert bench.drive(HUNG_S)
        time.sleep(0.5)
        after = self._recorded(bench)
        self._starting = {site for site in self.sites if after[site] == self.sites[site]}
        assert bench.end_worker() == "", "a worker does not end when asked to"
        ended = self._recorded(bench)
        self._ending = {site for site in ended if ended[site] > after[site]}
        self.close()

    def _recorded(self, bench: Bench) -> Counter[str]:
        counts: Counter[str] = Counter()
        for path in bench.folder.glob("recorded-*.json"):
            counts.update(json.loads(path.read_text()))
        chosen = {site: count for site, count in counts.items() if not any(sign in site for sign in _NOT_TRIED)}
        return Counter({site: count for site, count in chosen.items() if site.split()[0] not in ("recording",)})

    def cases(self, draw: random.Random, full: bool) -> Iterator[Case]:
        """Each function of each thread once and for good, with one of the errors, or (if all is asked for) each."""
        for site in sorted(self.sites):
            thread, _, function = site.partition(" ")
            for error in ERRORS if full else (draw.choice(list(ERRORS)),):
                after = 0 if site in self._starting else draw.choice((0, self.sites[site] // 4))
                where = function + (f", after {after}" if after else "")
                yield Case(self.means, thread, where, error, lasting=False)
                yield Case(self.means, thread, function, error, lasting=True)
        for site in sorted(self._ending):
            thread, _, function = site.partition(" ")
            for error in ERRORS if full else (draw.choice(list(ERRORS)),):
                yield Case(self.means, thread, function + AT_ITS_END, error, lasting=False)

    def run(self, case: Case) -> Case:
        bench = self.bench if self.bench is not None and not self.bench.broken else self._new_bench()
        at_its_end = case.where.endswith(AT_ITS_END)
        function, _, after = case.where.removesuffix(AT_ITS_END).partition(", after ")
        order = {
            **{"id": secrets.token_hex(4), "thread": case.who, "function": function, "after": int(after or 0)},
            **{"error": case.fault, "lasting": case.lasting},
        }
        anew = f"{case.who} {function}" in self._starting and not at_its_end
        return (bench.try_ending if at_its_end else bench.try_case)(
            case,
            lambda: self._arm(bench, order, anew=anew),
            lambda: len((bench.folder / "struck").read_bytes()),
            lambda: (bench.folder / "raise.json").unlink(missing_ok=True),
        )

    def _arm(self, bench: Bench, order: dict[str, object], *, anew: bool) -> None:
        (bench.folder / "struck").write_bytes(b"")
        for path in bench.folder.glob("armed-*"):
            path.unlink()
        draft = bench.folder / "raise.draft"
        draft.write_text(json.dumps(order))
        slot = bench.cluster.slots[0]
        if anew and slot.process.poll() is None:
            slot.ending = True
            slot.process.kill()
            slot.process.wait()
        draft.replace(bench.folder / "raise.json")
        deadline = time.monotonic() + HUNG_S
        while not list(bench.folder.glob("armed-*")) and time.monotonic() < deadline:
            bench.cluster.supervise(time.monotonic())
            time.sleep(0.01)

    def _new_bench(self, *, record: bool = False) -> Bench:
        self.close()
        self._benches += 1
        folder = self._folder / f"threads-{self._benches}"
        folder.mkdir()
        if record:
            (folder / "record").touch()
        self.bench = Bench.with_workers(
            folder, worker_module=("sheaf.chaos.raising", str(folder), *self.worker), workers=1
        )
        return self.bench

    def close(self) -> None:
        if self.bench is not None:
            self.bench.close()
            self.bench = None
