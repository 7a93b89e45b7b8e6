"""The `load` task against a web server: pages, redirects, archives, second attempts."""

from __future__ import annotations

import gzip
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from sheaf.formats import format_for
from sheaf.tasks.registry import resolve
from tests.functions import ListSource
from tests.loading import check_with_warcio, load, load_one, page, record_of, warc_records
from tests.webserver import WebServer, answer, in_turn, raw, tls_context

pytestmark = pytest.mark.usefixtures("short_waits")


def test_many_items_have_one_result_each(server: WebServer) -> None:
    """500 items over 8 connections: each has its own page, and connections are kept alive."""
    urls = [f"{server.url}/{number}" for number in range(500)]
    for number in range(500):
        server.routes[f"/{number}"] = answer(f"page {number}".encode())
    results = load(urls, connections=8)
    assert [page(result)["text"] for result in results] == [f"page {number}" for number in range(500)]
    assert server.connections <= 8


@pytest.mark.parametrize(
    "path", ["", "?", "/?", "/a b/../c/%2e%2e/d?x=[1]&y={2}|^`", "/é?ü=1", "/a//b/./c;p", "/%zz%", "/'\"<>", "/x#part"]
)
def test_the_request_record_is_what_was_sent(server: WebServer, path: str) -> None:
    """The archive's request record holds, byte by byte, what the server received."""
    result = load_one(server.url + path, "pages.warc", accept="any")
    (request, block), _ = warc_records(result)
    assert request.rec_type == "request"
    assert block == server.requests[0]


def test_every_hop_of_a_redirect_is_recorded(server: WebServer, tmp_path: Path) -> None:
    """Three hops: three requests and three responses, each with its own URL, and warcio finds no fault."""
    server.routes["/start"] = answer(b"moved", "301 Moved", location="/one/two#part")
    server.routes["/one/two"] = answer(b"", "302 Found", location=f"{server.url}/end?ü")
    server.routes["/end?%FC"] = answer(b"here", content_type="text/plain")
    result = load_one(f"{server.url}/start", "pages.warc.gz")
    records = warc_records(result)
    targets = [(record.rec_type, record.rec_headers.get_header("WARC-Target-URI")) for record, _ in records]
    hops = [f"{server.url}/start", f"{server.url}/one/two", f"{server.url}/end?%FC"]
    assert targets == [(kind, hop) for hop in hops for kind in ("request", "response")]
    assert records[-1][1].endswith(b"\r\n\r\nhere")
    check_with_warcio(record_of(result), tmp_path)
    fields = page(load_one(f"{server.url}/start"))
    assert (fields["final_url"], [hop["status"] for hop in fields["redirects"]]) == (hops[-1], [301, 302])


def test_credentials_in_a_redirect_are_left_out(server: WebServer) -> None:
    """A user name in a Location is neither sent nor recorded."""
    server.routes["/start"] = answer(b"", "302 Found", location=f"http://user:secret@127.0.0.1:{server.port}/end")
    server.routes["/end"] = answer(b"end")
    assert page(load_one(f"{server.url}/start"))["final_url"] == f"{server.url}/end"
    assert b"Authorization" not in server.requests[1]


def test_a_chunked_page_is_stored_whole_and_valid(server: WebServer, tmp_path: Path) -> None:
    """Without the chunks' framing, with a Content-Length that fits; warcio finds the digests right."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/plain\r\n\r\n"
    server.routes["/"] = raw(head + b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n")
    result = load_one(server.url, "pages.warc.gz")
    block = warc_records(result)[1][1]
    assert b"X-Orig-Transfer-Encoding: chunked\r\n" in block
    assert block.endswith(b"Content-Length: 11\r\n\r\nhello world")
    check_with_warcio(record_of(result), tmp_path)


def test_a_gzip_body_is_kept_in_an_archive_and_unpacked_elsewhere(server: WebServer, tmp_path: Path) -> None:
    """WARC stores what was received; JSON lines the text."""
    packed = gzip.compress(b"hello " * 100)
    server.routes["/"] = answer(packed, content_encoding="gzip", content_type="text/plain")
    result = load_one(server.url, "pages.warc.gz")
    assert warc_records(result)[1][1].endswith(b"\r\n\r\n" + packed)
    check_with_warcio(record_of(result), tmp_path)
    assert page(load_one(server.url))["text"] == "hello " * 100


def test_interim_responses_trailers_and_folded_headers_do_not_confuse(server: WebServer, tmp_path: Path) -> None:
    """Only the final response's own headers are recorded, each on one line."""
    server.routes["/"] = raw(
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
        b"HTTP/1.1 200 Fine\r\nX-Folded: one\r\n  two\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"2\r\nhi\r\n0\r\nX-Trailer: t\r\n\r\n"
    )
    fields = page(load_one(server.url))
    assert [name for name, _ in fields["headers"]] == ["X-Folded", "Transfer-Encoding"]
    assert fields["headers"][0][1].split() == ["one", "two"]
    result = load_one(server.url, "pages.warc.gz")
    check_with_warcio(record_of(result), tmp_path)


def test_an_attempt_that_failed_is_made_again(server: WebServer) -> None:
    """429 with Retry-After, then a broken connection, then the page: done."""
    server.routes["/"] = in_turn(
        answer(b"", "429 Too Many Requests", retry_after="0"), raw(None), answer(b"", "503 Busy"), answer(b"at last")
    )
    assert page(load_one(server.url, attempts=4))["text"] == "at last"
    assert len(server.requests) == 4


def test_a_status_that_is_accepted_is_a_page(server: WebServer) -> None:
    """`accept` says which answers count."""
    assert page(load_one(f"{server.url}/none", accept="2xx,404"))["status"] == 404
    assert page(load_one(f"{server.url}/none", accept="any"))["status"] == 404


def test_waiting_for_the_next_attempt_holds_up_nobody(server: WebServer) -> None:
    """With one connection, an item that waits a second lets the others go first."""
    server.routes["/busy"] = in_turn(answer(b"", "503 Busy", retry_after="1"), answer(b"later"))
    server.routes["/free"] = answer(b"free")
    results = resolve("load", None).run(
        ListSource([f"{server.url}/busy"] + [f"{server.url}/free"] * 5),
        {"allow_net": ["127.0.0.0/8"], "connections": 1},
        format_for("pages.jsonl"),
    )
    assert [result.index for result in results if result] == [1, 2, 3, 4, 5, 0]


def test_a_proxy_of_the_environment_is_not_used(server: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy would connect in our place, past the check of addresses."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    server.routes["/"] = answer(b"direct")
    assert page(load_one(server.url))["text"] == "direct"


@pytest.mark.parametrize("protocol", ["http/1.1", "h2"])
def test_pages_come_over_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: str) -> None:
    """HTTP/2 where the server offers it, HTTP/1.1 elsewhere; both are valid in an archive."""
    context, certificate = tls_context(tmp_path, *([protocol] if protocol == "h2" else []))
    monkeypatch.setattr("certifi.where", lambda: str(certificate))
    with WebServer(tls=context) as server:
        server.routes["/"] = answer(b"two", server="sheaf")
        fields = page(load_one(server.url))
        archived = load_one(server.url, "pages.warc.gz")
    assert (fields["protocol"], fields["text"]) == (protocol, "two")
    request, response = warc_records(archived)
    assert request[1].startswith(b"GET / HTTP/1.1\r\nHost: localhost:")
    assert response[1].startswith(b"HTTP/1.1 200 ")
    assert response[0].rec_headers.get_header("WARC-Protocol") == ("h2" if protocol == "h2" else None)
    check_with_warcio(record_of(archived), tmp_path)


def test_a_task_that_is_abandoned_closes_its_connections(server: WebServer) -> None:
    """Closing the generator in mid-flight leaves no connection open."""
    server.routes["/slow"] = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", 30.0)
    server.routes["/fast"] = answer(b"fast")
    results = resolve("load", None).run(
        ListSource([f"{server.url}/slow", f"{server.url}/fast"]),
        {"allow_net": ["127.0.0.0/8"]},
        format_for("pages.txt"),
    )
    assert next(result for result in results if result).index == 1
    assert isinstance(results, Generator)
    results.close()
    own = [line.split()[2] for line in Path("/proc/net/tcp").read_text().splitlines() if line.split()[3] == "01"]
    deadline = time.monotonic() + 60
    while f"0100007F:{server.port:04X}" in own and time.monotonic() < deadline:
        time.sleep(0.05)
        own = [line.split()[2] for line in Path("/proc/net/tcp").read_text().splitlines() if line.split()[3] == "01"]
    assert f"0100007F:{server.port:04X}" not in own
