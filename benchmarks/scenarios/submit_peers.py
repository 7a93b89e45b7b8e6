"""One call at a time on an idle cluster: how long from the submission to its result?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.common.cluster import Cluster
from benchmarks.common.peers import Peer, percentiles, redis_server, singles
from benchmarks.common.runner import Column, Contender, Measured, Stage
from benchmarks.scenarios.map import TASKS

TITLE = "A single call on an idle cluster"
ABOUT = """One call after another, each timed from its submission to its result in the caller's hands; the workers are
warm, and idle for 5 ms before each call. Sheaf's result is on disk by then."""
COLUMNS = (
    Column("p50_ms", "p50 ms", "{:.1f}"),
    Column("p90_ms", "p90 ms", "{:.1f}"),
    Column("p99_ms", "p99 ms", "{:.1f}"),
    Column("worst_ms", "worst ms", "{:.1f}"),
)
OURS = "sheaf, cluster.submit(...).result(), 2 workers x 1 process"
PEERS = (
    Peer("RQ x1, a fork per job", "rq_peer.py", "fork", 100),
    Peer("RQ SimpleWorker x2", "rq_peer.py", "simple", 300),
    Peer("Celery prefork -c 2", "celery_peer.py", "prefork", 300),
    Peer("arq x2", "arq_peer.py", "tuned", 300),
    Peer("taskiq x2, Redis list", "taskiq_peer.py", "list", 300),
    Peer("Dramatiq, 2 processes x 8 threads", "dramatiq_peer.py", "2x8", 300),
    Peer("Huey x2", "huey_peer.py", "processes", 300),
    Peer("Dask client.submit x2", "dask_peer.py", "map", 300),
    Peer("Ray task x2", "ray_peer.py", "tasks", 300),
)


@contextmanager
def contenders(stage: Stage) -> Iterator[list[Contender]]:
    versions: dict[str, str] = stage.facts.setdefault("peer_versions", {})
    settings = {"SHEAF_POOL_SIZE": "1", "SHEAF_TASKS_DIR": str(TASKS)}
    with redis_server(stage.work / "redis") as url, Cluster(stage.work / "data", settings, workers=2) as cluster:
        ours = sheaf_submit(cluster, stage.items(500, 30))
        yield [ours, *(singles(peer, url, stage.items(peer.items, 30), versions) for peer in PEERS)]


def sheaf_submit(cluster: Cluster, count: int) -> Contender:
    def turn(_: int) -> Measured:
        done = cluster.python("benchmarks/api_calls.py", "singles", str(count))
        return percentiles(json.loads(done.stdout)["times_ms"])

    return Contender(OURS, turn, "sheaf", count)
