"""Pages of 30 KB: `sheaf load` beside what people use today."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.common.cluster import Cluster
from benchmarks.common.command import CommandFailed, Ran, run
from benchmarks.common.peers import PEERS, PYTHON
from benchmarks.common.runner import Column, Contender, Measured, Stage
from benchmarks.common.site import Site, serve
from benchmarks.scenarios.load import numbers, sheaf_load, warm_up

TITLE = "Loading pages, beside what people use today"
ABOUT = """The same site ({server}) and pages. Sheaf loads {items:,} of them, the others {slow_items:,}, so that each is
at work for seconds. Of these only Sheaf survives a kill with a whole file, checks addresses, and can say what is
missing. Scrapy writes JSON lines (`benchmarks/peers/scrapy_peer.py`), wget a WARC; two of them share the list and write
two files. The pool with urllib keeps nothing. "In the run" leaves out the start of the program where one can tell."""
COLUMNS = (
    Column("per_s", "pages/s, whole command", "{:,.0f}"),
    Column("run_per_s", "pages/s, in the run", "{:,.0f}"),
    Column("cpu_ms_per_item", "CPU ms a page", "{:.3f}"),
    Column("site_cores", "the site's cores", "{:.2f}"),
)


@contextmanager
def contenders(stage: Stage) -> Iterator[list[Contender]]:
    with serve(stage.work / "site") as site, Cluster(stage.work / "data") as cluster:
        count, slow = stage.items(64_000, 1_000), stage.items(4_000, 200)
        stage.facts.update(server=site.server, items=count, slow_items=slow)
        urls = site.write_urls(stage.work / "urls.txt", count)
        stage.facts["peer_versions"] = {
            "Scrapy": run([PYTHON, "-m", "scrapy", "version"]).stdout.split()[1],
            "wget": run(["wget", "--version"]).stdout.split()[2],
        }
        warm_up(urls, stage.work)
        peers = Loads(site, stage.work, slow)
        yield [
            sheaf_load(site, cluster, urls, ".warc.gz", count),
            sheaf_load(site, cluster, urls, ".jsonl", count),
            peers.contender("Scrapy x1 to .jsonl", 1, peers.scrapy),
            peers.contender("Scrapy x2 to .jsonl", 2, peers.scrapy),
            peers.contender("wget x1 to .warc.gz", 1, peers.wget),
            peers.contender("wget x2 to .warc.gz", 2, peers.wget),
            peers.contender("multiprocessing.Pool(4) + urllib, pages thrown away", 1, peers.model_program),
        ]


class Loads:
    """Peers that load the first pages of the site, from one list or from two halves."""

    def __init__(self, site: Site, work: Path, count: int) -> None:
        self._site, self._work, self._count = site, work, count
        whole = site.write_urls(work / "peer-urls.txt", count).read_text().split()
        for parts in (1, 2):
            for part in range(parts):
                self._list(parts, part).write_text("".join(f"{url}\n" for url in whole[part::parts]))

    def _list(self, parts: int, part: int) -> Path:
        return self._work / f"peer-urls-{parts}-{part}.txt"

    def contender(self, name: str, parts: int, load: Callable[[list[Path]], Ran]) -> Contender:
        lists = [self._list(parts, part) for part in range(parts)]

        def turn(_: int) -> Measured:
            site_s = self._site.cpu_s()
            done = load(lists)
            said = [json.loads(line)["run_s"] for line in done.stdout.splitlines() if line.startswith("{")]
            in_run = {"run_per_s": self._count / max(said)} if said else {}
            return numbers(self._count, done.wall_s, done.cpu_s, self._site.cpu_s() - site_s) | in_run

        return Contender(name, turn, "peer", self._count)

    def scrapy(self, lists: list[Path]) -> Ran:
        done = run([PYTHON, PEERS / "scrapy_peer.py", self._work / "scrapy.jsonl", *lists])
        self._check(sum(path.read_bytes().count(b"\n") for path in self._work.glob("scrapy.jsonl*")))
        return done

    def wget(self, lists: list[Path]) -> Ran:
        parts = " & ".join(
            f"wget -q -i {urls} -O /dev/null --warc-file={self._work}/wget-{part} --no-warc-keep-log"
            for part, urls in enumerate(lists)
        )
        done = run(["sh", "-c", f"{parts} & wait"])
        unpacked = f"zcat {self._work}/wget-*.warc.gz | grep -a -c '^WARC-Type: response'"
        self._check(int(run(["sh", "-c", unpacked]).stdout))
        return done

    def model_program(self, lists: list[Path]) -> Ran:
        done = run([PYTHON, PEERS / "model_program.py", *lists])
        self._check(int(done.stdout))
        return done

    def _check(self, pages: int) -> None:
        for pattern in ("scrapy.jsonl*", "wget-*"):
            for path in self._work.glob(pattern):
                path.unlink()
        if pages != self._count:
            raise CommandFailed(f"kept {pages} of {self._count} pages: not a result to compare with")
