"""What one seed means: the run's shape, and which faults come when. The same seed is always the same plan."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

#: How often each class of faults is drawn, in proportion.
WEIGHTS = {
    "kill-child": 3,
    "kill-worker": 4,
    "kill-fence-holder": 4,
    "kill-lock-holder": 3,
    "kill-producer": 2,
    "kill-watcher": 2,
    "kill-everything": 1,
    "stop-worker": 2,
    "stop-lock-holder": 4,
    "stop-fence-holder": 3,
    "freeze-worker": 2,
    "term-worker": 2,
    "redis-restart": 2,
    "redis-outage": 2,
    "redis-lost-second": 2,
    "redis-empty": 2,
    "redis-flush": 2,
    "redis-stop": 1,
    "queue-doubled": 2,
    "queue-removed": 2,
    "lease-removed": 2,
    "submit-twice": 2,
}
#: What is not a kill: drawn apart, so that a seed's kills are what they always were.
ERROR_WEIGHTS = {
    "disk-error-once": 4,
    "disk-error": 3,
    "disk-full": 3,
    "read-error": 2,
    "few-files": 2,
    "no-processes": 2,
    "thread-raises": 4,
    "redis-odd-value": 3,
    "redis-odd-reply": 4,
    "redis-damaged": 1,
    "lease-clock": 2,
    "list-damaged": 2,
    "cancel": 2,
    "two-runs": 2,
    "output-damaged": 1,
    "poison": 3,
}
#: Those for which workers are started so that their system calls can be refused, behind a proxy for Redis, and so that
#: their threads can be made to raise.
HELD = ("disk-error-once", "disk-error", "disk-full", "read-error", "few-files", "no-processes")
PROXIED, RAISING = ("redis-odd-reply",), ("thread-raises",)
#: Those that are part of what is submitted, and those that strike when all is over.
IN_THE_WORK, IN_THE_END = ("poison", "two-runs"), ("output-damaged",)
#: What an item can do to the process that runs it, to its worker and to itself.
POISONS = ("kill", "exit", "close", "hang", "system-exit", "interrupt", "kill-worker", "raise")
#: Faults that strike while the producer submits, not while the workers work.
AT_SUBMISSION = ("kill-producer",)
#: An item whose process died three times is rightly given up; two kills can never bring that about.
AT_MOST = {"kill-child": 2, "kill-producer": 1, "kill-watcher": 1}
#: Formats of pages, and of a function's values.
VALUE_SUFFIXES = (".jsonl", ".jsonl.gz")
SUFFIXES = (".jsonl", ".jsonl.gz", ".warc.gz", ".warc", ".html", ".txt")
#: How many of the trials run a function; the others load pages.
MAP_SHARE = 0.3
#: A short run is this many times shorter, and has at most this many kills.
SHORTER, MOST_KILLS = 3, 2
#: Seconds that the undisturbed run takes, about: long enough to be disturbed.
IDEAL_S = 2.0


@dataclass(frozen=True, slots=True)
class Leases:
    """How long things are held, in seconds; the settings of the same names."""

    name: str
    batch_lease_s: float
    heartbeat_s: float
    reconcile_s: float
    lock_lease_s: float
    #: Seconds within which a run ends, faults included, unless it has stalled or the machine is busy with other things.
    deadline_s: float


LEASES = {
    # What takes 20 s in a user's cluster takes 1 s here.
    "quick": Leases("quick", 0.8, 0.25, 0.25, 0.6, 60.0),
    # The defaults of sheaf/core/settings.py.
    "product": Leases("product", 15.0, 5.0, 3.0, 10.0, 300.0),
}


@dataclass(frozen=True, slots=True)
class Strike:
    """One fault: what, how many seconds after the first record, and for how long."""

    name: str
    at_s: float
    length_s: float


@dataclass(frozen=True, slots=True)
class Plan:
    """One trial."""

    seed: int
    #: `load` or `map`.
    task: str
    workers: int
    pool: int
    connections: int
    pages: int
    batch_size: int
    suffix: str
    latency_ms: int
    commit_s: float
    commit_mb: float
    lock_wait_s: float
    leases: Leases
    strikes: tuple[Strike, ...]
    #: Item -> what it does, for those that can never succeed.
    poison: tuple[tuple[int, str], ...] = ()

    def has(self, *names: str) -> bool:
        return any(strike.name in names for strike in self.strikes)

    @property
    def site(self) -> str:
        return f"seed{self.seed}"


def make_plan(seed: int, leases: Leases, only: Sequence[str] = (), *, short: bool = False) -> Plan:
    """Draw a plan; `only` restricts it to these classes of faults, `short` lets more runs fit into an hour."""
    plan = _draw_plan(seed, leases, only)
    return _shortened(plan) if short else plan


def _shortened(plan: Plan) -> Plan:
    """The same with two workers, a third of the items and of the time, and at most two kills; all errors stay."""
    kills = [strike for strike in plan.strikes if strike.name in WEIGHTS]
    left_out = kills[MOST_KILLS:]
    strikes = tuple(replace(strike, at_s=strike.at_s / SHORTER) for strike in plan.strikes if strike not in left_out)
    pages = max(30, plan.pages // SHORTER)
    poison = tuple((index % pages, how) for index, how in plan.poison)
    return replace(plan, workers=2, pool=1, pages=pages, strikes=strikes, poison=poison)


def _draw_plan(seed: int, leases: Leases, only: Sequence[str]) -> Plan:
    draw = random.Random(f"sheaf torture {seed}")  # noqa: S311  not for secrets
    workers, pool, connections = draw.randint(2, 3), draw.randint(1, 2), draw.randint(1, 3)
    pages = draw.randint(60, 200)
    of_task = random.Random(f"sheaf torture task {seed}")  # noqa: S311
    task = "map" if of_task.random() < MAP_SHARE else "load"
    batch_size, suffix = draw.randint(2, 12), draw.choice(SUFFIXES)
    if task == "map":
        suffix, connections = of_task.choice(VALUE_SUFFIXES), 1
    of_errors = random.Random(f"sheaf torture errors {seed}")  # noqa: S311
    strikes = [*_strikes(draw, leases, only), *_errors(of_errors, task, only)]
    poison: tuple[tuple[int, str], ...] = ()
    if any(strike.name == "poison" for strike in strikes):
        poisoned = of_errors.sample(range(pages), of_errors.randint(1, 2))
        poison = tuple((index, of_errors.choice(POISONS)) for index in sorted(poisoned))
    return Plan(
        seed=seed,
        task=task,
        workers=workers,
        pool=pool,
        connections=connections,
        pages=pages,
        batch_size=batch_size,
        suffix=suffix,
        latency_ms=round(1000 * IDEAL_S * workers * pool * connections / pages),
        commit_s=draw.choice((0.02, 0.05, 0.2)),
        commit_mb=draw.choice((0.05, 1.0)),
        lock_wait_s=draw.choice((0.5, 5.0)),
        leases=leases,
        strikes=tuple(sorted(strikes, key=lambda strike: strike.at_s)),
        poison=poison,
    )


def _strikes(draw: random.Random, leases: Leases, only: Sequence[str]) -> tuple[Strike, ...]:
    weights = {name: weight for name, weight in WEIGHTS.items() if not only or name in only}
    strikes: list[Strike] = []
    for _ in range(draw.randint(2, 6) if weights else 0):
        (name,) = draw.choices(list(weights), list(weights.values()))
        if sum(strike.name == name for strike in strikes) < AT_MOST.get(name, 9):
            strikes.append(Strike(name, draw.uniform(0.0, IDEAL_S), _length(draw, name, leases)))
    return tuple(sorted(strikes, key=lambda strike: strike.at_s))


def _errors(draw: random.Random, task: str, only: Sequence[str]) -> list[Strike]:
    """Up to three kinds of what is not a kill."""
    weights = {name: weight for name, weight in ERROR_WEIGHTS.items() if not only or name in only}
    if task != "map":
        weights.pop("poison", None)
    if only and not weights:
        return []
    names = draw.choices(list(weights), list(weights.values()), k=draw.randint(1, 3)) if weights else []
    return [Strike(name, draw.uniform(0.0, IDEAL_S), draw.uniform(0.3, 2.0)) for name in dict.fromkeys(names)]


def _length(draw: random.Random, name: str, leases: Leases) -> float:
    if name.startswith(("stop-", "freeze-")):
        # Beyond every lease, so that others take over what the sleeper believes to be its own.
        return draw.uniform(1.2, 2.2) * max(leases.batch_lease_s, leases.lock_lease_s)
    if name == "kill-producer":
        return draw.uniform(0.05, 1.2)
    return draw.uniform(0.1, 1.2)
