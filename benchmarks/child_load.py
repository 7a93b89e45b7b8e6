"""What a page costs a pool child: CPU seconds for 1,000 pages, by format, beside bare pipelines that write the same.

    .venv/bin/python benchmarks/child_load.py --pages 2000 --repeats 5 [--only .jsonl] [--query latency=50]

One process, one thread: `LoadTask.run` on a list of items, its records thrown away. Beside it a bare CurlMulti loop
that throws the pages away, and the same loop with the least that makes a record: raw bytes under a heading, a JSON line
by orjson, a WARC record by hand with both digests and isal's level 1. CPU time, not the clock: other programs disturb
it little, and the ratios of one interleaved run hardly at all. `--profile FORMAT` runs one format under cProfile.
"""

from __future__ import annotations

import argparse
import contextlib
import cProfile
import hashlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from base64 import b32encode
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import orjson
import pycurl
from isal import igzip_lib

from sheaf.formats import format_for
from sheaf.run.items import Done, Item
from sheaf.tasks.load.task import LoadTask

ROOT = Path(__file__).parent.parent
CONNECTIONS = 32
SUFFIXES = (".html", ".jsonl", ".warc", ".warc.gz")
Encoder = Callable[[str, list[bytes], bytes], bytes]


class Items:
    """All items at once, as a child gets them in bulk."""

    def __init__(self, urls: list[str]) -> None:
        self._items = deque(Item(index, url) for index, url in enumerate(urls))

    def take(self, _wait_s: float) -> Item | None:
        return self._items.popleft() if self._items else None

    @property
    def closed(self) -> bool:
        return not self._items


def sheaf(urls: list[str], suffix: str, connections: int | None) -> int:
    options = {"allow_net": ["127.0.0.0/8"]} | ({"connections": connections} if connections else {})
    results = LoadTask().run(Items(urls), options, format_for("pages" + suffix))
    sizes = [len(result.record) for result in results if type(result) is Done]
    if len(sizes) != len(urls):
        raise SystemExit(f"{len(sizes)} of {len(urls)} pages loaded to {suffix}: not a result to compare with")
    return sum(sizes)


def bare(urls: list[str], encode: Encoder | None, connections: int | None) -> int:
    """CurlMulti on one handle per connection; no check, no deadline, no retry; libcurl unpacks what is to be text."""
    multi = pycurl.CurlMulti()
    idle = [_handle(unpacks=encode in (raw, json_line)) for _ in range(connections or CONNECTIONS)]
    waiting, size = iter(urls), 0
    active: dict[pycurl.Curl, tuple[str, list[bytes], list[bytes]]] = {}
    while True:
        while idle and (url := next(waiting, None)) is not None:
            handle = idle.pop()
            head: list[bytes] = []
            body: list[bytes] = []
            handle.setopt(pycurl.URL, url)
            if encode is not None:
                handle.setopt(pycurl.WRITEFUNCTION, body.append)
                handle.setopt(pycurl.HEADERFUNCTION, head.append)
            active[handle] = url, head, body
            multi.add_handle(handle)
        if not active:
            return size
        multi.perform()
        _, finished, broken = multi.info_read()
        if broken:
            raise SystemExit(f"the bare loop failed: {broken[0]}")
        for handle in finished:
            multi.remove_handle(handle)
            url, head, body = active.pop(handle)
            size += len(encode(url, head, b"".join(body))) if encode is not None else 1
            idle.append(handle)
        if not finished:
            multi.select(0.1)


def _handle(*, unpacks: bool) -> pycurl.Curl:
    handle = pycurl.Curl()
    if unpacks:
        handle.setopt(pycurl.ACCEPT_ENCODING, "gzip, deflate, br")
    for option, value in ((pycurl.WRITEFUNCTION, len), (pycurl.NOSIGNAL, 1), (pycurl.PROXY, "")):
        handle.setopt(option, value)
    return handle


def raw(url: str, _head: list[bytes], body: bytes) -> bytes:
    return b"<!-- %s -->\n%s\n" % (url.encode(), body)


def json_line(url: str, head: list[bytes], body: bytes) -> bytes:
    headers = [line.decode().rstrip().split(": ", 1) for line in head[1:-1]]
    return orjson.dumps({"url": url, "status": 200, "headers": headers, "text": body.decode()}) + b"\n"


def warc(url: str, head: list[bytes], body: bytes) -> bytes:
    top = b"".join(head)
    fields = (
        f"WARC/1.1\r\nWARC-Type: response\r\nWARC-Record-ID: <urn:uuid:{os.urandom(16).hex()}>\r\n"
        f"WARC-Target-URI: {url}\r\nWARC-Date: 2026-01-01T00:00:00Z\r\nWARC-Block-Digest: {_sha1(top, body)}\r\n"
        f"WARC-Payload-Digest: {_sha1(body)}\r\nContent-Type: application/http; msgtype=response\r\n"
        f"Content-Length: {len(top) + len(body)}\r\n\r\n"
    )
    return b"".join((fields.encode(), top, body, b"\r\n\r\n"))


def warc_gz(url: str, head: list[bytes], body: bytes) -> bytes:
    return igzip_lib.compress(warc(url, head, body), 1, igzip_lib.COMP_GZIP)


def _sha1(*parts: bytes) -> str:
    total = hashlib.sha1(usedforsecurity=False)
    for part in parts:
        total.update(part)
    return "sha1:" + b32encode(total.digest()).decode()


@contextlib.contextmanager
def site() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        port_file = Path(folder) / "port"
        program = [sys.executable, str(ROOT / "services/site/site.py"), "--port", "0", "--port-file", str(port_file)]
        process = subprocess.Popen(program)
        try:
            while not port_file.exists() or not port_file.read_text().strip():
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port_file.read_text().strip()}"
        finally:
            process.terminate()
            process.wait()


def contenders(options: argparse.Namespace) -> dict[str, Callable[[list[str]], int]]:
    encoders: dict[str, Encoder] = {".html": raw, ".jsonl": json_line, ".warc": warc, ".warc.gz": warc_gz}
    table: dict[str, Callable[[list[str]], int]] = {"bare": lambda urls: bare(urls, None, options.connections)}
    for suffix in options.only or SUFFIXES:
        table[f"bare {suffix}"] = partial(bare, encode=encoders[suffix], connections=options.connections)
        table[f"sheaf {suffix}"] = partial(sheaf, suffix=suffix, connections=options.connections)
    return table


def measure(options: argparse.Namespace, urls: list[str]) -> None:
    table = contenders(options)
    bare(urls, None, None)  # every page exists once before it counts
    cpu: dict[str, list[float]] = {name: [] for name in table}
    wall: dict[str, list[float]] = {name: [] for name in table}
    for _ in range(options.repeats):
        for name, contender in table.items():
            cpu_start, wall_start = time.process_time(), time.perf_counter()
            contender(urls)
            cpu[name].append((time.process_time() - cpu_start) / len(urls) * 1000)
            wall[name].append(len(urls) / (time.perf_counter() - wall_start))
    print("| what | CPU s per 1,000 pages | speed to its bare pipeline, by CPU | pages/s |\n|---|---|---|---|")
    for name in table:
        peer = name.replace("sheaf", "bare")
        ratio = statistics.median(b / s for b, s in zip(cpu[peer], cpu[name], strict=True))
        print(f"| {name} | {statistics.median(cpu[name]):.4f} | {ratio:.2f} | {statistics.median(wall[name]):,.0f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", choices=SUFFIXES, action="append")
    parser.add_argument("--connections", type=int, help="for everybody; otherwise 32, and Sheaf's own choice")
    parser.add_argument("--query", default="", help="for each page of the local site, such as latency=50 or gzip=1")
    parser.add_argument("--base", help="another server's address that has /page/0 and so on")
    parser.add_argument("--profile", choices=SUFFIXES)
    options = parser.parse_args()
    with site() if options.base is None else contextlib.nullcontext(options.base) as base:
        query = f"?{options.query}" if options.query else ""
        urls = [f"{base}/page/{number}{query}" for number in range(options.pages)]
        if options.profile:
            profile = cProfile.Profile()
            profile.runcall(sheaf, urls, options.profile, options.connections)
            profile.print_stats("tottime")
        else:
            measure(options, urls)


if __name__ == "__main__":
    main()
