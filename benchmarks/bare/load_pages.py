"""What Sheaf is measured against: load pages with nothing but CurlMulti, an encoder and a file per process.

    python benchmarks/bare/load_pages.py URLS OUTPUT MODE PROCESSES

MODE: none (thrown away), raw (an HTML comment, the body), raw-full (as raw, each body checked to be UTF-8, fdatasync),
jsonl (orjson: url, status, text), warc (WARC.gz, isal level 1: a response record with its payload digest, fdatasync),
warc-full (as warc, with the records and digests that Sheaf writes).
No queue, no lock, no index, no address check, no retry; killed, it leaves a torn file and no word of what is missing.
Prints {"pages": ..., "run_s": ...}: seconds without the start of interpreters.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from base64 import b32encode
from collections.abc import Callable
from multiprocessing import Pool
from pathlib import Path

import orjson
import pycurl
from isal import igzip_lib

CONNECTIONS = 32
#: Pages per write (and per fdatasync where there is one): about 2 MB of pages. More or fewer were not faster.
GROUP = 64

Encoder = Callable[[str, list[bytes], list[bytes]], list[bytes]]


def raw(url: str, _head: list[bytes], body: list[bytes]) -> list[bytes]:
    return [f"<!-- {url} -->\n".encode(), *body]


def raw_full(url: str, _head: list[bytes], body: list[bytes]) -> list[bytes]:
    payload = b"".join(body)
    payload.decode()
    return [f"<!-- {url} -->\n".encode(), payload]


def jsonl(url: str, _head: list[bytes], body: list[bytes]) -> list[bytes]:
    page = {"url": url, "status": 200, "text": b"".join(body).decode("utf-8", "replace")}
    return [orjson.dumps(page, option=orjson.OPT_APPEND_NEWLINE)]


def digest(*parts: bytes) -> str:
    total = hashlib.sha1(usedforsecurity=False)
    for part in parts:
        total.update(part)
    return "sha1:" + b32encode(total.digest()).decode()


def record(kind: str, url: str, more: str, block: bytes) -> bytes:
    date = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    head = (
        f"WARC/1.1\r\nWARC-Type: {kind}\r\nWARC-Record-ID: <urn:uuid:{os.urandom(16).hex()}>\r\n"
        f"WARC-Target-URI: {url}\r\nWARC-Date: {date}\r\n{more}"
        f"Content-Type: application/http; msgtype={kind}\r\nContent-Length: {len(block)}\r\n\r\n"
    )
    packed: bytes = igzip_lib.compress(b"".join((head.encode(), block, b"\r\n\r\n")), 1, igzip_lib.COMP_GZIP)
    return packed


def warc(url: str, head: list[bytes], body: list[bytes]) -> list[bytes]:
    payload = b"".join(body)
    return [record("response", url, f"WARC-Payload-Digest: {digest(payload)}\r\n", b"".join((*head, payload)))]


def warc_full(url: str, head: list[bytes], body: list[bytes]) -> list[bytes]:
    payload, start = b"".join(body), b"".join(head)
    request = f"GET /{url.split('/', 3)[3]} HTTP/1.1\r\nHost: {url.split('/')[2]}\r\nAccept: */*\r\n\r\n".encode()
    digests = f"WARC-Block-Digest: {digest(start, payload)}\r\nWARC-Payload-Digest: {digest(payload)}\r\n"
    return [
        record("request", url, f"WARC-Block-Digest: {digest(request)}\r\n", request),
        record("response", url, digests, start + payload),
    ]


ENCODERS: dict[str, Encoder] = {"raw": raw, "raw-full": raw_full, "jsonl": jsonl, "warc": warc, "warc-full": warc_full}


class Sink:
    """A file that gets a group of pages per system call."""

    def __init__(self, path: str, mode: str) -> None:
        self._encode = ENCODERS[mode]
        self._sync = mode.startswith("warc") or mode == "raw-full"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        self._pieces: list[bytes] = []
        self._pages = 0

    def add(self, url: str, head: list[bytes], body: list[bytes]) -> None:
        self._pieces += self._encode(url, head, body)
        self._pages += 1
        if self._pages % GROUP == 0:
            self.flush()

    def flush(self) -> None:
        left = memoryview(b"".join(self._pieces))
        self._pieces = []
        while left:
            left = left[os.write(self._file, left) :]
        if self._sync:
            os.fdatasync(self._file)


def new_handle(keep: bool) -> pycurl.Curl:
    handle = pycurl.Curl()
    handle.setopt(pycurl.NOSIGNAL, 1)
    handle.setopt(pycurl.PROXY, "")
    if not keep:
        handle.setopt(pycurl.WRITEFUNCTION, len)
    return handle


def begin(handle: pycurl.Curl, url: str, keep: bool) -> None:
    handle.url = url
    handle.setopt(pycurl.URL, url)
    if keep:
        handle.head, handle.body = [], []
        handle.setopt(pycurl.HEADERFUNCTION, handle.head.append)
        handle.setopt(pycurl.WRITEFUNCTION, handle.body.append)


def load(urls: list[str], output: str, mode: str) -> int:
    """Load each URL once; return how many answered 200."""
    sink = Sink(output, mode) if mode != "none" else None
    multi = pycurl.CurlMulti()
    idle = [new_handle(sink is not None) for _ in range(CONNECTIONS)]
    waiting = iter(urls)
    active = done = 0
    while True:
        while idle and (url := next(waiting, None)) is not None:
            handle = idle.pop()
            begin(handle, url, sink is not None)
            multi.add_handle(handle)
            active += 1
        if not active:
            break
        multi.perform()
        _, finished, broken = multi.info_read()
        for handle in finished:
            if handle.getinfo(pycurl.RESPONSE_CODE) == 200:
                done += 1
                if sink is not None:
                    sink.add(handle.url, handle.head, handle.body)
        for handle in [*finished, *(entry[0] for entry in broken)]:
            multi.remove_handle(handle)
            idle.append(handle)
            active -= 1
        if not finished:
            multi.select(0.1)
    if sink is not None:
        sink.flush()
    return done


def main() -> None:
    urls, output, mode, processes = Path(sys.argv[1]).read_text().split(), sys.argv[2], sys.argv[3], int(sys.argv[4])
    start = time.perf_counter()
    if processes == 1:
        pages = load(urls, output, mode)
    else:
        with Pool(processes) as pool:
            shares = [(urls[part::processes], f"{output}.{part}", mode) for part in range(processes)]
            pages = sum(pool.starmap(load, shares, chunksize=1))
    print(json.dumps({"pages": pages, "run_s": time.perf_counter() - start}))


if __name__ == "__main__":
    main()
