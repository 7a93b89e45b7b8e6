"""Does one odd answer slow the pages beside it? Pages alone, and the same pages with broken ones among them.

    python benchmarks/broken_answers.py [--pages 600] [--latency 1.0] [--repeats 3]
    python benchmarks/broken_answers.py --busy 0.01 [--pages 4000] [--latency 0.1]

Without `--busy`: one URL for each way in which an answer can be odd (status lines, heads, redirects, chunks, codings,
statuses) among pages that take `--latency` seconds each. With it: that part of the URLs is at another host, which says
503 to each. One embedded worker, two processes, as `sheaf load` comes. The time is that from the first request to the
last answer that the site gave to one of the pages that are well; a page that was asked for twice is reported.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

SHEAF = Path(sys.executable).with_name("sheaf")
GOOD = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\nfine"
OK, FOUND = b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 302 Found\r\nLocation: /there/end\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
TWO = b"Content-Length: 2\r\n\r\nhi"
PACKED = gzip.compress(b"x" * 10_000)

#: What comes, byte by byte; the connection is closed after it.
BROKEN = {
    "no space": b"HTTP/1.1 200OK\r\n" + TWO,
    "tab": b"HTTP/1.1 200\tOK\r\n" + TWO,
    "semicolon": b"HTTP/1.1 200;OK\r\n" + TWO,
    "tab before": b"HTTP/1.1\t200 OK\r\n" + TWO,
    "HTTP/1.2": b"HTTP/1.2 200 OK\r\n" + TWO,
    "ICY": b"ICY 200 OK\r\n" + TWO,
    "four digits": b"HTTP/1.1 2000 OK\r\n" + TWO,
    "header called HTTP": OK + b"HTTP/1.1-Foo: bar\r\n" + TWO,
    "trailer called HTTP": CHUNKED + b"2\r\nhi\r\n0\r\nHTTP/1.1 500 x: y\r\n\r\n",
    "no colon": OK + b"foo\r\n" + TWO,
    "bare CR": OK + b"A: b\rC: d\r\n" + TWO,
    "NUL": OK + b"A: b\0c\r\n" + TWO,
    "no HTTP": b"hello\r\n",
    "nothing": b"",
    "head cut": OK + b"Content-Type: te",
    "head without end": OK + b"Content-Type: text/html\r\n",
    "body cut": OK + b"Content-Length: 100\r\n\r\nhalf",
    "chunk cut": CHUNKED + b"5\r\nhel",
    "chunk of nonsense": CHUNKED + b"zz\r\nhi\r\n",
    "chunk too long": CHUNKED + b"f" * 40 + b"\r\nhi",
    "chunk below nought": CHUNKED + b"-2\r\nhi\r\n",
    "length of nonsense": OK + b"Content-Length: x\r\n\r\nhi",
    "gzip cut": OK + b"Content-Encoding: gzip\r\nContent-Length: 20\r\n\r\n" + PACKED[:20],
    "not gzip": OK + b"Content-Encoding: gzip\r\n" + TWO,
    "unknown coding": OK + b"Content-Encoding: utf-8\r\n" + TWO,
    "two gzips": OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % (2 * len(PACKED)) + PACKED * 2,
    "redirect, not gzip": FOUND + b"Content-Encoding: gzip\r\n" + TWO,
    "redirect cut": FOUND + b"Content-Length: 100\r\n\r\nhalf",
    "redirect, large": FOUND + b"Content-Length: 2000000\r\n\r\n" + b"x" * 2_000_000,
    "redirect in a circle": b"HTTP/1.1 302 F\r\nLocation: #\r\nContent-Length: 0\r\n\r\n",
    "redirect to nothing": b"HTTP/1.1 302 F\r\nLocation: http://[\r\nContent-Length: 0\r\n\r\n",
    "redirect with a cookie": b"HTTP/1.1 302 F\r\nSet-Cookie: a=1\r\nLocation: #\r\nContent-Length: 0\r\n\r\n",
    "no character set": OK + b"Content-Type: text/html; charset=\xff\r\n" + TWO,
    "separator": OK + b"Content-Length: 31\r\n\r\n\n<!-- sheaf 0 http://evil/ -->\n",
    "204 with a body": b"HTTP/1.1 204 No\r\n" + TWO,
    "206": b"HTTP/1.1 206 Part\r\nContent-Range: bytes 0-1/5000\r\n" + TWO,
    "404": b"HTTP/1.1 404 None\r\n" + TWO,
    "425": b"HTTP/1.1 425 Early\r\n" + TWO,
    "429": b"HTTP/1.1 429 Slow\r\nRetry-After: 1\r\n" + TWO,
    "429 for a day": b"HTTP/1.1 429 Slow\r\nRetry-After: 86400\r\n" + TWO,
    "503": b"HTTP/1.1 503 Busy\r\n" + TWO,
    "999": b"HTTP/1.1 999 Denied\r\n" + TWO,
    "head too large": OK + b"A: %s\r\n" % (b"x" * 1000) * 2000 + b"\r\nhi",
}
BY_NUMBER = list(BROKEN.values())


class Site:
    """Two hosts of this machine, in a thread: what was asked how often, and when the first and the last page came."""

    def __init__(self, latency_s: float) -> None:
        self.asked: Counter[str] = Counter()
        self.first = self.last = 0.0
        self._latency_s = latency_s
        self._ready = threading.Event()
        threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True).start()
        self._ready.wait()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._answer, ["127.0.0.1", "127.0.0.2"], 0, backlog=4096)
        ports = dict(each.getsockname() for each in server.sockets)
        self.port, self.busy_port = ports["127.0.0.1"], ports["127.0.0.2"]
        self._ready.set()
        await server.serve_forever()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._answer_one((await reader.readuntil(b"\r\n\r\n")).decode(), writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer_one(self, request: str, writer: asyncio.StreamWriter) -> bool:
        _, kind, number = request.split(" ", 2)[1].split("/")
        self.first = self.first or time.monotonic()
        if kind == "odd":
            writer.write(BY_NUMBER[int(number)])
            await writer.drain()
            return False
        if kind == "busy":
            await asyncio.sleep(self._latency_s)
            writer.write(BROKEN["503"])
            return True
        await asyncio.sleep(self._latency_s)
        if kind == "page":
            self.asked[number] += 1
            self.last = time.monotonic()
        writer.write(GOOD)
        return True


def load(urls: list[str], site: Site) -> tuple[float, int]:
    """Return the seconds that the site's good pages took, and how many of them were asked for more than once."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "urls.txt").write_text("\n".join(urls) + "\n")
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SHEAF_")}
        kept["SHEAF_POOL_SIZE"] = "2"

        def sheaf(*arguments: str) -> None:
            subprocess.run([SHEAF, *arguments], cwd=folder, env=kept, capture_output=True, timeout=600, check=False)

        site.asked.clear()
        sheaf("up", "--workers", "1")
        try:
            site.first = 0.0
            sheaf("load", "urls.txt", "-o", "pages.jsonl", "--allow-net", "127.0.0.0/8")
        finally:
            sheaf("down")
    if not site.asked:
        raise SystemExit("nothing was loaded: not a result to compare with")
    return site.last - site.first, sum(times > 1 for times in site.asked.values())


def lists(options: argparse.Namespace, site: Site) -> tuple[list[str], list[str]]:
    """The pages alone, and the same with the odd ones spread among them."""
    clean = [f"http://127.0.0.1:{site.port}/page/{number}" for number in range(options.pages)]
    if options.busy:
        odd = [
            f"http://127.0.0.2:{site.busy_port}/busy/{number}" for number in range(int(options.busy * options.pages))
        ]
    else:
        odd = [f"http://127.0.0.1:{site.port}/odd/{number}" for number in range(len(BROKEN))]
    mixed = list(clean)
    for place, url in enumerate(odd):
        mixed.insert((place + 1) * len(mixed) // (len(odd) + 1), url)
    return clean, mixed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=600)
    parser.add_argument("--latency", type=float, default=1.0, help="seconds that each page takes")
    parser.add_argument("--busy", type=float, default=0.0, help="part of the URLs that is at a host that says 503")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    site = Site(options.latency)
    clean, mixed = lists(options, site)
    ratios = []
    for _ in range(options.repeats):
        alone_s, _ = load(clean, site)
        among_s, again = load(mixed, site)
        ratios.append(among_s / alone_s)
        print(
            f"{options.pages} pages alone {alone_s:.1f} s; with {len(mixed) - len(clean)} odd ones among them "
            f"{among_s:.1f} s: {ratios[-1]:.0%}; asked for more than once: {again}",
            flush=True,
        )
    print(f"median {statistics.median(ratios):.0%} of the time")


if __name__ == "__main__":
    main()
