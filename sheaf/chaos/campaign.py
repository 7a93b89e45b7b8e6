"""Many seeds: runs trials, several at once if asked, and notes each outcome in a file as soon as it is known."""

from __future__ import annotations

import hashlib
import importlib.util
import multiprocessing
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sheaf.chaos.cluster import end_with_parent, start_process
from sheaf.chaos.outcome import Outcome
from sheaf.chaos.plan import ERROR_WEIGHTS, LEASES, make_plan
from sheaf.chaos.tiny import TinyOutcome, TinyRun
from sheaf.chaos.trial import Trial, stop_process
from sheaf.core.errors import SheafError

_WORKER = ("sheaf_worker",)
#: How often the deadline must have passed until a run counts as stalled for good: a busy machine is no fault.
_DEADLINE_FACTOR = 3
_SABOTAGED_WORKER = "sheaf.chaos.sabotaged_worker"


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be done for each seed."""

    folder: Path
    site_url: str
    leases: str = "quick"
    only: tuple[str, ...] = ()
    sabotage: str = ""
    keep: bool = False
    short: bool = False
    #: Names this call of the tool in the results.
    campaign: str = field(default_factory=lambda: secrets.token_hex(4))


def run_seed(order: Order, seed: int) -> Outcome:
    """Run one trial. Its folder stays if anything is wrong, or if asked for."""
    folder = order.folder / f"seed-{seed}"
    code = code_digest()
    plan = make_plan(seed, LEASES[order.leases], order.only, short=order.short)
    worker = (_SABOTAGED_WORKER, order.sabotage) if order.sabotage else _WORKER
    # What a sabotage stalls is to be found soon.
    deadline_s = plan.leases.deadline_s * (1 if order.sabotage else _DEADLINE_FACTOR)
    outcome = Trial(plan, folder, order.site_url, worker).run(deadline_s)
    outcome.short = order.short
    outcome.sabotage, outcome.campaign, outcome.code, outcome.at = order.sabotage, order.campaign, code, _now()
    (folder / "outcome.json").write_text(outcome.as_json() + "\n")
    # A worker that is refused what it needs may end, if it says why; one that is not has no reason to.
    reasonable = plan.has(*ERROR_WEIGHTS) or not outcome.unexpected_exits
    if outcome.ok and reasonable and not order.keep:
        shutil.rmtree(folder)
        outcome.folder = ""
    return outcome


def run_tiny(
    folder: Path, items: int, kill_every_s: float, leases: str, keep: bool, tell: Callable[[str], None]
) -> TinyOutcome:
    """Run one run of tiny items. Its folder stays if anything is wrong, or if asked for."""
    code = code_digest()
    outcome = TinyRun(folder / f"tiny-{items}", items, kill_every_s, LEASES[leases]).run(tell)
    outcome.code, outcome.at = code, _now()
    if outcome.ok and not outcome.unexpected_exits and not keep:
        shutil.rmtree(outcome.folder)
        outcome.folder = ""
    return outcome


def _now() -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime())


def run_seeds(order: Order, seeds: Iterable[int], jobs: int, until: float) -> Generator[Outcome, None, None]:
    """Yield outcomes as they come, and begin no trial after `until` (monotonic). Close it to end early."""
    stream = iter(seeds)
    # Processes, not threads: a trial waits for moments of a millisecond. Spawned, so that they have one thread.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=end_with_parent) as pool:
        running: set[Future[Outcome]] = set()
        try:
            while True:
                while len(running) < jobs and time.monotonic() < until and (seed := next(stream, None)) is not None:
                    running.add(pool.submit(run_seed, order, seed))
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        finally:
            for future in running:
                future.cancel()


@contextmanager
def site(folder: Path) -> Iterator[str]:
    """Serve the test site; the address is what the block gets."""
    port_file = folder / "site.port"
    port_file.unlink(missing_ok=True)
    command = [sys.executable, "-m", "sheaf.chaos.site", str(port_file)]
    process = start_process(command, folder, None, folder / "site.log")
    try:
        deadline = time.monotonic() + 20
        while not port_file.exists():
            if time.monotonic() > deadline or process.poll() is not None:
                raise SheafError(f"the test site did not start; see {folder / 'site.log'}")
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port_file.read_text(encoding='utf-8')}"
    finally:
        stop_process(process)


def code_digest() -> str:
    """Twelve digits that tell one state of the source code from another: the library, the worker, the producer."""
    digest = hashlib.sha256()
    for package in ("sheaf", "sheaf_worker", "sheaf_producer"):
        spec = importlib.util.find_spec(package)
        folder = Path(spec.origin or "").parent if spec is not None else Path()
        for path in sorted([*folder.rglob("*.py"), *folder.rglob("*.lua")]):
            if "torture" not in path.parts:
                digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
