"""RQ: `fork` (its default worker, one), `fork-pool` (two of them), `simple` (two SimpleWorkers, its fastest).

Best found: all jobs enqueued by one `enqueue_many` in a pipeline, no job descriptions in the log, quiet logging,
results kept in Redis and read job by job.
"""

from __future__ import annotations

import time

from peer import REDIS_URL, Variant, main, processes, square
from redis import Redis
from rq import Queue
from rq.job import Job

connection = Redis.from_url(REDIS_URL)
queue = Queue(connection=connection)
QUIET = ["--url", REDIS_URL, "--path", "."]


def many(items: int) -> list[int]:
    jobs = queue.enqueue_many([Queue.prepare_data(square, (number,), result_ttl=600) for number in range(items)])
    return [result(job) for job in jobs]


def one(number: int) -> int:
    return result(queue.enqueue(square, number, result_ttl=600))


def result(job: Job) -> int:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        found = job.latest_result(timeout=10)
        if found is not None:
            if found.return_value is None:
                raise SystemExit(f"a job failed: {found.exc_string}")
            return int(found.return_value)
    raise SystemExit("no result")


def worker(*options: str) -> list[str]:
    return ["rq", "worker", "--quiet", "--disable-job-desc-logging", *QUIET, *options]


SIMPLE = worker("--worker-class", "rq.SimpleWorker")

if __name__ == "__main__":
    main(
        "rq",
        {
            "fork": Variant(lambda: processes(worker()), many, one),
            "fork-pool": Variant(lambda: processes(["rq", "worker-pool", "-q", "-n", "2", *QUIET]), many, one),
            "simple": Variant(lambda: processes(SIMPLE, SIMPLE), many, one),
        },
    )
