"""Peers as contenders: in the benchmarks' own environment, on a Redis like Sheaf's own, emptied before each turn."""

from __future__ import annotations

import json
import os
import shutil
import socket
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from benchmarks.common.command import Ran, run
from benchmarks.common.record import ROOT
from benchmarks.common.runner import Contender, Measured
from sheaf.embedded import find_redis_server

PEERS = ROOT / "benchmarks/peers"
PYTHON = ROOT / "benchmarks/.venv/bin/python"
#: arq needs an older Redis client than the others.
ARQ_PYTHON = ROOT / "benchmarks/.venv-arq/bin/python"


@dataclass(frozen=True, slots=True)
class Peer:
    name: str
    script: str
    variant: str
    #: Calls that take it a few seconds.
    items: int
    #: What it did, for people.
    note: str = ""
    #: A program of the system that it needs.
    program: str | None = None

    @property
    def package(self) -> str:
        """Whose version its script says."""
        return (
            self.variant if self.script in ("shell_peer.py", "pools_peer.py") else self.script.removesuffix("_peer.py")
        )

    @property
    def there(self) -> bool:
        return self.program is None or shutil.which(self.program) is not None


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """Redis for the peers, on a TCP port, with the append-only file that Sheaf's has; yields its URL."""
    folder.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = f"--port {port} --dir {folder} --appendonly yes --appendfsync everysec --daemonize no".split()
    process = subprocess.Popen([find_redis_server(), *options, "--save", ""], stdout=subprocess.DEVNULL)
    url = f"redis://127.0.0.1:{port}/0"
    try:
        _wait_for(url)
        yield url
    finally:
        process.terminate()
        process.wait()


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + 20
    with redis.Redis.from_url(url) as client:
        while True:
            try:
                client.ping()
                return
            except redis.exceptions.ConnectionError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)


def call(peer: Peer, url: str | None, *options: str) -> tuple[dict[str, Any], Ran]:
    """Run a peer's script; return what it printed."""
    if url is not None:
        with redis.Redis.from_url(url) as client:
            client.flushall()
    python = ARQ_PYTHON if peer.script.startswith("arq") else PYTHON
    done = run(
        [python, PEERS / peer.script, peer.variant, *options],
        cwd=PEERS,
        environment=os.environ | ({"PEER_REDIS_URL": url} if url else {}),
    )
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return said, done


def many(peer: Peer, url: str | None, items: int, versions: dict[str, str], kind: str = "peer") -> Contender:
    """`items` calls at once, as many a second as it can."""

    def turn(_: int) -> Measured:
        said, done = call(peer, url, "--items", str(items))
        versions[peer.package] = said["version"]
        return {
            "wall_s": done.wall_s,
            "per_s": items / said["run_s"],
            "whole_per_s": items / done.wall_s,
            "cpu_ms_per_item": done.cpu_s * 1000 / items,
        }

    return Contender(peer.name, turn, kind, items, peer.note)


def singles(peer: Peer, url: str, count: int, versions: dict[str, str]) -> Contender:
    """One call after another."""

    def turn(_: int) -> Measured:
        said, _ran = call(peer, url, "--singles", str(count))
        versions[peer.package] = said["version"]
        return percentiles(said["times_ms"])

    return Contender(peer.name, turn, "peer", count, peer.note)


def percentiles(times_ms: list[float]) -> dict[str, float]:
    ranks = statistics.quantiles(times_ms, n=100, method="inclusive")
    return {"p50_ms": ranks[49], "p90_ms": ranks[89], "p99_ms": ranks[98], "worst_ms": max(times_ms)}
