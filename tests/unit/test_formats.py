"""What each record format writes, read back by readers that are not ours."""

import dataclasses
import gzip
import hashlib
import io
import json
import sys
from base64 import b32encode
from typing import Any

import orjson
import pytest
import xxhash
from hypothesis import example, given
from hypothesis import strategies as st
from warcio.archiveiterator import ArchiveIterator

from sheaf.core.errors import OutputPathError, TaskError
from sheaf.formats import SUFFIXES, Exchange, Page, format_for, jsonl
from sheaf.formats.jsonl import _page_facts, _text_fields
from sheaf.formats.warc import base32
from sheaf.run.items import Item

URL = "http://example.org/a"


def exchange(**changes: Any) -> Exchange:
    fields: dict[str, Any] = {
        "url": URL,
        "request": b"GET /a HTTP/1.1\r\nHost: example.org\r\n\r\n",
        "protocol": "http/1.1",
        "status": 200,
        "reason": "OK",
        "head": [b"Content-Type: text/html; charset=iso-8859-1\r\n", b"Content-Length: 6\r\n"],
        "body": b"Stra\xdfe",
        "ip": "93.184.215.14",
        "started": 1_700_000_000.25,
        "elapsed_s": 0.125,
    }
    fields |= changes
    return Exchange(**fields | {"head": b"".join(fields["head"])})


def page(*exchanges: Exchange) -> Page:
    return Page(Item(7, URL), list(exchanges or [exchange()]))


def warc_records(data: bytes) -> list[tuple[Any, bytes]]:
    """Every record and its block. Warcio checks all digests on the way."""
    for record in ArchiveIterator(io.BytesIO(data), check_digests="raise"):
        record.content_stream().read()
    iterator = ArchiveIterator(io.BytesIO(data), no_record_parse=True)
    return [(record, record.raw_stream.read()) for record in iterator]


@pytest.mark.parametrize("suffix", [suffix for suffix in SUFFIXES if suffix != ".csv"])
def test_a_suffix_chooses_the_format(suffix: str) -> None:
    """In either case; every format encodes a page, and its records are whole by themselves."""
    chosen = format_for(f"Pages{suffix.upper()}")
    assert chosen.page(page())
    assert chosen.keeps_coding is suffix.startswith(".warc")


def test_an_unknown_suffix_is_refused() -> None:
    """The message lists the suffixes there are."""
    with pytest.raises(OutputPathError, match=r"'pages\.pdf'.*\.warc\.gz, \.warc, \.jsonl"):
        format_for("pages.pdf")


@pytest.mark.parametrize("suffix", [".warc", ".warc.gz"])
def test_a_warc_reader_reads_back_what_was_written(suffix: str) -> None:
    """Header, request and response: types, dates, digests, address and blocks, by warcio's reading."""
    chosen = format_for("pages" + suffix)
    info, request, response = warc_records(chosen.header("pages" + suffix) + chosen.page(page()))
    assert info[0].rec_type == "warcinfo"
    assert b"software: Sheaf/" in info[1]
    assert info[0].rec_headers.get_header("WARC-Filename") == "pages" + suffix
    assert request[1] == exchange().request
    assert response[1] == b"HTTP/1.1 200 OK\r\n" + exchange().head + b"\r\nStra\xdfe"
    for record in (request[0].rec_headers, response[0].rec_headers):
        assert record.protocol == "WARC/1.1"
        assert record.get_header("WARC-Target-URI") == URL
        assert record.get_header("WARC-Date") == "2023-11-14T22:13:20.250Z"
        assert record.get_header("WARC-IP-Address") == "93.184.215.14"
    for block, record in ((request[1], request[0].rec_headers), (response[1], response[0].rec_headers)):
        digest = "sha1:" + b32encode(hashlib.sha1(block).digest()).decode() if suffix == ".warc" else None
        assert record.get_header("WARC-Block-Digest") == digest, "packed, the gzip member's CRC replaces it"
    assert response[0].rec_headers.get_header("WARC-Payload-Digest").startswith("sha1:")
    assert request[0].rec_headers.get_header("WARC-Concurrent-To") == response[0].rec_headers.get_header(
        "WARC-Record-ID"
    )


def test_every_warc_record_is_a_gzip_member_of_its_own() -> None:
    """So that a reader can start at any record: two members for a page, each whole."""
    data = format_for("p.warc.gz").page(page())
    members = [b"\x1f\x8b\x08" + member for member in data.split(b"\x1f\x8b\x08")[1:]]
    assert [gzip.decompress(member)[:29] for member in members] == [
        b"WARC/1.1\r\nWARC-Type: request\r",
        b"WARC/1.1\r\nWARC-Type: response",
    ]


@pytest.mark.parametrize(
    ("head", "as_it_is"),
    [
        (b"Content-Encoding: gzip\r\n", True),
        (b"content-type: image/jpeg\r\n", True),
        (b"Content-Type: VIDEO/mp4\r\n", True),
        (b"Content-Type: image/svg+xml\r\n", False),
        (b"Content-Type: text/html\r\nX-Content-Encoding: gzip\r\n", False),
        (b"", False),
    ],
)
def test_a_body_that_is_packed_already_is_not_packed_again(head: bytes, as_it_is: bool) -> None:
    """Its gzip member holds the bytes as they came; any reader of gzip and WARC gets the record out."""
    body = bytes(range(256)) * 600
    packed = format_for("p.warc.gz").page(page(exchange(head=[head], body=body)))
    assert (body[:5_000] in packed) is as_it_is
    assert warc_records(packed)[1][1] == b"HTTP/1.1 200 OK\r\n" + head + b"\r\n" + body


@given(st.binary(min_size=20, max_size=20))
def test_a_digest_is_written_in_base_32(digest: bytes) -> None:
    """The fast way writes what Python's own does."""
    assert base32(digest) == b32encode(digest).decode()


@pytest.mark.parametrize(
    ("changes", "head"),
    [
        (
            {"head": [b"Transfer-Encoding: chunked\r\n", b"A: b\r\n"]},
            b"HTTP/1.1 200 OK\r\nX-Orig-Transfer-Encoding: chunked\r\nA: b\r\nContent-Length: 6\r\n\r\n",
        ),
        (
            {"head": [b"content-length: 600\r\n"], "truncated": "length"},
            b"HTTP/1.1 200 OK\r\nX-Orig-content-length: 600\r\nContent-Length: 6\r\n\r\n",
        ),
        ({"head": [b"X-Content-Length: 5\r\n"]}, b"HTTP/1.1 200 OK\r\nX-Content-Length: 5\r\n\r\n"),
        ({"head": [b"CONTENT-LENGTH: 6\r\n"]}, b"HTTP/1.1 200 OK\r\nCONTENT-LENGTH: 6\r\n\r\n"),
        ({"head": [], "protocol": "http/1.0", "reason": "Süß"}, "HTTP/1.0 200 Süß\r\n\r\n".encode("latin-1")),
        ({"head": [], "protocol": "h2", "reason": ""}, b"HTTP/1.1 200 \r\n\r\n"),
        ({"head": [b"A: b\n", b"Content-Length: 6\r\n"]}, b"HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 6\r\n\r\n"),
        (
            {"head": [b"A: b\n", b"Content-Length: 9\n"]},
            b"HTTP/1.1 200 OK\r\nA: b\r\nX-Orig-Content-Length: 9\r\nContent-Length: 6\r\n\r\n",
        ),
        (
            {"head": [b"Content-Length: 6\r\n"], "status": 204},
            b"HTTP/1.1 204 OK\r\nContent-Length: 6\r\n\r\n",
        ),
    ],
)
def test_a_stored_head_fits_the_stored_body(changes: dict[str, Any], head: bytes) -> None:
    """A header that would mislead a reader is renamed, and the right length takes its place."""
    _, response = warc_records(format_for("p.warc").page(page(exchange(**changes))))
    assert response[1] == head + b"Stra\xdfe"
    assert response[0].rec_headers.get_header("WARC-Truncated") == changes.get("truncated")
    assert response[0].rec_headers.get_header("WARC-Protocol") == ("h2" if changes.get("protocol") == "h2" else None)


def test_a_json_line_holds_the_page() -> None:
    """Decoded text, how its charset was found, headers in order, and the digest of the bytes."""
    hop = exchange(url="http://example.org/", status=301, head=[b"Location: /a\r\n"], body=b"")
    line = format_for("p.jsonl").page(page(hop, exchange()))
    assert line.endswith(b"}\n")
    assert json.loads(line) == {
        "index": 7,
        "url": URL,
        "final_url": URL,
        "status": 200,
        "headers": [["Content-Type", "text/html; charset=iso-8859-1"], ["Content-Length", "6"]],
        "fetched_at": "2023-11-14T22:13:20.250Z",
        "elapsed_s": 0.125,
        "ip": "93.184.215.14",
        "protocol": "http/1.1",
        "redirects": [{"url": "http://example.org/", "status": 301}],
        "bytes": 6,
        "xxh128": xxhash.xxh3_128(b"Stra\xdfe").hexdigest(),
        "truncated": None,
        "text": "Straße",
        "charset": "windows-1252",
        "charset_source": "header",
    }


@example("\ud800 lone", [], b"", 0.0)
@given(
    st.text(st.characters()),
    st.lists(st.binary(max_size=20)),
    st.binary() | st.text().map(str.encode) | st.just(b"\xed\xa0\x80"),
    st.floats(0, 4e9),
)
def test_the_fast_json_encoder_writes_what_the_standard_one_does(
    name: str, head: list[bytes], body: bytes, moment: float
) -> None:
    """Whatever is in a page, lone surrogates too, the line is one line, and Python's own reader finds every field."""
    answer = exchange(head=[b"A: " + line + b"\r\n" for line in head], body=body, started=moment, elapsed_s=moment / 7)
    whole = Page(Item(7, name), [answer])
    line = format_for("p.jsonl").page(whole)
    assert line.endswith(b"}\n")
    assert line.count(b"\n") == 1
    assert json.loads(line) == json.loads(
        json.dumps(_page_facts(whole) | _text_fields(whole.final, whole.final.content_type))
    )


@given(
    st.text(min_size=1).map(lambda text: f"é{text}".encode()) | st.binary().map(lambda tail: b"\xc3\xa9" + tail),
    st.sampled_from(["text/html; charset=utf-8", "text/html", "text/plain; charset=koi8-r", "image/png"]),
)
def test_text_that_is_utf8_already_makes_the_same_line(body: bytes, content_type: str) -> None:
    """Byte for byte what decoding and encoding would write: control characters and broken ends too."""
    whole = page(exchange(head=[f"Content-Type: {content_type}\r\n".encode()], body=body))
    assert (
        format_for("p.jsonl").page(whole)
        == orjson.dumps(_page_facts(whole) | _text_fields(whole.final, whole.final.content_type)) + b"\n"
    )


@pytest.mark.parametrize("body", ['Straße "日本"\n'.encode(), b"caf\xc3\xa9 \x07\x7f\\", b"\xc3\xa9 broken \xc3"])
def test_without_pydantic_core_the_line_is_the_same(body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no dependency, and only faster."""
    whole = page(exchange(head=[b"Content-Type: text/html; charset=utf-8\r\n"], body=body))
    with_it = format_for("p.jsonl").page(whole)
    monkeypatch.setitem(sys.modules, "pydantic_core", None)
    jsonl._utf8_to_json.cache_clear()
    try:
        assert jsonl._utf8_to_json() is None
        assert format_for("p.jsonl").page(whole) == with_it
    finally:
        jsonl._utf8_to_json.cache_clear()


def test_text_that_is_utf8_already_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fast way is taken: the decoded text is not asked for."""
    monkeypatch.setattr("sheaf.formats.jsonl.decode", None)
    answer = exchange(head=[b"Content-Type: text/html\r\n"], body='Straße "日本"\n'.encode())
    assert json.loads(format_for("p.jsonl").page(page(answer)))["text"] == 'Straße "日本"\n'


def test_a_body_that_is_no_text_is_kept_in_base64() -> None:
    """Nothing is lost, and the line is JSON all the same."""
    line = format_for("p.jsonl").page(page(exchange(head=[b"Content-Type: image/png\r\n"], body=b"\x89PNG\0\xff")))
    assert (json.loads(line)["text"], json.loads(line)["body_base64"]) == (None, "iVBORwD/")


@pytest.mark.parametrize("value", [None, 1, "text", "\ud800 lone", [1, {"a": None}], "ü" * 100, 1e300])
def test_a_value_is_a_json_line(value: object) -> None:
    """With the item it came from; compressed, each line is a gzip member of its own."""
    line = format_for("p.jsonl").value(3, "three", value)
    assert json.loads(line) == {"index": 3, "item": "three", "value": value}
    assert gzip.decompress(format_for("p.jsonl.gz").value(3, "three", value)) == line
    assert line.count(b"\n") == 1


def test_bytes_are_kept_in_base64() -> None:
    """Under a name of their own, so that they are not taken for text."""
    line = format_for("p.jsonl").value(3, "three", b"\xff\x00")
    assert json.loads(line) == {"index": 3, "item": "three", "value_base64": "/wA="}


@pytest.mark.parametrize(
    "value", [1j, [b"bytes"], object(), {1, 2}, [{1: [{1, 2}]}], 10**5000, [-(10**5000)]], ids=type
)
def test_a_value_that_json_cannot_hold_is_refused(value: object) -> None:
    """The error names the item and the type."""
    with pytest.raises(TaskError, match=f"item 3 returned a {type(value).__name__} that JSON cannot hold"):
        format_for("p.jsonl").value(3, "three", value)


@pytest.mark.parametrize(
    ("status", "head", "stored"),
    [
        (204, [b"Content-Length: 17\r\n", b"A: b\r\n"], b"X-Orig-Content-Length: 17\r\nA: b\r\n"),
        (204, [b"Transfer-Encoding: chunked\r\n"], b"X-Orig-Transfer-Encoding: chunked\r\n"),
        (204, [b"Content-Length: 0\r\n"], b"Content-Length: 0\r\n"),
        (204, [b"A: b\r\n"], b"A: b\r\n"),
        (205, [b"Content-Length: 17\r\n"], b"X-Orig-Content-Length: 17\r\nContent-Length: 0\r\n"),
        (304, [b"Content-Length: 17\r\n"], b"Content-Length: 17\r\n"),
        (
            304,
            [b"Content-Length: 17\r\n", b"Transfer-Encoding: chunked\r\n"],
            b"Content-Length: 17\r\nX-Orig-Transfer-Encoding: chunked\r\n",
        ),
    ],
)
def test_an_answer_without_a_body_says_so_in_the_archive(status: int, head: list[bytes], stored: bytes) -> None:
    """A Content-Length with nothing after it makes replay tools fail; that of a 304 speaks of another answer."""
    _, response = warc_records(format_for("p.warc").page(page(exchange(status=status, head=head, body=b""))))
    assert response[1] == b"HTTP/1.1 %d OK\r\n%s\r\n" % (status, stored)


@pytest.mark.parametrize(
    "head",
    [
        [b"A: b\r\n", b"Set-Cookie: %s\r\n" % (b"c" * 90_000), b"Z: z\r\n"],
        [b"A: b\r\n", *[b"H%d: %s\r\n" % (number, b"h" * 20_000) for number in range(4)], b"Z: z\r\n"],
        [b"H%d: %s\r\n" % (number, b"h" * 60) for number in range(2_000)],
    ],
    ids=["one long line", "several", "many"],
)
def test_a_head_that_readers_would_stop_at_is_shortened(head: list[bytes]) -> None:
    """FastWARC bears 32 KiB. What is cut has another name, and the record says that it is not whole."""
    whole = exchange(head=head)
    request, response = warc_records(
        format_for("p.warc").page(
            page(dataclasses.replace(whole, request=b"GET / HTTP/1.1\r\n" + b"".join(head) + b"\r\n"))
        )
    )
    for record, block in (request, response):
        stored = block.partition(b"\r\n\r\n")[0]
        assert 20_000 < len(stored) <= 32_000
        assert record.rec_headers.get_header("WARC-Truncated") == "length"
        assert all(line + b"\r\n" in head or line.startswith(b"X-Cut-") for line in stored.split(b"\r\n")[1:])
    assert response[1].endswith(b"\r\n\r\n" + whole.body)
    assert b"\r\n" + head[0] in response[1]


def test_an_address_that_readers_would_stop_at_is_refused() -> None:
    """The page fails, with what to do: half of an address is none, and the archive would end there for readers."""
    with pytest.raises(TaskError, match=r"has 40,009 characters, .*\.jsonl output"):
        format_for("p.warc.gz").page(page(exchange(url="http://a/" + "u" * 40_000)))
    format_for("p.warc.gz").page(page(exchange(url="http://a/" + "u" * 29_000)))


@pytest.mark.parametrize("suffix", [".warc", ".warc.gz", ".html"])
def test_a_format_for_pages_refuses_other_values(suffix: str) -> None:
    """The error says what the output holds, and what to choose instead."""
    with pytest.raises(TaskError, match="holds loaded pages only"):
        format_for("p" + suffix).value(3, "three", 9)


def test_a_combined_file_is_utf8_under_the_pages_names() -> None:
    """Each page decoded, under one line with its index and URL, and ended by a line end."""
    html = format_for("p.html").page(page())
    assert html.decode() == f"<!-- sheaf 7 {URL} -->\nStraße\n"
    assert format_for("p.txt").page(page()).decode() == f"# 7 {URL}\nStraße\n"
    moved = format_for("p.html").page(page(exchange(status=301), exchange(url="http://example.org/b")))
    assert moved.decode().startswith(f"<!-- sheaf 7 {URL} redirected to http://example.org/b -->\n")


def test_a_combined_file_leaves_out_what_is_no_text() -> None:
    """The page's line is there, and says so."""
    picture = page(exchange(head=[b"Content-Type: image/png\r\n"], body=b"\x89PNG"))
    assert format_for("p.html").page(picture) == (
        f"<!-- sheaf 7 {URL} (image/png, 4 bytes, not text: left out) -->\n".encode()
    )


@pytest.mark.parametrize("suffix", [".html", ".txt"])
def test_a_heading_shows_what_a_terminal_would_obey(suffix: str) -> None:
    """A Content-Type, an item, the place a redirect led to: an escape in them is written as text."""
    hostile = "a/b\x1b]0;t\x07\x9b2J\u202e"
    head = [b"Content-Type: " + hostile.encode("latin-1", "ignore") + b"\r\n"]
    exchanges = [exchange(status=301), exchange(url=f"http://x/{hostile}", head=head, body=b"\x89PNG\x00")]

    heading = format_for(f"p{suffix}").page(Page(Item(1, hostile), exchanges)).decode()

    assert heading.count("\\x1b]0;t\\x07\\u009b2J") == 3
    assert heading.count("\\u202e") == 2
    assert not any(sign in heading for sign in "\x1b\x07\x9b\u202e")


@given(st.text())
def test_no_name_can_end_the_comment(name: str) -> None:
    """Whatever an item or a Content-Type says, the heading is one line and one comment."""
    heading = format_for("p.html").page(Page(Item(1, name), [exchange(body=b"")]))
    assert heading.startswith(b"<!-- sheaf 1")
    assert heading.index(b"-->") == heading.index(b">") - 2
    assert heading.splitlines()[0].endswith(b" -->")
