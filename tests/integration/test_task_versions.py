"""A run is made by one version of its task; a changed file is used by the next run."""

from __future__ import annotations

import json

import pytest
import redis

from sheaf.broker.worker_registry import WorkerRegistry
from sheaf.output.output import Output
from sheaf.run.run import Run
from sheaf.tasks.description import describe
from sheaf.tasks.versions import record_version, version_name, versions
from tests.console import wait_until
from tests.integration.bench import Bench

pytestmark = pytest.mark.redis

SLOW = "import time\nfrom helper_of_slow import NAME\ndef f(text):\n    time.sleep({pause})\n    return NAME + text\n"


class Folder:
    """The bench's tasks folder, with one task in two files."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.path = bench.person.folder / "tasks"
        self.path.mkdir()

    def write(self, name: str, pause: float = 0.0) -> None:
        (self.path / "slow.py").write_text(SLOW.format(pause=pause))
        (self.path / "helper_of_slow.py").write_text(f"NAME = {name!r}\n")

    def submit(self, *items: str, output: str) -> Run:
        return self.bench.call("slow:f", *items, output=output, files=describe("slow:f", self.path).spec.files)

    def values(self, run: Run) -> list[str]:
        output = Output(self.bench.person.data / run.manifest.output)
        values = {index: json.loads(line)["value"] for index, line in output.records.all(run.manifest.run)}
        assert list(output.reader.failures(run.manifest.run)) == []
        output.close()
        return [values[index] for index in sorted(values)]


@pytest.fixture
def folder(bench: Bench) -> Folder:
    return Folder(bench)


def finished(run: Run) -> Run:
    wait_until(lambda: run.finished, 40, "the run is finished")
    return run


def test_a_changed_file_is_used_by_the_next_run(folder: Folder) -> None:
    """The same children, and only a file that the task imports has changed, within the same second and size."""
    folder.write("one ")
    folder.bench.worker(log=folder.path / "log", SHEAF_POOL_SIZE="1")
    first = finished(folder.submit("a", "b", output="first.jsonl"))
    folder.write("two ")
    second = finished(folder.submit("a", "b", output="second.jsonl"))

    assert (folder.values(first), folder.values(second)) == (["one a", "one b"], ["two a", "two b"])
    assert versions(first)[-1].name != versions(second)[-1].name


def stand_still(folder: Folder, run: Run) -> None:
    """Change the task in mid-run, and wait until the worker says that the run is paused."""
    folder.bench.worker(log=folder.path / "log", SHEAF_POOL_SIZE="1")
    folder.bench.wait_until_done(run, more_than=3)
    folder.write("two ")
    wait_until(lambda: f"changed since run {run.manifest.run}" in status(folder, run), 60, "the reason is shown")


def status(folder: Folder, run: Run) -> str:
    return folder.bench.person.run("status", run.manifest.run).stdout


def look_again(folder: Folder, run: Run) -> None:
    """What `sheaf retry` does too; without it the workers leave the run alone for half a minute."""
    with redis.Redis.from_url(folder.bench.server.url) as connection:
        WorkerRegistry(connection).clear_problem(run.manifest.run)


def test_a_run_whose_task_changes_stands_still_until_the_file_is_back(folder: Folder) -> None:
    """No item fails, no two versions are mixed; `watch` says which file, and the run goes on when it is back."""
    folder.write("one ", pause=0.1)
    run = folder.submit(*map(str, range(40)), output="first.jsonl")
    stand_still(folder, run)

    assert f"problem  {run.manifest.run}: {folder.path}/" in folder.bench.person.run("status").stdout
    stopped = folder.bench.person.run("watch", run.manifest.run, status=1)
    assert f"{folder.path}/helper_of_slow.py and 1 more have changed" in stopped.stderr

    folder.write("one ", pause=0.1)
    look_again(folder, run)
    assert folder.values(finished(run)) == [f"one {number}" for number in range(40)]


def test_a_run_goes_on_with_another_version_if_a_person_says_so(folder: Folder) -> None:
    """What is done stays; the run tells both versions, and when each began."""
    folder.write("one ", pause=0.1)
    run = folder.submit(*map(str, range(40)), output="first.jsonl")
    stand_still(folder, run)

    record_version(run, describe("slow:f", folder.path).spec.files)
    look_again(folder, run)

    values = folder.values(finished(run))
    assert sorted(values, key=lambda value: int(value.split()[1])) == values
    assert {value.split()[0] for value in values} == {"one", "two"}
    assert [version.name for version in versions(run)] == [
        version_name(run.manifest.spec.files),
        version_name(describe("slow:f", folder.path).spec.files),
    ]
    assert status(folder, run).count("version  ") == 2
