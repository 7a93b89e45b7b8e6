"""The `load` task against servers and lists that mean it no good."""

from __future__ import annotations

import gzip
import socket
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sheaf.formats import format_for
from sheaf.run.items import Done, Failed
from sheaf.tasks.load import loader, memory
from sheaf.tasks.registry import resolve
from tests.functions import ListSource
from tests.loading import check_with_warcio, load, load_one, record_of, warc_records
from tests.webserver import Answer, WebServer, answer, raw, tls_context

pytestmark = pytest.mark.usefixtures("short_waits")


@pytest.mark.parametrize(
    ("location", "error", "words"),
    [
        ("/start", "Redirect", "in a circle"),
        ("/again", "Redirect", "in a circle"),
        ("/1", "Redirect", "more than 3 times"),
        ("file:///etc/passwd", "Redirect", "not http or https"),
        ("http://[nonsense", "Redirect", "not a valid URL"),
        ("http://127.0.0.2:1/", "AddressRefused", "127.0.0.2"),
        ("http://0x7f.2:1/", "AddressRefused", "127.0.0.2"),
        ("http://[::ffff:127.0.0.2]:1/", "AddressRefused", "127.0.0.2"),
    ],
)
def test_a_redirect_that_leads_nowhere_fails_the_item(server: WebServer, location: str, error: str, words: str) -> None:
    """Circles, endless chains, other schemes and refused addresses: one failure, with the reason."""
    server.routes["/start"] = answer(b"", "302 Found", location=location)
    server.routes["/again"] = answer(b"", "302 Found", location="/start")
    for number in range(1, 9):
        server.routes[f"/{number}"] = answer(b"", "302 Found", location=f"/{number + 1}")
    result = load_one(f"{server.url}/start", allow_net=["127.0.0.1"], max_redirects=3)
    assert isinstance(result, Failed)
    assert result.error == error
    assert words in result.message


def endless(request: bytes) -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n"
    while True:
        yield b"x" * 65536


@pytest.mark.parametrize(
    "huge",
    [
        lambda: answer(b"x" * 300_000),
        lambda: endless,
        lambda: answer(gzip.compress(b"\0" * 50_000_000), content_encoding="gzip"),
    ],
    ids=["announced", "endless", "gzip bomb"],
)
def test_a_page_that_is_too_large_fails(server: WebServer, huge: Callable[[], Answer]) -> None:
    """By its Content-Length, as it arrives, or as it is unpacked: it fails, and little memory is spent on it."""
    server.routes["/"] = huge()
    tracemalloc.start()
    result = load_one(server.url, max_bytes=200_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(result, Failed)
    assert result.error == "TooLarge"
    assert "200,000" in result.message
    assert peak < 5_000_000


@pytest.mark.parametrize("huge", [answer(b"x" * 300_000), endless], ids=["announced", "endless"])
def test_a_page_that_is_too_large_is_cut_if_asked(server: WebServer, huge: Answer, tmp_path: Path) -> None:
    """With `truncate`, exactly `max_bytes` are kept, and the record says so."""
    server.routes["/"] = huge
    result = load_one(server.url, "pages.warc.gz", max_bytes=200_000, truncate=True)
    record, block = warc_records(result)[1]
    assert record.rec_headers.get_header("WARC-Truncated") == "length"
    assert len(block.partition(b"\r\n\r\n")[2]) == 200_000
    check_with_warcio(record_of(result), tmp_path)


def test_a_page_that_announces_too_much_is_not_waited_for(server: WebServer) -> None:
    """A Content-Length above the limit ends the item at once, before the body comes."""
    server.routes["/"] = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 5000000000\r\n\r\n", 5.0)
    result = load_one(server.url, deadline_s=3)
    assert isinstance(result, Failed)
    assert result.error == "TooLarge"


def test_a_slow_drip_ends_at_the_deadline_and_holds_up_nobody(server: WebServer) -> None:
    """A byte now and then never times out a socket; the item's own deadline ends it. Others are done meanwhile."""

    def drip(request: bytes) -> Iterator[bytes | float]:
        yield b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
        while True:
            yield b"x"
            yield 0.05

    server.routes["/slow"] = drip
    server.routes["/fast"] = answer(b"fast")
    # The drip would take 50 s.
    started = time.monotonic()
    slow, *fast = load([f"{server.url}/slow"] + [f"{server.url}/fast"] * 20, connections=2, deadline_s=0.6)
    assert time.monotonic() - started < 20
    assert isinstance(slow, Failed)
    assert (slow.error, "0.6 s" in slow.message) == ("Timeout", True)
    assert all(isinstance(result, Done) for result in fast)


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", None), "Connect"),
        (raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", None), "Connect"),
        (raw(None), "Connect"),
        (raw(b"hello, this is no HTTP\r\n", None), "Protocol"),
        (raw(b"HTTP/1.1 200 OK\r\n" + b"X-Bomb: %s\r\n" % (b"x" * 1000) * 2000 + b"\r\n", None), "Protocol"),
        (answer(b"not gzip at all", content_encoding="gzip"), "Protocol"),
    ],
    ids=["cut short", "cut chunk", "closed", "not HTTP", "header bomb", "false gzip"],
)
def test_a_broken_answer_fails_with_its_kind(server: WebServer, behaviour: Answer, error: str) -> None:
    """Never half a page as if it were whole; a broken connection is tried again, nonsense is not."""
    server.routes["/"] = behaviour
    result = load_one(server.url, attempts=2)
    assert isinstance(result, Failed), result
    assert result.error == error
    assert server.url in result.message
    assert result.attempts == (2 if error == "Connect" else 1)


@pytest.mark.parametrize(
    ("status", "attempts"), [("404 Not Found", 1), ("503 Busy", 3), ("429 Slow", 3), ("304 Same", 1)]
)
def test_a_status_that_is_not_accepted_fails(server: WebServer, status: str, attempts: int) -> None:
    """With the status and its reason; only what may pass is tried again."""
    server.routes["/"] = answer(b"", status)
    result = load_one(server.url, attempts=3)
    assert isinstance(result, Failed)
    assert (result.error, result.attempts) == ("HttpStatus", attempts)
    assert result.message.startswith(status)
    assert len(server.requests) == attempts


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "2130706433",
        "0x7f.1",
        "017700000001",
        "127.1",
        "①②⑦.⓪.⓪.①",
        "127。0。0。1",
        "localhost",
        "[::ffff:127.0.0.1]",
    ],
)
def test_a_local_address_is_refused_in_every_spelling(server: WebServer, host: str) -> None:
    """No connection is opened, however the address is written, and the message says how to allow it."""
    result = load_one(f"http://{host}:{server.port}/", allow_net=[], attempts=3)
    assert isinstance(result, Failed)
    assert (result.error, result.attempts) == ("AddressRefused", 1)
    assert "--allow-net" in result.message
    assert server.connections == 0


def test_items_that_are_no_urls_fail_one_by_one(server: WebServer) -> None:
    """A bad item is its own failure; its neighbours load."""
    server.routes["/"] = answer(b"fine")
    results = load(["[http://www.wikipedia.org", server.url, "http://[IP-Adresse", "ftp://x/", "http://a!b{c}/"])
    assert [getattr(result, "error", "") for result in results] == [
        "InvalidUrl",
        "",
        "InvalidUrl",
        "InvalidUrl",
        "InvalidUrl",
    ]


def test_nobody_listening_is_a_failure_to_connect() -> None:
    """Connection refused: tried again, then failed."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    result = load_one(f"http://127.0.0.1:{port}/", attempts=2)
    assert isinstance(result, Failed)
    assert (result.error, result.attempts) == ("Connect", 2)


def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    """TLS is verified; no page comes from a server that could be anybody."""
    context, _ = tls_context(tmp_path)
    with WebServer(tls=context) as server:
        server.routes["/"] = answer(b"secret")
        result = load_one(server.url, attempts=3)
    assert isinstance(result, Failed)
    assert (result.error, result.attempts) == ("Tls", 1)


def test_bodies_together_stay_within_the_limit(server: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """16 pages of 3 MB at once in a child that may hold 4 MB: all load, one after the other if need be."""
    monkeypatch.setattr(loader, "MemoryLimit", lambda: memory.MemoryLimit(4 << 20))
    body = b"x" * 3_000_000
    server.routes["/"] = answer(body, content_type="application/octet-stream")
    tracemalloc.start()
    results = resolve("load", None).run(
        ListSource([server.url] * 16),
        {"allow_net": ["127.0.0.0/8"], "connections": 16, "attempts": 1},
        format_for("p.txt"),
    )
    done = sum(isinstance(result, Done) for result in results)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert done == 16
    # The limit, one whole body, the little of each, and the copy that is being encoded.
    assert peak < 20_000_000


def test_waiting_for_memory_does_not_count_against_the_deadline(
    server: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two pages that are slow each, within the deadline, and that our own limit puts one after the other: both load."""
    monkeypatch.setattr(loader, "MemoryLimit", lambda: memory.MemoryLimit(1 << 20))
    half = b"x" * 7_000_000
    server.routes["/"] = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 14000000\r\n\r\n", half, 0.7, half)
    results = load([server.url] * 2, "pages.txt", deadline_s=1.1)
    assert [getattr(result, "error", "done") for result in results] == ["done", "done"]
