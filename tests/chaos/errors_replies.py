"""Replies of Redis that are errors, of another kind, nonsense, cut short, or do not come."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from sheaf.chaos.replies import FAULTS, ReplyProxy, ReplyRule
from tests.chaos.errors_bench import HUNG_S, Bench
from tests.chaos.errors_case import Case


class ReplyErrors:
    """Replaces replies to the workers, in runs on a bench of its own."""

    means = "replies"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._benches = 0
        self._proxy: ReplyProxy
        self.bench: Bench | None = None
        #: How often each request was made while a worker started and did two runs.
        self.sites: Counter[str] = Counter()
        self._starting: set[str] = set()

    def record(self) -> None:
        bench = self._new_bench()
        bench.cluster.supervise(0.0)
        for _ in range(2):
            bench.next_run()
            bench.submit()
            assert bench.drive(HUNG_S), "the bench does not work"
        self.sites = self._proxy.seen()
        bench.next_run()
        bench.submit()
        assert bench.drive(HUNG_S)
        self._starting = set(self.sites) - set(self._proxy.seen())

    def cases(self, draw: random.Random, full: bool) -> Iterator[Case]:
        """Each reply once and for good, with each fault, or (if not all is asked for) with four of them."""
        for site in sorted(self.sites):
            for fault in FAULTS if full else draw.sample(list(FAULTS), 4):
                after = draw.choice((0, self.sites[site] // 4))
                yield Case(self.means, "worker", site + (f", after {after}" if after else ""), fault, lasting=False)
                yield Case(self.means, "worker", site, fault, lasting=True)

    def run(self, case: Case) -> Case:
        bench = self.bench if self.bench is not None and not self.bench.broken else self._new_bench()
        request, _, after = case.where.partition(", after ")
        rule = ReplyRule(request, case.fault, after=int(after or 0), times=None if case.lasting else 1)
        return bench.try_case(
            case, lambda: self._arm(bench, rule), lambda: rule.struck, lambda: setattr(self._proxy, "rule", None)
        )

    def _arm(self, bench: Bench, rule: ReplyRule) -> None:
        if rule.request == "SCRIPT LOAD":
            bench.cluster.redis.client.script_flush()
        self._proxy.rule = rule
        if rule.request in self._starting:
            bench.restart_worker(lambda: rule.struck > 0)

    def _new_bench(self) -> Bench:
        self.close()
        self._benches += 1

        def through(url: str) -> str:
            self._proxy = ReplyProxy(url)
            return self._proxy.url

        self.bench = Bench.with_workers(self._folder / f"replies-{self._benches}", redis_through=through)
        return self.bench

    def close(self) -> None:
        if self.bench is not None:
            self._proxy.rule = None
            self.bench.close()
            self._proxy.close()
            self.bench = None
