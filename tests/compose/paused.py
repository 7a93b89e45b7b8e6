"""A container is paused while it holds the fence: what goes through meanwhile, who waits, and whom they name.

`python -m tests.compose.paused --results FILE` starts a stack of four workers of its own, pauses one for 60 s and adds
what it saw to FILE, for `sheaf torture --report`. The test of this folder does the same with the session's stack.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from sheaf.chaos.campaign import code_digest
from tests.compose.stack import Stack, docker, log_of

#: Stops (SIGSTOP) whichever of these processes holds the fence, makes sure that it still does, and prints its pid.
HUNT = """
import os, pathlib, signal, sys, time
from sheaf.chaos.fence import fence_holder
output, *pids = sys.argv[1:]
end = time.monotonic() + 60
while time.monotonic() < end:
    pid = fence_holder(pathlib.Path(output), {int(pid) for pid in pids})
    if pid is not None:
        os.kill(pid, signal.SIGSTOP)
        time.sleep(0.01)
        if fence_holder(pathlib.Path(output), {pid}) == pid:
            print(pid)
            break
        os.kill(pid, signal.SIGCONT)
"""

#: Prints the moment, the pages that are committed and their bytes, ten times a second, until all are.
SAMPLE = """
import sqlite3, sys, time
index = sqlite3.connect(f'file:{sys.argv[1]}.index?mode=rw', uri=True)
done, end = 0, time.monotonic() + 900
while done < int(sys.argv[2]) and time.monotonic() < end:
    done, size = index.execute('SELECT done, bytes FROM runs ORDER BY id DESC LIMIT 1').fetchone()
    print(time.time(), done, size, flush=True)
    time.sleep(0.1)
"""
#: How the pages of one load are distinguished in the output: by their numbers on the site.
PAGE = re.compile(rb"<title>Page (\d+)</title>")
END = re.compile(rb"<!-- end of page (\d+) -->")


@dataclass(slots=True)
class Sample:
    """What was committed at one moment (seconds since 1970)."""

    at: float
    pages: int
    size: int


@dataclass(slots=True)
class Seen:
    """What a pause looked like, from outside."""

    pages: int
    pause_s: float
    output: str
    workers: int = 0
    #: The paused container's host name.
    paused: str = ""
    samples: list[Sample] = field(default_factory=list)
    #: The moments at which the pause began and ended.
    began: float = 0.0
    ended: float = 0.0
    status: str = ""
    watch: str = ""
    #: The other workers' log lines, by their container's host name.
    logs: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    lost: int = 0
    doubled: int = 0
    torn: int = 0

    def waits(self, message: str) -> list[float]:
        """How long the others say that they waited, in seconds, in their lines with this message."""
        lines = [line for log in self.logs.values() for line in log]
        return [float(line["waited_s"]) for line in lines if line["message"] == message]

    def blockers(self) -> list[tuple[str, str]]:
        """(container, whom its log names as the one in the way), the last line of each."""
        named = {host: line["blocked_by"] for host, log in self.logs.items() for line in log if "blocked_by" in line}
        return sorted(named.items())

    def committed_between(self, since: float, until: float) -> tuple[int, int]:
        """Pages and bytes that were committed between two moments."""
        inside = [sample for sample in self.samples if since <= sample.at <= until]
        return (inside[-1].pages - inside[0].pages, inside[-1].size - inside[0].size) if inside else (0, 0)

    @property
    def resumed_after_s(self) -> float | None:
        """How soon after the pause the first commit was seen."""
        grown = [after.at for before, after in pairwise(self.samples) if after.pages > before.pages]
        return next((at - self.ended for at in grown if at > self.ended), None)


def pause_holder(stack: Stack, name: str, pages: int, pause_s: float, connections: int = 16) -> Seen:
    """Load this many pages of the local site; pause the fence's holder when a fifth is done; report what was seen."""
    seen = Seen(pages, pause_s, f"{name}.html")
    workers = {_worker_pid(worker): worker for worker in stack.containers("worker")}
    seen.workers = len(workers)
    (stack.lists / f"{name}.txt").write_text(stack.urls(pages, "?latency=200"))
    options = ["--connections", str(connections), "--allow-net", stack.site_net]
    stack.producer("load", f"{name}.txt", "-o", seen.output, "--detach", *options)
    watch = stack.start_producer("watch", "last")
    sampler = _Sampler(stack, seen)
    sampler.wait_for_pages(pages // 5)

    pid = stack.as_root_of_host("python", "-c", HUNT, f"/data/{seen.output}", *map(str, workers)).strip()
    assert pid, "no process was seen to hold the fence within 60 s"
    victim = workers[int(pid)]
    seen.paused = victim["Config"]["Hostname"]
    docker("pause", victim["Id"])
    # It stays where it is now: the engine has frozen it.
    stack.as_root_of_host("sh", "-c", f"kill -CONT {pid}")
    seen.began = time.time()
    time.sleep(pause_s * 0.8)
    seen.status = stack.producer("status", "last").stdout
    time.sleep(max(0.0, seen.began + pause_s - time.time()))
    # Before it is let go: it commits while the engine's command still runs.
    seen.ended = time.time()
    docker("unpause", victim["Id"])

    seen.watch = watch.communicate(timeout=300)[0]
    sampler.close()
    for worker in workers.values():
        if worker is not victim:
            seen.logs[worker["Config"]["Hostname"]] = _log_lines(worker["Id"], seen.began)
    return seen


def quarantine(seen: Seen, output: Path) -> None:
    """Read the output's bytes: each page of the site once, from its first line to its last."""
    content = output.read_bytes()
    found, ended = (Counter(int(number) for number in mark.findall(content)) for mark in (PAGE, END))
    seen.lost = sum(number not in found for number in range(seen.pages))
    seen.doubled = sum(count > 1 for count in found.values())
    seen.torn = sum(ended[number] != count for number, count in found.items())


def result_of(seen: Seen) -> dict[str, Any]:
    """The line for the results' file."""
    first, last = seen.samples[0].at, seen.samples[-1].at
    parts = []
    for name, since, until in (
        ("before", first, seen.began),
        ("paused", seen.began, seen.ended),
        ("after", seen.ended, last),
    ):
        pages, size = seen.committed_between(since, until)
        seconds = max(until - since, 0.001)
        parts.append({"name": name, "seconds": seconds, "pages": pages, "pages_per_s": pages / seconds, "bytes": size})
    said = [{"where": "sheaf status", "text": line.strip()} for line in seen.status.splitlines() if _tells(line)]
    said += [{"where": f"log of {host}", "text": text} for host, text in seen.blockers()]
    return {
        "kind": "pause",
        "at": time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
        "code": code_digest(),
        "pages": seen.pages,
        "output": seen.output,
        "workers": seen.workers,
        "pause_s": seen.pause_s,
        "paused": seen.paused,
        "parts": parts,
        "lock_wait_s": max(seen.waits("acquired the output's lock after a long wait"), default=None),
        "fence_wait_s": max(seen.waits("got the output's fence after a long wait"), default=None),
        "resumed_after_s": seen.resumed_after_s,
        "said": said,
        "lost": seen.lost,
        "doubled": seen.doubled,
        "torn": seen.torn,
    }


def _worker_pid(container: dict[str, Any]) -> int:
    """The worker's own process, as the host sees it: neither the container's init nor a process of the pool."""
    lines = [line.split(maxsplit=1) for line in docker("top", container["Id"], "-eo", "pid,args").splitlines()]
    (pid,) = [int(pid) for pid, command in lines[1:] if "sheaf-worker" in command and "init" not in command.split()[0]]
    return pid


def _tells(line: str) -> bool:
    return line.strip().startswith(("blocked", "problem", "lock"))


def _log_lines(container: str, since: float) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in log_of(container, since).splitlines() if line.startswith("{")]
    return [line for line in lines if line.get("action") in ("wait", "commit")]


class _Sampler:
    """Looks at the index all the time, from a container of its own."""

    def __init__(self, stack: Stack, seen: Seen) -> None:
        self._seen = seen
        self._process = stack.start_python(SAMPLE, f"/data/{seen.output}", str(seen.pages))
        assert self._process.stdout is not None
        self._lines = iter(self._process.stdout)

    def wait_for_pages(self, count: int) -> None:
        deadline = time.monotonic() + 120
        while not self._seen.samples or self._seen.samples[-1].pages <= count:
            assert time.monotonic() < deadline, f"more than {count} pages are committed: not within 120 s"
            self._take(next(self._lines))

    def close(self) -> None:
        """Take what is left; it ends with the run."""
        with self._process:
            for line in self._lines:
                self._take(line)

    def _take(self, line: str) -> None:
        at, pages, size = line.split()
        self._seen.samples.append(Sample(float(at), int(pages), int(size)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--pages", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--results", type=Path, required=True)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sheaf-paused-") as folder:
        stack = Stack(Path(folder))
        try:
            stack.start(given.workers)
            seen = pause_holder(stack, "paused", given.pages, given.seconds)
            quarantine(seen, stack.fetch(seen.output, Path(folder)))
        finally:
            stack.remove()
    result = result_of(seen)
    with open(given.results, "a") as file:
        file.write(json.dumps(result) + "\n")
    print(json.dumps(result, indent=1))
    return int(bool(seen.lost or seen.doubled or seen.torn))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.TimeoutExpired as error:
        sys.exit(f"gave up: {error}")
