"""A tiny function over many integers: `sheaf map` beside what people use today."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.common.peers import Peer, many, redis_server
from benchmarks.common.runner import Column, Contender, Stage
from benchmarks.scenarios.map import sheaf_clusters

TITLE = "A tiny function over many items, beside queues and pools"
ABOUT = """`square(n)`, from submission to all results with the submitter, in order and checked; two processes at work
everywhere unless said otherwise. Each peer gets as many items as take it a few seconds, its workers are warm, and
start-up does not count. Sheaf's results alone are on disk by then, each exactly once, whatever was killed on the way;
what the pools hold is gone with their process. Settings: the peer's file in `benchmarks/peers/`."""
COLUMNS = (
    Column("per_s", "items/s", "{:,.0f}"),
    Column("cpu_ms_per_item", "CPU ms an item, start-up included", "{:.4f}"),
)
PEERS = (
    Peer("RQ x1, a fork per job", "rq_peer.py", "fork", 200),
    Peer("RQ worker-pool x2, a fork per job", "rq_peer.py", "fork-pool", 300),
    Peer("RQ SimpleWorker x2", "rq_peer.py", "simple", 1500),
    Peer("Celery prefork -c 2", "celery_peer.py", "prefork", 2000),
    Peer("Celery prefork -c 2, chunks of 1,000", "celery_peer.py", "chunks", 100_000),
    Peer("arq x2", "arq_peer.py", "tuned", 2000),
    Peer("taskiq x2, Redis list", "taskiq_peer.py", "list", 2000),
    Peer("Dramatiq, 2 processes x 8 threads", "dramatiq_peer.py", "2x8", 5000),
    Peer("Huey x2", "huey_peer.py", "processes", 6000),
    Peer("Dask client.map x2", "dask_peer.py", "map", 2000),
    Peer("Dask bag, 100 partitions, distributed x2", "dask_peer.py", "bag", 50_000),
    Peer("Dask bag, 100 partitions, local processes x2", "dask_peer.py", "bag-local", 500_000),
    Peer("Ray tasks x2", "ray_peer.py", "tasks", 5000),
    Peer("Ray Pool.map x2, its own chunks", "ray_peer.py", "pool", 500_000),
    Peer("GNU parallel -j2, `expr`", "shell_peer.py", "parallel", 600, program="parallel"),
    Peer("xargs -P2, `expr`", "shell_peer.py", "xargs", 3000),
    Peer("multiprocessing.Pool(2).map", "pools_peer.py", "pool-map", 1_000_000),
    Peer("ProcessPoolExecutor x2, chunks of 1,000", "pools_peer.py", "executor", 1_000_000),
    Peer("loky x2, chunks of 1,000", "pools_peer.py", "loky", 1_000_000),
    Peer("pebble x2, chunks of 1,000", "pools_peer.py", "pebble", 200_000),
)


@contextmanager
def contenders(stage: Stage) -> Iterator[list[Contender]]:
    versions: dict[str, str] = stage.facts.setdefault("peer_versions", {})
    with redis_server(stage.work / "redis") as url, sheaf_clusters(stage) as sheaf:
        peers = [
            many(peer, url, stage.items(peer.items, max(20, peer.items // 20)), versions)
            for peer in PEERS
            if peer.there
        ]
        yield [*sheaf, *peers]
