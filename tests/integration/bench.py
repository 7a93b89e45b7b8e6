"""A data folder, a Redis and real workers that a test starts, stops and kills."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from sheaf.broker import keys
from sheaf.core.settings import Settings
from sheaf.output.output import Output
from sheaf.output.repair.verify import verify
from sheaf.run.run import Run, list_runs
from sheaf.run.task_spec import TaskSpec
from tests.console import Console, Site, wait_until
from tests.runs import write_run
from tests.support import RedisServer

#: Short leases, so that what takes 20 s in a user's cluster takes 4 s here.
QUICK = {
    "SHEAF_BATCH_LEASE_S": "3",
    "SHEAF_HEARTBEAT_S": "1",
    "SHEAF_RECONCILE_S": "0.5",
    "SHEAF_COMMIT_S": "0.2",
    "SHEAF_GRACE_S": "5",
}


class Bench:
    """A data folder, a Redis, and workers that the test starts and kills."""

    def __init__(self, folder: Path, server: RedisServer, site: Site) -> None:
        self.person = Console(folder, SHEAF_REDIS_URL=server.url, **QUICK)
        self.person.data.mkdir(exist_ok=True)
        self.server = server
        self.site = site
        self.workers: list[subprocess.Popen[str]] = []

    def worker(self, *command: str, log: Path | None = None, **settings: str) -> subprocess.Popen[str]:
        """Start a worker; `command`: another way to start it, `log`: where its log goes, if it is long."""
        with open(log or os.devnull, "ab") as stream:
            process = subprocess.Popen(
                [sys.executable, *(command or ("-m", "sheaf_worker"))],
                cwd=self.person.folder,
                env=self.person.environment | settings,
                stderr=subprocess.PIPE if log is None else stream,
                text=True,
            )
        self.workers.append(process)
        return process

    def serve(self, workers: int = 1, **settings: str) -> Settings:
        """Start workers, wait for them, and return the settings of a program that uses them."""
        for _ in range(workers):
            self.worker(log=None, **settings)
        self.wait_for_workers()
        return Settings.from_env(self.person.environment | settings)

    def wait_for_workers(self) -> None:
        """A program by itself waits a few seconds for workers, which a busy machine may need to start one."""
        with self.server.client() as client:
            wait_until(lambda: client.zcard(keys.WORKERS) >= len(self.workers), 120, "the workers have started")

    def submit(self, pages: int, *options: str, output: str = "pages.jsonl", latency: int = 100) -> Run:
        """Submit a run that two connections work on for a while: `pages` times `latency` ms, halved."""
        name = self.person.list_file("urls.txt", *self.site.pages(pages, latency=latency))
        allow = ["--allow-net", "127.0.0.0/8", "--connections", "2", "--batch-size", "4"]
        self.person.run("load", name, "-o", output, "--detach", *allow, *options)
        return Run.open(self.person.data, list_runs(self.person.data)[-1])

    def call(self, task: str, *items: str, batch_size: int = 4, output: str = "values.jsonl", **limits: Any) -> Run:
        """Submit a run of a function under the tasks folder, as `sheaf.run.run` writes it. `limits`: as of TaskSpec."""
        name = time.strftime("%Y%m%d-%H%M%S-") + secrets.token_hex(3)
        Output.create(self.person.data / output).close()
        spec = TaskSpec(task, **limits)
        return write_run(self.person.data, items, name, spec, output=output, batch_size=batch_size)

    def done(self, run: Run) -> int:
        output = Output(self.person.data / run.manifest.output)
        try:
            found = output.reader.runs().get(run.manifest.run)
            return found.done if found else 0
        finally:
            output.close()

    def wait_until_done(self, run: Run, *, more_than: int | None = None, within_s: float = 120) -> None:
        """Wait for the run's end, or for more than this many items."""
        target = run.manifest.items - 1 if more_than is None else more_than
        wait_until(lambda: self.done(run) > target, within_s, f"more than {target} items are in the output")

    def assert_exactly_once(self, run: Run) -> None:
        report = verify(self.person.data, self.person.data / run.manifest.output)
        assert report.ok, report
        assert (report.done, report.missing, report.duplicate, report.torn) == (run.manifest.items, 0, 0, 0)
