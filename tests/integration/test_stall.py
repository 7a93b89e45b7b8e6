"""The progress watchdog: a run that does not move is said to, with the reason, by status, watch and the log."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.console import interrupt, wait_until
from tests.integration.bench import Bench

pytestmark = pytest.mark.redis

SCRIPT = Path(__file__).with_name("breaking_worker.py")


def worker(bench: Bench, part: str, how: str) -> tuple[subprocess.Popen[str], Path, Path]:
    """A worker that calls a run stalled after two seconds; the file whose appearance breaks it; its log."""
    flag, log = bench.person.folder / "break", bench.person.folder / "worker.log"
    settings = {"SHEAF_TASKS_DIR": str(SCRIPT.parent), "SHEAF_LABEL": "w"}
    return bench.worker(str(SCRIPT), str(flag), part, how, log=log, **settings), flag, log


def says(bench: Bench, run: str, words: str) -> None:
    """Overview, detail and watch show the sentence."""
    wait_until(lambda: words in bench.person.run("status").stdout, 60, f"the overview says: {words}")
    assert words in bench.person.run("status", run).stdout
    watch = bench.person.start("watch", run)
    assert watch.stderr is not None
    shown = ""
    while words not in shown:
        line = watch.stderr.readline()
        assert line, shown
        shown += line
    interrupt(watch)


def test_items_that_are_slow_are_named_as_such_and_not_as_a_fault(bench: Bench) -> None:
    """One item takes its time: which, for how long, and how long it may; the sentence goes when it is done."""
    _, _, log = worker(bench, "main", "raises")
    there = bench.person.folder / "there"
    run = bench.call("api_tasks:wait_for", str(there), batch_size=1, item_timeout_s=600)
    name = run.manifest.run

    says(bench, name, "its items are slow, which is not an error: item 0 has been in progress at w for")
    assert "it may take 10 min 0 s" in bench.person.run("status").stdout
    assert re.search('"level": "info", "message": "run makes no progress"', log.read_text())

    there.touch()
    bench.wait_until_done(run)
    wait_until(lambda: "nothing was committed" not in bench.person.run("status", name).stdout, 60, "all is well again")


def test_a_commit_that_hangs_is_said(bench: Bench) -> None:
    """Finished items that are not committed: where they wait, and who has the lock."""
    _, flag, log = worker(bench, "commit", "hangs")
    flag.touch()
    run = bench.call("api_tasks:wait_for", str(SCRIPT), str(SCRIPT))

    says(bench, run.manifest.run, "finished items wait at w; the output's lock is held by w for")

    assert re.search('"level": "warning", "message": "run makes no progress"', log.read_text())


def test_batches_that_nobody_takes_are_said(bench: Bench) -> None:
    """The worker is alive, its fetcher hangs."""
    _, flag, log = worker(bench, "fetcher", "hangs")
    wait_until(lambda: "worker started" in log.read_text(), 60, "it has started")
    flag.touch()
    run = bench.call("api_tasks:wait_for", *[str(SCRIPT)] * 8)

    says(bench, run.manifest.run, "its 2 batches wait on the queue, and w takes none of them")
