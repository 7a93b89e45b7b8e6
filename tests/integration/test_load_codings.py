"""The `load` task and content codings: what is packed, what only says so, and what was cut short inside of it."""

from __future__ import annotations

import gzip
import os
import threading
import tracemalloc
from collections.abc import Callable

import pytest

from sheaf.formats import format_for
from sheaf.run.items import Done, Failed
from sheaf.tasks.registry import resolve
from tests.functions import ListSource
from tests.loading import load, load_one, page, warc_records
from tests.packing import KINDS, zstd
from tests.patches import noting
from tests.webserver import Answer, WebServer, answer, raw

pytestmark = pytest.mark.usefixtures("short_waits")

FORMATS = ("p.jsonl", "p.html", "p.txt", "p.warc.gz")
#: No text that packs to almost nothing: a cut has to have an inside.
TEXT = b"".join(b"line %d of the page %d\n" % (n, n * n) for n in range(2000)) + b"THE END"
every_format = pytest.mark.parametrize("output", FORMATS)


def by_length(body: bytes, coding: str) -> Answer:
    return answer(body, content_type="text/plain; charset=utf-8", content_encoding=coding)


def by_chunks(body: bytes, coding: str) -> Answer:
    half = len(body) // 2
    chunks = [part for part in (body[:half], body[half:]) if part]
    return raw(
        f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Encoding: {coding}\r\n".encode()
        + b"Transfer-Encoding: chunked\r\n\r\n",
        *[b"%x\r\n%s\r\n" % (len(part), part) for part in chunks],
        b"0\r\n\r\n",
    )


def by_close(body: bytes, coding: str) -> Answer:
    head = f"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Encoding: {coding}\r\n\r\n"
    return raw(head.encode(), body, None)


FRAMINGS: dict[str, Callable[[bytes, str], Answer]] = {"length": by_length, "chunks": by_chunks, "close": by_close}


def holds_all(result: Done | Failed, output: str) -> bool:
    """Whether the record holds the whole text."""
    assert isinstance(result, Done), result
    if output.endswith(".jsonl"):
        return bool(page(result)["text"] == TEXT.decode())
    return TEXT in result.record


@every_format
@pytest.mark.parametrize("kind", KINDS)
def test_a_packed_body_is_a_page_only_if_it_is_whole(server: WebServer, kind: str, output: str) -> None:
    """However the answer says where it ends, and wherever in the stream it does: all of it, or a broken connection."""
    name, pack, spare = KINDS[kind]
    packed = pack(TEXT)
    cuts = [1, 3, 9, 11, len(packed) // 3, len(packed) // 2, len(packed) - spare - 1]
    for framing, build in FRAMINGS.items():
        server.routes[f"/{framing}/whole"] = build(packed, name)
        for cut in cuts:
            server.routes[f"/{framing}/{cut}"] = build(packed[:cut], name)
    paths = list(server.routes)
    for path, result in zip(paths, load([server.url + path for path in paths], output, attempts=2), strict=True):
        if path.endswith("whole"):
            assert isinstance(result, Done), (path, result)
            if output == "p.warc.gz":
                assert warc_records(result)[1][1].endswith(packed), path
            else:
                assert holds_all(result, output), path
        else:
            assert isinstance(result, Failed), path
            assert (result.error, result.attempts) == ("Connect", 2), (path, result)
            assert "cut short" in result.message
            assert f"{server.url}{path}: " in result.message


@every_format
@pytest.mark.parametrize("kind", ["gzip", "gzip-header", "zlib"])
def test_a_stream_without_its_checksum_is_whole(server: WebServer, kind: str, output: str) -> None:
    """The last 8 bytes of gzip, 4 of zlib: the text is all there, and browsers show it."""
    name, pack, spare = KINDS[kind]
    server.routes["/"] = by_length(pack(TEXT)[:-spare], name)
    result = load_one(server.url, output)
    assert isinstance(result, Done), result
    assert output == "p.warc.gz" or holds_all(result, output)


@every_format
@pytest.mark.parametrize(
    "coding",
    [
        "UTF-8",
        "binary",
        "aws-chunked",
        "ISO-8859-1",
        "7bit",
        "text/html",
        "zip",
        "compress",
        "identity",
        "none",
        "x-foo",
        "",
    ],
)
def test_what_is_no_coding_is_left_alone(server: WebServer, coding: str, output: str) -> None:
    """Alike in every format."""
    server.routes["/"] = by_length(TEXT, coding)
    result = load_one(server.url, output)
    assert isinstance(result, Done), result
    if output == "p.warc.gz":
        assert warc_records(result)[1][1].endswith(b"\r\n\r\n" + TEXT)
    else:
        assert holds_all(result, output)


def packed_by(*kinds: str) -> bytes:
    body = TEXT
    for kind in kinds:
        body = KINDS[kind][1](body)
    return body


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("GZIP", packed_by("gzip")),
        ("x-gzip", packed_by("gzip")),
        ("Deflate", packed_by("zlib")),
        ("deflate", packed_by("bare deflate")),
        ("zstd", packed_by("zstd")),
        ("gzip, br", packed_by("gzip", "br")),
        ("gzip , GZIP", packed_by("gzip", "gzip")),
        (",gzip,,", packed_by("gzip")),
        ("utf-8, gzip", packed_by("gzip")),
        ("gzip, utf-8", packed_by("gzip")),
        ("gzip", gzip.compress(TEXT[:99]) + gzip.compress(TEXT[99:])),
        ("gzip", packed_by("gzip") + b"\0" * 9),
        ("gzip", packed_by("gzip") + b"\r\n<!-- cached -->"),
        ("zstd", zstd.compress(TEXT[:99]) + zstd.compress(TEXT[99:])),
        ("br", packed_by("br") + b"\r\n"),
    ],
)
def test_what_servers_send_is_unpacked_as_browsers_do(server: WebServer, coding: str, body: bytes) -> None:
    """Lists, capitals, members one after the other, and what follows the end. An archive has it as it came."""
    server.routes["/"] = by_length(body, coding)
    assert page(load_one(server.url))["text"] == TEXT.decode()
    assert warc_records(load_one(server.url, "p.warc.gz"))[1][1].endswith(b"\r\n\r\n" + body)


def test_two_lines_are_one_list(server: WebServer) -> None:
    body = packed_by("gzip", "br")
    server.routes["/"] = raw(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Encoding: gzip\r\nContent-Encoding: br\r\n"
        b"Content-Length: %d\r\n\r\n" % len(body) + body
    )
    assert page(load_one(server.url))["text"] == TEXT.decode()


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd", "deflate", "gzip, gzip"])
def test_a_body_that_is_not_what_it_says_fails_with_the_reason(server: WebServer, coding: str) -> None:
    """Browsers show an error too; an archive keeps what came."""
    server.routes["/"] = by_length(b"<html>not packed at all</html>", coding)
    result = load_one(server.url, attempts=3)
    assert isinstance(result, Failed)
    assert (result.error, result.attempts) == ("Protocol", 1)
    assert f"Content-Encoding ({coding})" in result.message
    assert isinstance(load_one(server.url, "p.warc.gz"), Done)


@every_format
@pytest.mark.parametrize("coding", ["gzip", "br", "zstd", "deflate"])
def test_an_empty_body_is_an_empty_page(server: WebServer, coding: str, output: str) -> None:
    """Whatever coding it is said to have."""
    server.routes["/"] = by_length(b"", coding)
    assert isinstance(load_one(server.url, output), Done)


def test_each_format_asks_for_what_it_can_use(server: WebServer) -> None:
    """As browsers ask; for archives gzip alone, which every reader of them knows."""
    server.routes["/"] = answer(TEXT)
    for output in FORMATS:
        load_one(server.url, output)
    asked = [
        line for request in server.requests for line in request.split(b"\r\n") if b"accept-encoding" in line.lower()
    ]
    assert asked == [b"Accept-Encoding: gzip, deflate, br, zstd"] * 3 + [b"Accept-Encoding: gzip"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_that_is_too_large_unpacked_fails_or_is_cut(server: WebServer, kind: str) -> None:
    """Exactly `max_bytes` are kept if that is asked for; an archive keeps the small body that came."""
    name, pack, _ = KINDS[kind]
    server.routes["/"] = by_length(pack(bytes(5_000_000)), name)
    result = load_one(server.url, max_bytes=200_000, attempts=3)
    assert isinstance(result, Failed)
    assert (result.error, result.attempts) == ("TooLarge", 1)
    assert "200,000 bytes when unpacked" in result.message
    cut = page(load_one(server.url, max_bytes=200_000, truncate=True))
    assert (cut["bytes"], cut["truncated"]) == (200_000, "length")
    assert isinstance(load_one(server.url, "p.warc.gz", max_bytes=200_000), Done)


def test_a_packed_body_that_is_cut_by_us_gives_what_it_held(server: WebServer) -> None:
    """Packed it is larger than `max_bytes` too: what came until then is unpacked, and the record says `length`."""
    noise = gzip.compress(os.urandom(400_000))
    server.routes["/"] = answer(noise, content_type="application/octet-stream", content_encoding="gzip")
    cut = page(load_one(server.url, max_bytes=200_000, truncate=True))
    assert 150_000 < cut["bytes"] <= 200_000
    assert cut["truncated"] == "length"


def test_a_redirect_and_a_refused_status_need_no_body_that_is_right(server: WebServer) -> None:
    """It is not read: the redirect is followed, the status is the failure."""
    server.routes["/start"] = answer(b"no gzip", "302 Found", content_encoding="gzip", location="/page")
    server.routes["/page"] = by_length(TEXT, "utf-8")
    server.routes["/gone"] = answer(b"no gzip", "404 Not Found", content_encoding="gzip")
    found, gone = load([f"{server.url}/start", f"{server.url}/gone"])
    assert page(found)["text"] == TEXT.decode()
    assert isinstance(gone, Failed)
    assert gone.error == "HttpStatus"


@every_format
def test_pages_that_unpack_to_much_are_passed_on_one_by_one(server: WebServer, output: str) -> None:
    """40 pages of 4 MB that came together, some bytes each: what is held is some of them, not all."""
    meet = threading.Barrier(40)
    bodies = [pack(b"<p>text</p>\n" * 350_000) for _, pack, _ in KINDS.values()]
    for number in range(40):
        name = list(KINDS.values())[number % len(KINDS)][0]
        whole = answer(bodies[number % len(KINDS)], content_type="text/html", content_encoding=name)
        server.routes[f"/{number}"] = noting(whole, lambda _: meet.wait(60))
    results = resolve("load", None).run(
        ListSource([f"{server.url}/{number}" for number in range(40)]),
        {"allow_net": ["127.0.0.0/8"], "connections": 40, "attempts": 1},
        format_for(output),
    )
    tracemalloc.start()
    done = sum(isinstance(result, Done) for result in results)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert done == 40
    # orjson asks for twelve times what it then writes to.
    assert peak < (150_000_000 if output == "p.jsonl" else 40_000_000)
