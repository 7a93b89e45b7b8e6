"""Pages that end early: a failure, tried again; or, where part of a page is asked for, that part and why it ends."""

from __future__ import annotations

import gzip
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from sheaf.run.items import Failed
from tests.loading import check_with_warcio, load_one, page, record_of, warc_records
from tests.webserver import Answer, AnswerPart, WebServer, answer, in_turn, raw, tls_context

pytestmark = pytest.mark.usefixtures("short_waits")

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n"
HALF = b"half a page"
PACKED = gzip.compress(b"".join(b"line %d\n" % number for number in range(999)))
FORMATS = ("p.jsonl", "p.html", "p.txt", "p.warc.gz")


def dripping(request: bytes) -> Iterator[AnswerPart]:
    yield HEAD + b"Content-Length: 1000\r\n\r\n" + HALF
    while True:
        yield 0.05
        yield b"."


#: An answer, the failure that it is, and what WARC calls the way in which it ends.
CUTS: dict[str, tuple[Answer, str, str]] = {
    "length": (raw(HEAD + b"Content-Length: 100\r\n\r\n" + HALF, None), "Connect", "disconnect"),
    "chunk": (raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n20\r\n" + HALF, None), "Connect", "disconnect"),
    "between chunks": (
        raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\nb\r\n%s\r\n" % HALF, None),
        "Connect",
        "disconnect",
    ),
    "last line": (
        raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\nb\r\n%s\r\n0\r\n" % HALF, None),
        "Connect",
        "disconnect",
    ),
    "time": (dripping, "Timeout", "time"),
}


@pytest.mark.parametrize("output", FORMATS)
@pytest.mark.parametrize("name", CUTS)
def test_a_page_that_ends_early_is_no_page(server: WebServer, name: str, output: str) -> None:
    """In every format alike."""
    server.routes["/"], error, _ = CUTS[name]
    result = load_one(server.url, output, attempts=2, deadline_s=0.5 if name == "time" else 30)
    assert isinstance(result, Failed)
    assert (result.error, result.attempts, len(server.requests)) == (error, 2, 2)


@pytest.mark.parametrize("name", CUTS)
def test_with_truncate_it_is_kept_after_the_last_attempt(server: WebServer, name: str, tmp_path: Path) -> None:
    """Every format says that the page is cut, and why: in its own words, those of WARC."""
    server.routes["/"], _, reason = CUTS[name]
    options = {"truncate": True, "attempts": 2, "deadline_s": 1.0 if name == "time" else 30.0}
    result = load_one(server.url, "p.warc.gz", **options)
    assert len(server.requests) == 2, "it was tried again first"
    record, block = warc_records(result)[1]
    assert record.rec_headers.get_header("WARC-Truncated") == reason
    assert block.partition(b"\r\n\r\n")[2].startswith(HALF)
    check_with_warcio(record_of(result), tmp_path)
    line = page(load_one(server.url, "p.jsonl", **options))
    assert (line["truncated"], line["text"][: len(HALF)]) == (reason, HALF.decode())
    for output in ("p.html", "p.txt"):
        record = record_of(load_one(server.url, output, **options))
        assert f"(cut short: {reason})".encode() in record.splitlines()[0]


def test_a_later_attempt_that_is_whole_counts(server: WebServer) -> None:
    """Part of a page is kept only if more could not be had."""
    server.routes["/"] = in_turn(CUTS["length"][0], answer(b"all of it", content_type="text/plain"))
    line = page(load_one(server.url, truncate=True, attempts=3))
    assert (line["truncated"], line["text"]) == (None, "all of it")


def test_what_is_packed_is_kept_as_far_as_it_goes(server: WebServer) -> None:
    """Cut by the connection, or inside of a body that is whole: WARC has no word for the latter."""
    packed = HEAD + b"Content-Encoding: gzip\r\n"
    half = PACKED[: len(PACKED) // 2]
    server.routes["/broken"] = raw(packed + b"Content-Length: %d\r\n\r\n" % len(PACKED) + half, None)
    server.routes["/short"] = raw(packed + b"Content-Length: %d\r\n\r\n" % len(half) + half)
    for path, reason in (("/broken", "disconnect"), ("/short", "unspecified")):
        line = page(load_one(server.url + path, truncate=True))
        assert line["truncated"] == reason
        assert line["text"].startswith("line 0\nline 1\n")
        record, block = warc_records(load_one(server.url + path, "p.warc.gz", truncate=True))[1]
        assert record.rec_headers.get_header("WARC-Truncated") == reason
        assert block.endswith(b"\r\n\r\n" + half)


@pytest.mark.parametrize(
    "behaviour",
    [raw(None), raw(b"HTTP/1.1 200 OK\r\nContent-Ty", None), raw(HEAD + b"Content-Length: 5\r\n\r\n", None)],
    ids=["nothing", "inside of the header", "no byte of the body"],
)
def test_without_a_byte_of_the_body_there_is_nothing_to_keep(server: WebServer, behaviour: Answer) -> None:
    server.routes["/"] = behaviour
    result = load_one(server.url, truncate=True)
    assert isinstance(result, Failed)
    assert result.error == "Connect"


def test_a_status_that_is_not_accepted_is_no_page_in_part_either(server: WebServer) -> None:
    server.routes["/"] = raw(b"HTTP/1.1 404 Gone\r\nContent-Length: 100\r\n\r\n" + HALF, None)
    result = load_one(server.url, truncate=True)
    assert isinstance(result, Failed)
    assert result.error == "HttpStatus"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("output", FORMATS)
def test_a_tls_connection_that_does_not_say_goodbye_was_broken(
    tmp_path: Path, version: ssl.TLSVersion, output: str
) -> None:
    """Without a length, its end is the page's end only if the other side says so: anybody can cut a connection."""
    context, certificate = tls_context(tmp_path)
    context.maximum_version = version
    with WebServer(tls=context) as server:
        server.routes["/"] = raw(HEAD + b"Connection: close\r\n\r\n" + HALF, None)
        result = load_one(server.url, output, attempts=2, ca_certificates=certificate.read_text())
    assert isinstance(result, Failed), result
    assert (result.error, result.attempts) == ("Connect", 2)
