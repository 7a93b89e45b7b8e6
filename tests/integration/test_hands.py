"""What users' hands do to an output in mid-run, with real workers: each has an answer, and a way out."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from warcio.archiveiterator import ArchiveIterator

from sheaf.broker.queue import BatchQueue
from sheaf.embedded import find_redis_server
from sheaf.output.repair.verify import verify
from sheaf.run.run import Run
from tests.console import wait_until
from tests.integration.bench import Bench
from tests.support import RedisServer


def shorten(path: Path) -> None:
    os.truncate(path, path.stat().st_size * 2 // 3)


def replace(path: Path) -> None:
    path.with_name("other").write_bytes(b"another file\n" * 500_000)
    path.with_name("other").rename(path)


def overwrite_the_end(path: Path) -> None:
    with open(path, "r+b") as target:
        target.seek(-300, os.SEEK_END)
        target.write(b"x" * 300)


def remove_the_index(path: Path) -> None:
    for each in path.parent.glob(f"{path.name}.index*"):
        each.unlink()


@pytest.mark.parametrize(
    ("hurt", "reason"),
    [
        (shorten, "bytes are gone"),
        (Path.unlink, "is gone, but its index says"),
        (replace, "is not the file that was committed to"),
        (overwrite_the_end, "is not the file that was committed to"),
        (remove_the_index, "its index pages.jsonl.index does not"),
    ],
)
def test_a_hurt_output_is_refused_and_repaired_while_workers_run(
    bench: Bench, hurt: Callable[[Path], None], reason: str
) -> None:
    """Workers write nothing more and `sheaf watch` says why; `sheaf repair` tells, then does; the run completes."""
    run = bench.submit(100)
    bench.worker()
    bench.wait_until_done(run, more_than=10)
    path = bench.person.data / run.manifest.output

    hurt(path)

    said = bench.person.run("watch", run.manifest.run, status=1)
    assert reason in said.stderr
    assert "sheaf repair" in said.stderr
    content = path.read_bytes() if path.exists() else None
    plan = bench.person.run("repair", path.name, status=1).stdout
    assert "Nothing was changed. Do it: sheaf repair pages.jsonl --apply" in plan
    assert (path.read_bytes() if path.exists() else None) == content

    bench.person.run("repair", path.name, "--apply")

    bench.wait_until_done(run)
    bench.assert_exactly_once(run)
    assert content is None or list(path.parent.glob("pages.jsonl.damaged-1"))
    assert "Nothing to repair." in bench.person.run("repair", path.name).stdout


def test_a_finished_warc_with_a_damaged_middle_is_made_whole(bench: Bench) -> None:
    """Verify finds it, repair cuts the damaged commit out, the finished run goes on, and others can read the file."""
    run = bench.submit(60, output="pages.warc.gz", latency=20)
    bench.worker()
    bench.wait_until_done(run)
    path = bench.person.data / run.manifest.output
    whole = path.read_bytes()
    middle = len(whole) // 2
    path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    assert "sheaf repair data/pages.warc.gz" in bench.person.run("verify", path.name, status=1).stdout

    said = bench.person.run("repair", path.name, "--apply").stdout

    assert "the file is rewritten without them; the old one is kept in data/pages.warc.gz.damaged-1" in said
    bench.wait_until_done(run)
    bench.assert_exactly_once(run)
    with open(path, "rb") as stream:
        urls = [
            record.rec_headers["WARC-Target-URI"] for record in ArchiveIterator(stream) if record.rec_type == "response"
        ]
    assert sorted(urls) == sorted(item.text for item in run.all_items())


def test_an_output_that_was_moved_and_brought_back_goes_on_by_itself(bench: Bench) -> None:
    """mv in mid-run: nothing is written anywhere; mv back: the run completes with no other help."""
    run = bench.submit(100)
    bench.worker()
    bench.wait_until_done(run, more_than=10)
    path = bench.person.data / run.manifest.output
    path.rename(bench.person.folder / "elsewhere")
    with bench.server.client() as client:
        queue = BatchQueue(client)
        wait_until(lambda: queue.registry.problem(run.manifest.run) is not None, 60, "the problem is shown")
    size = (bench.person.folder / "elsewhere").stat().st_size

    assert not path.exists()
    (bench.person.folder / "elsewhere").rename(path)
    assert path.stat().st_size == size

    bench.wait_until_done(run, within_s=60)
    bench.assert_exactly_once(run)


def test_what_another_program_appends_in_mid_run_is_kept_aside(bench: Bench) -> None:
    """Again and again while workers commit: the run completes as if nothing had been, and no byte of it is lost."""
    run = bench.submit(100)
    bench.worker()
    bench.worker()
    path = bench.person.data / run.manifest.output
    for count in range(5):
        bench.wait_until_done(run, more_than=10 + 10 * count)
        with open(path, "ab") as stranger:
            stranger.write(b"<stray %d>" % count)

    bench.wait_until_done(run)
    bench.assert_exactly_once(run)
    aside = path.with_name(f"{path.name}.stray-1").read_bytes()
    assert [aside.count(b"<stray %d>" % count) for count in range(5)] == [1] * 5
    assert "kept aside: data/pages.jsonl.stray-1" in bench.person.run("repair", path.name).stdout


def test_two_runs_into_one_output(bench: Bench) -> None:
    """Both complete, each item of each is there once."""
    first = bench.submit(60)
    second = bench.submit(40, "--again")
    bench.worker()
    bench.worker()

    bench.wait_until_done(first)
    bench.wait_until_done(second)

    report = verify(bench.person.data, first.manifest.output)
    assert report.ok, report
    assert [(run.run, run.done) for run in report.runs] == [(first.manifest.run, 60), (second.manifest.run, 40)]


def test_two_stacks_on_one_volume(bench: Bench) -> None:
    """Two Redis that know nothing of each other: items may be loaded twice, the output has each once."""
    other = RedisServer(find_redis_server())
    other.start()
    try:
        # Ten seconds for one of them: the other begins meanwhile.
        run = bench.submit(200)
        logs = [bench.person.folder / name for name in ("one.log", "other.log")]
        workers = [bench.worker(log=logs[0]), bench.worker(log=logs[1], SHEAF_REDIS_URL=other.url)]

        bench.wait_until_done(run)

        bench.assert_exactly_once(run)
        wait_until(lambda: Run.open(bench.person.data, run.manifest.run).finished, 60, "the run is finished")
        for worker in workers:
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(timeout=60) == 0
        for log in logs:
            last = json.loads(log.read_text().splitlines()[-1])
            assert (last["message"], last["items"] > 0) == ("worker stopped", True), last
    finally:
        other.stop()
