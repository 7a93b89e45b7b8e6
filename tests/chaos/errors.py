"""Makes everything fail that can fail, one thing a run: `python -m tests.chaos.errors MEANS FOLDER`.

MEANS is `calls` (system calls of workers and commands), `threads` (exceptions in a worker), `replies` (what Redis
answers), `supervisor` (its calls and exceptions) or `program` (exceptions in a session's threads). A recording run
tells what can fail; each of it then fails once, and in another run for good. Prints each case and how it ended; the
exit status is 1 if anything was lost, doubled or torn, or anybody hung or was silent.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import util
from pathlib import Path
from typing import Any

from sheaf.chaos.campaign import code_digest
from sheaf.chaos.cluster import end_with_parent
from tests.chaos import errors_bench
from tests.chaos.errors_bench import AT_ITS_END
from tests.chaos.errors_calls import CallErrors
from tests.chaos.errors_case import Case
from tests.chaos.errors_program import ProgramErrors
from tests.chaos.errors_replies import ReplyErrors
from tests.chaos.errors_supervisor import SupervisorErrors
from tests.chaos.errors_threads import ThreadErrors

MEANS: dict[str, Any] = {
    "calls": CallErrors,
    "threads": ThreadErrors,
    "replies": ReplyErrors,
    "supervisor": SupervisorErrors,
    "program": ProgramErrors,
}


class Job:
    """A process that tries cases on benches of its own. They are started and ended by one thread, so they need one."""

    maker: Any = None

    @classmethod
    def begin(cls, means: str, folder: Path, recorded: dict[str, Any], hung_s: float) -> None:
        """`recorded`: what a maker has found out about the sites."""
        end_with_parent()
        errors_bench.HUNG_S = hung_s
        own = folder / f"job-{os.getpid()}"
        own.mkdir()
        cls.maker = MEANS[means](own)
        vars(cls.maker).update(recorded)
        util.Finalize(None, cls.maker.close, exitpriority=10)

    @classmethod
    def run(cls, case: Case) -> Case:
        cls.maker.run(case)
        case.code, case.at = code_digest(), time.strftime("%Y-%m-%d %H:%M", time.gmtime())
        return case


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("means", choices=MEANS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--full", action="store_true", help="every error at every place, not one of each")
    parser.add_argument("--sample", type=int, help="only this many cases, drawn by the seed")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--who", default="", help="only those of this process or thread")
    parser.add_argument("--where", default="", metavar="PATTERN", help="only those places")
    parser.add_argument("--lasting", choices=["once", "for good", "at its end"])
    parser.add_argument("--first-call", action="store_true", help="what fails once does so when it is first called")
    parser.add_argument("--sabotage", default="", help="with workers that lack this safeguard, to see this tool fail")
    parser.add_argument("--patience", type=float, help="seconds without progress after which a run hangs")
    parser.add_argument("--jobs", type=int, default=1, help="cases that are tried at once; most of the time they wait")
    parser.add_argument("--results", type=Path, help="add a line for each case to this file")
    asked = parser.parse_args()
    # Everything that is started has folders of its own, and imports what is here.
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in (str(Path.cwd()), *sys.path) if path)
    asked.folder.mkdir(parents=True, exist_ok=True)
    maker = MEANS[asked.means](asked.folder.resolve())
    try:
        maker.record()
    finally:
        maker.close()
    draw = random.Random(asked.seed)
    cases = [case for case in maker.cases(draw, asked.full) if _wanted(case, asked)]
    if asked.sample is not None and asked.sample < len(cases):
        cases = draw.sample(cases, asked.sample)
    for case in cases if asked.first_call else ():
        # A later one may not come: how often a function is called depends on how busy the machine is.
        case.where = case.where.partition(", after ")[0]
    # What has one kind of bench in common, one after the other.
    cases.sort(key=lambda case: case.who)
    print(f"{len(maker.sites)} sites, {len(cases)} cases", flush=True)
    recorded = {name: value for name, value in vars(maker).items() if name in ("sites", "_starting", "_ending")}
    if asked.sabotage:
        recorded["worker"] = ("sheaf.chaos.sabotaged_worker", asked.sabotage)
    return _quarantine(_tried(asked, recorded, cases), asked.results)


def _tried(asked: argparse.Namespace, recorded: dict[str, Any], cases: list[Case]) -> Iterator[Case]:
    """Yield the cases as they end."""
    hung_s = errors_bench.HUNG_S if asked.patience is None else asked.patience
    known = (asked.means, asked.folder.resolve(), recorded, hung_s)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(asked.jobs, mp_context=spawn, initializer=Job.begin, initargs=known) as pool:
        for tried in as_completed([pool.submit(Job.run, case) for case in cases]):
            yield tried.result()


def _wanted(case: Case, asked: argparse.Namespace) -> bool:
    when = "for good" if case.lasting else "at its end" if case.where.endswith(AT_ITS_END) else "once"
    place = case.where.removesuffix(AT_ITS_END).partition(", after ")[0]
    return asked.who in case.who and re.search(asked.where, place) is not None and asked.lasting in (None, when)


def _quarantine(cases: Iterator[Case], results: Path | None) -> int:
    counts: Counter[str] = Counter()
    began = time.monotonic()
    for case in cases:
        if results is not None:
            with results.open("a") as file:
                file.write(case.as_json() + "\n")
        counts.update(runs=1, struck=int(case.struck > 0), wrong=int(not case.right), unmet=int(not case.struck))
        counts.update({name: getattr(case, name) for name in ("lost", "doubled", "torn", "failed", "hung", "silent")})
        _show(case)
    total = ", ".join(f"{count} {name}" for name, count in counts.items())
    print(f"{total}, in {time.monotonic() - began:.0f} s", flush=True)
    return int(counts["wrong"] > 0)


def _show(case: Case) -> None:
    mark = "WRONG" if not case.right else "ok" if case.struck else "not met"
    wrong = [f"{getattr(case, name)} {name}" for name in ("lost", "doubled", "torn", "failed", "hung", "silent")
             if getattr(case, name)]  # fmt: skip
    print(f"{mark:<8}{case.seconds:5.1f} s  {case}  {', '.join(wrong)}", flush=True)
    for note in ([case.said] if case.said else []) + (case.notes if not case.right else []):
        print(f"            {note[:600]}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
