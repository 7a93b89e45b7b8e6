"""Pages of 30 KB into one file: `sheaf load` beside the same work with nothing around it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.common.cluster import Cluster
from benchmarks.common.command import CommandFailed, run
from benchmarks.common.record import PEERS_PYTHON
from benchmarks.common.runner import Column, Contender, Measured, Stage
from benchmarks.common.site import Site, serve
from sheaf.formats.utf8 import simdjson

TITLE = "Loading pages, beside bare pipelines"
ABOUT = """All load the same {items:,} pages (30 KB on average, 1,000 distinct ones) from {server}, which shares the
{cores} cores with them. A bare pipeline is CurlMulti, an encoder and one file per process, and nothing else: no queue,
no lock, no index, no address check, no retry, and torn files after a kill (`benchmarks/bare/load_pages.py`). Sheaf's
commits are synced to disk and indexed, whatever the format; of the bare pipelines only the WARC ones and the second of
raw bodies sync (every 64 pages). Sheaf's .html is UTF-8 from end to end ({utf8} tells), which the first one of raw
bodies does not check. The second WARC pipeline writes the records and digests that Sheaf writes. "In the run" leaves
out the start of interpreters: from the submission to the last commit on disk, or, for a bare pipeline, from its first
page to its last write. The last column holds Sheaf against its bare pipeline: whole command / in the run / by CPU
seconds."""
COLUMNS = (
    Column("per_s", "pages/s, whole command", "{:,.0f}"),
    Column("run_per_s", "pages/s, in the run", "{:,.0f}"),
    Column("steady_per_s", "pages/s, between first and last commit", "{:,.0f}"),
    Column("cpu_ms_per_item", "CPU ms a page", "{:.3f}"),
    Column("children_us", "pool µs", "{:.0f}"),
    Column("worker_us", "worker µs", "{:.0f}"),
    Column("command_us", "command µs", "{:.0f}"),
    Column("site_cores", "the site's cores", "{:.2f}"),
)
BARE = Path(__file__).parents[1] / "bare/load_pages.py"
MODES = (
    ("bare CurlMulti x1, pages thrown away", "none", 1),
    ("bare CurlMulti x2, pages thrown away", "none", 2),
    ("bare CurlMulti + raw concatenation x2", "raw", 2),
    ("bare, as before, with a check for UTF-8 and fdatasync x2", "raw-full", 2),
    ("bare CurlMulti + orjson lines x2", "jsonl", 2),
    ("bare CurlMulti + WARC.gz (isal 1) + fdatasync x2", "warc", 2),
    ("bare, as before, with Sheaf's records and digests x2", "warc-full", 2),
)
#: Which bare pipeline each format is held against: the targets of the project are ratios to these.
AGAINST = {
    ".warc.gz": "bare CurlMulti + WARC.gz (isal 1) + fdatasync x2",
    ".jsonl": "bare CurlMulti + orjson lines x2",
    ".html": "bare CurlMulti + raw concatenation x2",
}


@contextmanager
def contenders(stage: Stage) -> Iterator[list[Contender]]:
    with serve(stage.work / "site") as site, Cluster(stage.work / "data") as cluster:
        count = stage.items(144_000, 2_000)
        urls = site.write_urls(stage.work / "urls.txt", count)
        warm_up(urls, stage.work)
        stage.facts.update(server=site.server, items=count, utf8="simdjson" if simdjson() else "Python")
        stage.facts["ratios"] = {sheaf_name(suffix): name for suffix, name in AGAINST.items()}
        bare = [
            Contender(name, bare_turn(site, urls, stage.work, mode, processes), "bare", count)
            for name, mode, processes in MODES
        ]
        sheaf = [sheaf_load(site, cluster, urls, suffix, count) for suffix in (".warc.gz", ".warc", ".jsonl", ".html")]
        yield bare + sheaf


def warm_up(urls: Path, work: Path) -> None:
    """Every page is in the cache before it counts."""
    run([bare_python(), BARE, urls, work / "bare", "none", "1"])


def bare_python() -> Path:
    """The benchmarks' own environment has orjson."""
    return PEERS_PYTHON if PEERS_PYTHON.exists() else Path(sys.executable)


def bare_turn(site: Site, urls: Path, work: Path, mode: str, processes: int) -> Callable[[int], Measured]:
    expected = len(urls.read_text().split())

    def turn(_: int) -> Measured:
        site_s = site.cpu_s()
        done = run([bare_python(), BARE, urls, work / "bare", mode, str(processes)])
        said = json.loads(done.stdout)
        if said["pages"] != expected:
            raise CommandFailed(f"loaded {said['pages']} of {expected} pages: not a result to compare with")
        for path in work.glob("bare*"):
            path.unlink()
        return numbers(expected, done.wall_s, done.cpu_s, site.cpu_s() - site_s) | {
            "run_per_s": expected / said["run_s"]
        }

    return turn


def sheaf_name(suffix: str) -> str:
    return f"sheaf load to {suffix}"


def sheaf_load(site: Site, cluster: Cluster, urls: Path, suffix: str, count: int) -> Contender:
    def turn(number: int) -> Measured:
        output = f"pages-{number}{suffix}"
        cpu_s, parts, site_s = cluster.cpu_s(), cluster.cpu_parts(), site.cpu_s()
        done = cluster.sheaf("load", urls, "-o", output, "--allow-net", "127.0.0.0/8", "--again")
        if f"Done: {count:,} pages" not in done.stdout + done.stderr or "failed" in done.stdout:
            raise CommandFailed(f"sheaf load did not load every page:\n{done.stdout}{done.stderr}")
        found = cluster.commits(output, count)
        cluster.remove(output)
        measured = numbers(count, done.wall_s, done.cpu_s + cluster.cpu_s() - cpu_s, site.cpu_s() - site_s)
        return measured | {
            "run_per_s": count / found.run_s,
            "steady_per_s": found.steady_per_s,
            "commits": found.commits,
            **cpu_shares(parts, cluster.cpu_parts(), done.cpu_s, count),
            "index_share": found.index_bytes / found.output_bytes,
        }

    return Contender(sheaf_name(suffix), turn, "sheaf", count)


def cpu_shares(before: dict[str, float], after: dict[str, float], command_s: float, count: int) -> dict[str, float]:
    """CPU microseconds an item, by the kind of process."""
    spent = {name: after[name] - before[name] for name in after} | {"command": command_s}
    return {f"{name}_us": seconds * 1e6 / count for name, seconds in spent.items()}


def numbers(count: int, wall_s: float, cpu_s: float, site_s: float) -> dict[str, float]:
    return {
        "wall_s": wall_s,
        "per_s": count / wall_s,
        "cpu_ms_per_item": cpu_s * 1000 / count,
        "site_cores": site_s / wall_s,
    }
