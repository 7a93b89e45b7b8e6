"""Bodies of some bytes that unpack to very many: a worker stays small, whatever they are packed with."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import brotli
import pytest

from tests.acceptance.test_memory import MIB, tree_bytes
from tests.console import Console
from tests.packing import KINDS, zstd
from tests.webserver import Answer, AnswerPart, WebServer, answer

AT_ONCE = 256
#: What each of them unpacks to; some are just within what a page may have, and become one.
SIZE, ALLOWED, EVERY = 60_000_000, 16 * MIB - 1000, 16
TEXT = b"<p>bomb</p>\n"


def huge_window(body: bytes) -> bytes:
    options: dict[int, int] = {
        zstd.CompressionParameter.window_log: 27,
        zstd.CompressionParameter.enable_long_distance_matching: 1,
    }
    return zstd.compress(body, options=options)


def bombs(size: int) -> list[tuple[str, bytes]]:
    """Codings, and what `size` bytes of text become under them."""
    body = (TEXT * (size // len(TEXT) + 1))[:size]
    return [
        ("br", brotli.compress(body, quality=9)),
        ("gzip", gzip.compress(body)),
        ("deflate", KINDS["zlib"][1](body)),
        ("zstd", zstd.compress(body)),
        ("zstd", huge_window(body)),
        ("gzip, gzip", gzip.compress(gzip.compress(body))),
        ("gzip, br", brotli.compress(gzip.compress(body), quality=9)),
    ]


def all_together(body: bytes, coding: str, meet: threading.Barrier) -> Answer:
    """Answers only when everybody has asked."""
    whole = answer(body, content_type="text/html", content_encoding=coding)

    def reply(request: bytes) -> Iterator[AnswerPart]:
        meet.wait(120)
        yield from whole(request)

    return reply


@contextmanager
def watched(worker: int) -> Iterator[dict[str, int]]:
    """The most memory that the worker and its pool had at any time, in `most`."""
    seen, over = {"most": 0}, threading.Event()

    def look() -> None:
        while not over.wait(0.01):
            seen["most"] = max(seen["most"], tree_bytes(worker))

    watcher = threading.Thread(target=look)
    watcher.start()
    yield seen
    over.set()
    watcher.join()


@pytest.fixture
def own(console: Console, redis_program: Path) -> Iterator[Console]:
    """One worker with one process: all of the bombs are its."""
    console.environment["SHEAF_POOL_SIZE"] = "1"
    console.run("up", "--workers", "1")
    yield console
    console.run("down")


@pytest.mark.parametrize("output", ["p.jsonl", "p.html", "p.txt", "p.warc.gz"])
def test_256_bombs_at_once_stay_under_300_mb(own: Console, output: str) -> None:
    """All answered in the same moment, in every coding, nested too, into each format: a worker and its pool."""
    meet, refused, allowed = threading.Barrier(AT_ONCE), bombs(SIZE), bombs(ALLOWED)
    with WebServer() as server:
        for number in range(AT_ONCE):
            coding, body = (refused if number % EVERY else allowed)[number % len(refused)]
            server.routes[f"/{number}"] = all_together(body, coding, meet)
        name = own.list_file("urls.txt", *[f"{server.url}/{number}" for number in range(AT_ONCE)])
        (worker,) = [pid for name, pid in own.pids().items() if name != "redis"]
        # A worker's batches at once are limited: with one URL each it would not have all.
        options = ["--connections", str(AT_ONCE), "--batch-size", "64", "--allow-net", "127.0.0.0/8"]
        options += ["--deadline", "250", "--attempts", "1"]
        with watched(worker) as seen:
            said = own.run("load", name, "-o", output, *options)
    print(f"{output}: {seen['most'] / MIB:.0f} MiB at most")
    assert not meet.broken, "they did not come at once"
    # An archive keeps what came, as it came.
    assert f"Done: {AT_ONCE if output == 'p.warc.gz' else 14} pages" in said.stdout + said.stderr
    assert 20 * MIB < seen["most"] < 300 * MIB, f"{seen['most'] / MIB:.0f} MiB"
