"""What is not a kill: system calls that are refused, threads that raise, odd replies of Redis; one thing a run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from sheaf.chaos.refusals import available
from sheaf.core.errors import RedisUnavailable
from sheaf.embedded import find_redis_server
from tests.chaos.proof import FULL

ROOT = Path(__file__).parents[2]
#: Means -> how many of its cases are tried, and the seed that draws them; all of them where SHEAF_PROOF=full.
SAMPLES = {"calls": 10, "threads": 8, "replies": 12, "supervisor": 2, "program": 4}
SEED = 20261128
#: Those that need the kernel to ask us about system calls.
NEED_HOLDING = ("calls", "supervisor")
pytestmark = [pytest.mark.redis, pytest.mark.timeout(7200 if FULL else 300)]


@pytest.fixture(autouse=True)
def redis_server_is_there() -> None:
    try:
        find_redis_server()
    except RedisUnavailable as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))


def make_fail(folder: Path, means: str, *options: str) -> tuple[int, str, list[dict[str, object]]]:
    """Run the tool; return its status, what it printed, and the cases that struck."""
    results = folder / "results.jsonl"
    command = [sys.executable, "-m", "tests.chaos.errors", means, str(folder / "benches"), "--results", str(results)]
    done = subprocess.run(
        [*command, "--jobs", "2", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    cases = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    return done.returncode, done.stdout + done.stderr, [case for case in cases if case["struck"]]


@pytest.mark.parametrize("means", SAMPLES)
def test_whatever_fails_the_run_comes_to_its_end_or_somebody_says_why(tmp_path: Path, means: str) -> None:
    """Once and for good: nothing is lost, doubled or torn, nothing hangs, nothing goes unreported."""
    if means in NEED_HOLDING and (why := available()):
        pytest.skip(why)

    options = ["--full"] if FULL else ["--sample", str(SAMPLES[means]), "--seed", str(SEED)]
    status, said, struck = make_fail(tmp_path, means, *options)

    assert status == 0, said
    assert len(struck) >= SAMPLES[means] // 3
    wrong = Counter[str]()
    for case in struck:
        wrong.update({name: int(str(case[name])) for name in ("lost", "doubled", "torn", "hung", "silent")})
    assert not any(wrong.values()), said


def test_a_thread_that_raises_ends_its_worker_which_says_why(tmp_path: Path) -> None:
    """What once made a worker that renewed its leases for ever, or lost what an item had brought."""
    functions = (
        "results:Reports._learn",
        "committer:Committer._after_commit",
        "sheaf.scheduling.reconciler:Reconciler.feed",
        "fetcher:Fetcher._take",
    )

    status, said, struck = make_fail(
        tmp_path, "threads", "--where", f"({'|'.join(functions)})$", "--lasting", "once", "--first-call"
    )

    assert status == 0, said
    assert len(struck) == len(functions), said


def test_a_worker_that_only_seems_to_live_is_noticed(tmp_path: Path) -> None:
    """The judge can say no: of workers whose broken threads end nothing, one renews its leases and does no more."""
    place = ("--who", "main", "--where", "Worker._pass_on", "--lasting", "once", "--first-call")
    status, said, struck = make_fail(tmp_path, "threads", *place, "--sabotage", "zombie", "--patience", "8")

    assert status == 1, said
    assert [case["hung"] for case in struck] == [1], said
