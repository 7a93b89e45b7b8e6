"""One odd answer among many pages: it costs its own item at most, and no other page anything."""

from __future__ import annotations

import errno
import functools
import gzip
import inspect
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pycurl
import pytest

from sheaf.formats import Exchange, format_for
from sheaf.run.items import Done, Failed
from sheaf.tasks.load import (
    connections,
    cookies,
    failure,
    files,
    head,
    hosts,
    later,
    loader,
    memory,
    outcome,
    task,
    transfer,
    url,
    visit,
)
from sheaf.tasks.load.task import LoadTask
from tests.functions import ListSource
from tests.loading import load, load_one, page, warc_records
from tests.webserver import Answer, AnswerPart, WebServer, answer, in_turn, raw

pytestmark = pytest.mark.usefixtures("short_waits")

MODULES: tuple[ModuleType, ...] = (
    connections,
    cookies,
    failure,
    files,
    head,
    hosts,
    later,
    loader,
    memory,
    outcome,
    task,
    transfer,
    url,
    visit,
)


def paths(server: WebServer) -> Counter[str]:
    return Counter(request.split(b" ", 2)[1].decode() for request in server.requests)


def functions() -> Iterator[tuple[object, str]]:
    """Every function of the loader, and every method: where it is defined, and its name."""
    for module in MODULES:
        for name, value in vars(module).items():
            if getattr(value, "__module__", "") != module.__name__:
                continue
            if inspect.isclass(value):
                yield from ((value, method) for method, function in vars(value).items() if inspect.isfunction(function))
            elif inspect.isfunction(getattr(value, "__wrapped__", value)):
                yield module, name


#: What keeps the others' exceptions in, and what calls it.
GUARD = {"_begin", "_raised", "of_error"}
FUNCTIONS = [(owner, name) for owner, name in functions() if name not in GUARD and not name.startswith("__")]


def mentions(value: object) -> bool:
    """Whether a function's argument belongs to the item that is to fail."""
    if isinstance(value, visit.Visit):
        return "poison" in value.item.text
    if isinstance(value, (list, tuple)):
        return any(map(mentions, value))
    return "poison" in str(getattr(value, "url", value))


def inject(monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> list[str]:
    """Have the function raise whenever it is called for the item; return the list that then notes it."""
    hit: list[str] = []
    real = getattr(owner, name)

    @functools.wraps(real)
    def broken(*arguments: Any, **named: Any) -> Any:
        if any(map(mentions, arguments)):
            hit.append(name)
            raise RuntimeError(f"injected into {name}")
        return real(*arguments, **named)

    if inspect.isclass(owner):
        monkeypatch.setattr(owner, name, broken)
    for module in MODULES if isinstance(owner, ModuleType) else ():
        if vars(module).get(name) is real:
            monkeypatch.setattr(module, name, broken)
    return hit


HIT: set[str] = set()


@pytest.mark.parametrize(
    ("owner", "name"), FUNCTIONS, ids=[f"{getattr(owner, '__name__', '')}.{name}" for owner, name in FUNCTIONS]
)
def test_an_exception_anywhere_in_the_loader_is_one_items_failure(
    server: WebServer, monkeypatch: pytest.MonkeyPatch, owner: object, name: str
) -> None:
    """Whatever is raised while one item is attended to, in whichever function: that item has one result, and each other
    page is loaded, and asked for once."""
    for number in range(8):
        server.routes[f"/{number}"] = answer(b"fine")
    server.routes["/poison"] = in_turn(
        answer(b"", "503 poison", retry_after="0"),
        answer(b"moved", "302 poison", location="/poison/end", set_cookie="poison=1"),
    )
    server.routes["/poison/end"] = answer(b"the poison", content_type="text/plain; charset=poison")
    hit = inject(monkeypatch, owner, name)
    urls = [f"{server.url}/{number}" for number in range(8)]
    results = load([*urls[:4], f"{server.url}/poison", *urls[4:]], attempts=3)
    HIT.update(hit)
    assert [isinstance(result, Done) for result in results if result.index != 4] == [True] * 8
    assert all(paths(server)[f"/{number}"] == 1 for number in range(8))
    if hit and isinstance(results[4], Failed):
        # Callbacks are libcurl's: it says that they failed.
        assert "injected into" in results[4].message or "libcurl" in results[4].message
    elif not hit:
        assert isinstance(results[4], Done)


def test_the_injected_exceptions_were_raised() -> None:
    """The test above would be worth nothing if the item never came through the functions."""
    assert {
        "_ask",
        "_answered",
        "of_transfer",
        "exchange",
        "final_head",
        "status_of",
        "add",
        "check_accepted",
        "try_again",
    } <= HIT
    assert len(HIT) > 30


#: Whole answers that are odd but are pages, as browsers see it.
ODD: dict[str, bytes] = {
    "no space": b"HTTP/1.1 200OK\r\nContent-Length: 2\r\n\r\nhi",
    "tab": b"HTTP/1.1 200\tOK\r\nContent-Length: 2\r\n\r\nhi",
    "semicolon": b"HTTP/1.1 200;OK\r\nContent-Length: 2\r\n\r\nhi",
    "tab before": b"HTTP/1.1\t200 OK\r\nContent-Length: 2\r\n\r\nhi",
    "nbsp": b"HTTP/1.1 200\xa0OK\r\nContent-Length: 2\r\n\r\nhi",
    "small": b"http/1.1 200 ok\r\nContent-Length: 2\r\n\r\nhi",
    "header called HTTP": b"HTTP/1.1 200 OK\r\nHTTP/1.1-Foo: bar\r\nContent-Length: 2\r\n\r\nhi",
    "header called 404": b"HTTP/1.1 200 OK\r\nHTTP/1.1 404 No: bar\r\nContent-Length: 2\r\n\r\nhi",
    "trailer called HTTP": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nHTTP/1.1 5:\r\n\r\n",
    "no name": b"HTTP/1.1 200 OK\r\n: foo\r\nContent-Length: 2\r\n\r\nhi",
    "space before colon": b"HTTP/1.1 200 OK\r\nA : b\r\nContent-Length: 2\r\n\r\nhi",
    "LF only": b"HTTP/1.1 200 OK\nContent-Length: 2\n\nhi",
    "folded": b"HTTP/1.1 200 OK\r\n lost: x\r\nA: b\r\n c\r\nContent-Length: 2\r\n\r\nhi",
    "CR CR LF": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\r\nhi",
}


@pytest.mark.parametrize("output", ["pages.jsonl", "pages.warc.gz"])
@pytest.mark.parametrize("name", ODD)
def test_an_odd_head_is_read_as_browsers_read_it(server: WebServer, name: str, output: str) -> None:
    """Status 200 and the body, in text and in an archive."""
    server.routes["/"] = raw(ODD[name])
    result = load_one(server.url, output)
    assert isinstance(result, Done), result
    if output == "pages.jsonl":
        assert (page(result)["status"], page(result)["text"]) == (200, "hi")


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (b"HTTP/1.2 200 OK\r\nContent-Length: 2\r\n\r\nhi", "not valid HTTP: Unsupported HTTP/1 subversion"),
        (b"HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nhi", "no status of three digits"),
        (b"HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nhi", "not valid HTTP"),
        (b"ICY 200 OK\r\nContent-Length: 2\r\n\r\nhi", "not valid HTTP"),
        (b"HTTP/1.1 200 OK\r\nfoo\r\nContent-Length: 2\r\n\r\nhi", "not valid HTTP: Header without colon"),
        (b"HTTP/1.1 200 OK\r\nA: b\rC: d\r\n\r\nhi", "not valid HTTP: Carriage return"),
        (b"HTTP/1.1 200 OK\r\nA: b\0c\r\n\r\nhi", "not valid HTTP: NUL byte"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhi\r\n0\r\n\r\n", "not a hex digit"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-2\r\nhi\r\n0\r\n\r\n", "not a hex digit"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 40 + b"\r\nhi", "chunk"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 16 + b"\r\nhi", "chunk"),
    ],
)
def test_what_is_not_http_is_said_once_and_clearly(server: WebServer, broken: bytes, words: str) -> None:
    """What libcurl refuses is the item's failure, with what was found; it is not asked for again."""
    server.routes["/"] = raw(broken, None)
    result = load_one(server.url, attempts=3)
    assert isinstance(result, Failed), result
    assert (result.error, result.attempts) == ("Protocol", 1)
    assert words in result.message


@pytest.mark.parametrize(
    "cut",
    [
        b"HTTP/1.1 200 OK\r\nContent-Type: te",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: /else\r\n",
        b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n",
    ],
)
def test_a_connection_closed_within_the_head_is_no_page(server: WebServer, cut: bytes) -> None:
    """Never an empty page in place of a whole one: it is tried again, and the whole one taken."""
    server.routes["/"] = in_turn(raw(cut, None), answer(b"whole"))
    assert page(load_one(server.url, attempts=2))["text"] == "whole"
    server.routes["/"] = raw(cut, None)
    result = load_one(server.url, attempts=2)
    assert isinstance(result, Failed)
    assert (result.error, result.attempts) == ("Connect", 2)


FOUND = b"HTTP/1.1 302 Found\r\nLocation: /page\r\n"
REDIRECTS: dict[str, Answer] = {
    "not gzip": raw(FOUND + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nmoved"),
    "unknown coding": raw(FOUND + b"Content-Encoding: utf-8\r\nContent-Length: 5\r\n\r\nmoved"),
    "short": raw(FOUND + b"Content-Length: 100\r\n\r\nmoved", None),
    "large": raw(FOUND + b"Content-Length: 300000\r\n\r\n" + b"x" * 300_000),
    "large, said first": raw(b"HTTP/1.1 302 F\r\nContent-Length: 900000\r\nLocation: /page\r\n\r\n" + b"x" * 900_000),
    "endless": lambda _request: (FOUND + b"\r\n" if not number else b"x" * 65536 for number in range(1_000_000)),
    "never comes": raw(FOUND + b"Content-Length: 100\r\n\r\n", 20.0),
    "chunks of nonsense": raw(FOUND + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"),
    "first Location empty": raw(b"HTTP/1.1 302 F\r\nLocation:\r\nLocation: /page\r\nContent-Length: 0\r\n\r\n"),
    "no space": raw(b"HTTP/1.1 302Found\r\nLocation: /page\r\nContent-Length: 0\r\n\r\n"),
}


@pytest.mark.parametrize("output", ["pages.jsonl", "pages.warc.gz"])
@pytest.mark.parametrize("name", REDIRECTS)
def test_a_redirects_own_body_does_not_matter(server: WebServer, name: str, output: str) -> None:
    """With status and Location in hand it is followed, as browsers do, whatever its body is; it is not waited for."""
    server.routes["/"] = REDIRECTS[name]
    server.routes["/page"] = answer(b"the page", content_type="text/plain")
    started = time.monotonic()
    result = load_one(server.url, output, max_bytes=200_000, deadline_s=15)
    assert isinstance(result, Done), result
    assert time.monotonic() - started < 14
    if output == "pages.jsonl":
        assert page(result)["text"] == "the page"


@pytest.mark.parametrize(
    ("location", "asked"),
    [
        (b"/caf\xe9", b"/caf%E9"),
        (b"/q?n=caf\xe9", b"/q?n=caf%E9"),
        (b"/\x93\xfa\x96\x7b", b"/%93%FA%96{"),
        (b"/caf\xc3\xa9#part\xe9", b"/caf%C3%A9"),
        (b"/a b\\c", b"/a%20b/c"),
        (b"/%c3%b6%2f", b"/%c3%b6%2f"),
    ],
)
def test_a_location_goes_back_byte_by_byte(server: WebServer, location: bytes, asked: bytes) -> None:
    """Bytes beyond ASCII, in whatever coding, are percent-encoded as they are; no fragment is sent."""
    server.routes["/"] = raw(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + location + b"\r\n\r\n")
    load_one(server.url, accept="any")
    assert server.requests[1].split(b" ")[1] == asked.replace(b"{", b"%7B" if b"?" not in asked else b"{")


def test_cookies_live_as_long_as_one_items_redirects(server: WebServer) -> None:
    """A page that sets a cookie and redirects to itself is loaded; the next item does not have the cookie."""

    def consent(request: bytes) -> Iterator[AnswerPart]:
        said = b"\r\nCookie: consent=y\xe9s\r\n" in request
        return (
            answer(b"in")
            if said
            else raw(
                b"HTTP/1.1 302 Found\r\nSet-Cookie: consent=y\xe9s; Path=/\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"
            )
        )(request)

    server.routes["/"] = consent
    results = load([server.url, server.url + "/"], connections=1)
    assert [page(result)["text"] for result in results] == ["in", "in"]
    assert [b"Cookie" in request for request in server.requests] == [False, True, False, True]
    assert len(page(results[0])["redirects"]) == 1


def test_the_request_record_has_the_cookie(server: WebServer) -> None:
    """The archive holds what was sent, the cookie included."""
    server.routes["/"] = answer(b"", "302 Found", location="/in", set_cookie="a=1")
    server.routes["/in"] = answer(b"in")
    records = warc_records(load_one(server.url, "pages.warc"))
    assert [block for record, block in records if record.rec_type == "request"] == server.requests
    assert b"\r\nCookie: a=1\r\n" in server.requests[1]


def test_a_circle_is_one_although_cookies_were_set(server: WebServer) -> None:
    """The same URL with the same cookies is a circle at once; with ever new ones the number of redirects ends it."""
    server.routes["/"] = answer(b"", "302 Found", location="/", set_cookie="a=1")
    result = load_one(server.url)
    assert isinstance(result, Failed)
    assert ("in a circle" in result.message, len(server.requests)) == (True, 2)
    numbers = iter(range(1000))

    def ever_new(_request: bytes) -> Iterator[bytes]:
        yield b"HTTP/1.1 302 F\r\nContent-Length: 0\r\nLocation: /\r\nSet-Cookie: a=%d\r\n\r\n" % next(numbers)

    server.routes["/"] = ever_new
    result = load_one(server.url)
    assert isinstance(result, Failed)
    assert "more than 20 times" in result.message


@pytest.mark.parametrize(
    ("status", "headers", "attempts", "words"),
    [
        ("425 Too Early", {}, 3, "425 Too Early"),
        ("503 Busy", {}, 3, "503 Busy"),
        ("999 Denied", {}, 1, "999 Denied"),
        ("600 What", {}, 1, "600 What"),
        ("429 Slow", {"retry_after": "0"}, 3, "429 Slow"),
        ("429 Slow", {"retry_after": "86400"}, 1, "86,400 s without requests"),
        ("503 Busy", {"retry_after": "Fri, 01 Jan 2999 00:00:00 GMT"}, 1, "sheaf retry"),
        ("404 None", {"retry_after": "86400"}, 1, "404 None"),
    ],
)
def test_only_what_may_pass_soon_is_tried_again(
    server: WebServer, status: str, headers: dict[str, str], attempts: int, words: str
) -> None:
    """425 and 5xx are; 600 and more are no 5xx. Who asks for a day is not asked again after a minute: it is said."""
    server.routes["/"] = answer(b"", status, **headers)
    result = load_one(server.url, attempts=3)
    assert isinstance(result, Failed)
    assert (result.error, result.attempts, len(server.requests)) == ("HttpStatus", attempts, attempts)
    assert words in result.message


@pytest.mark.parametrize(
    ("content_range", "accept", "whole"),
    [
        ("bytes 0-4/5", "2xx", True),
        ("bytes 0-4/5000", "2xx", False),
        ("bytes 5-9/10", "2xx", False),
        ("bytes 0-4/*", "2xx", False),
        ("nonsense", "2xx", False),
        ("bytes 0-4/5000", "2xx,206", True),
        ("bytes 0-4/5000", "any", True),
    ],
)
def test_a_part_that_nobody_asked_for_is_no_page(
    server: WebServer, content_range: str, accept: str, whole: bool
) -> None:
    """206 counts only with all of the page, or where parts are wanted: then the record says that it is one."""
    server.routes["/"] = answer(b"12345", "206 Partial Content", content_range=content_range)
    result = load_one(server.url, accept=accept, attempts=2)
    if whole:
        assert page(result)["truncated"] == (None if accept == "2xx" else "unspecified")
    else:
        assert isinstance(result, Failed)
        assert (result.error, result.attempts, "a part" in result.message) == ("HttpStatus", 1, True)


#: With as many descriptors more than it has, and no idea that they are few.
FEW_FILES = """
import contextlib, os, resource, sys
from sheaf.tasks.load import loader, task
from tests.loading import load
task.more_files, loader.most_connections = contextlib.nullcontext, lambda: 400
urls = [f"{sys.argv[1]}/{number}" for number in range(150)]
load(urls[:1])
resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + int(sys.argv[2]),) * 2)
results = load(urls, connections=100, deadline_s=60)
print(*{getattr(result, "message", "done") for result in results}, sep="\\n")
"""


@pytest.mark.parametrize("spare", [12, 45])
def test_a_lack_of_files_is_nobodys_failure(server: WebServer, spare: int) -> None:
    """With fewer descriptors than connections all pages are loaded, in one attempt each."""
    for number in range(150):
        server.routes[f"/{number}"] = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", 0.2, b"\r\nhi")
    command = [sys.executable, "-c", FEW_FILES, server.url, str(spare)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (ran.stdout, ran.returncode) == ("done\n", 0), ran.stderr[-2000:]


def test_a_process_may_open_as_many_files_as_its_administrator_lets_it() -> None:
    """The soft limit is raised as long as pages are loaded, and no longer; connections are counted by what is left."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (300, hard))
    try:
        few = files.most_connections()
        with files.more_files():
            assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == min(hard, 8192)
            assert files.most_connections() > few
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (300, hard)
        assert 1 <= few < 150
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def odd_targets() -> list[str]:
    """Paths and queries that a client may want to write otherwise than they were written."""
    coded = [f"%{byte:02x}" for byte in range(256)]
    places = [f"/p{code}" for code in coded] + [f"/q?a={code}" for code in coded[::2]]
    marks = [f"/m{mark}x" for mark in "!$&'()*+,;=:@-._~|^[]{}`\"<> "] + [
        f"/q?{mark}" for mark in "!$&'()*+,;:@/?|^[]{}`\"<> "
    ]
    others = [
        "//",
        "//a//b//",
        "/a/./b",
        "/a/../b",
        "/a/%2E%2e/b",
        "/.",
        "/..",
        "/%zz",
        "/%",
        "/%4",
        "?",
        "?a#b",
        "/é?ü=é",
    ]
    return places + marks + others


def test_what_an_archive_says_was_sent_was_sent(server: WebServer) -> None:
    """Hundreds of odd URLs: the request records are, byte by byte, the requests of the site's own log."""
    results = load([server.url + target for target in odd_targets()], "pages.warc", accept="any", connections=8)
    recorded = [warc_records(result)[0] for result in results]
    assert len(recorded) > 400
    assert Counter(block for _, block in recorded) == Counter(server.requests)
    sent = {block.split(b" ")[1] for _, block in recorded}
    assert {b"/p%c3", b"/p%ff", b"/q?a=%e4", b"/p%2f", b"/%zz"} <= sent
    for record, block in recorded:
        target = record.rec_headers.get_header("WARC-Target-URI").removeprefix(server.url)
        assert block.split(b" ")[1].decode() == target


#: Beside the odd heads above: what ends in a failure, or takes another way.
BROKEN: dict[str, Answer] = {
    **{name: raw(head_and_body) for name, head_and_body in ODD.items()},
    **{f"redirect {name}": reply for name, reply in REDIRECTS.items() if name != "endless"},
    "head cut": raw(b"HTTP/1.1 200 OK\r\nContent-Type: te", None),
    "head without end": raw(b"HTTP/1.1 200 OK\r\nA: b\r\n", None),
    "body cut": raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", None),
    "nothing": raw(None),
    "no HTTP": raw(b"hello\r\n", None),
    "no colon": raw(b"HTTP/1.1 200 OK\r\nfoo\r\n\r\n", None),
    "NUL": raw(b"HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n", None),
    "HTTP/1.2": raw(b"HTTP/1.2 200 OK\r\n\r\n", None),
    "four digits": raw(b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n"),
    "chunk of nonsense": raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", None),
    "not gzip": answer(b"not gzip", content_encoding="gzip"),
    "gzip cut": answer(gzip.compress(b"x" * 9999)[:30], content_encoding="gzip"),
    "unknown coding": answer(b"text", content_encoding="utf-8"),
    "strange character set": raw(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=\xff\r\nContent-Length: 1\r\n\r\n\xff"
    ),
    "circle": answer(b"", "302 F", location="#"),
    "circle with a cookie": answer(b"", "302 F", location="#", set_cookie="a=1"),
    "204 with a body": answer(b"body", "204 No"),
    "206": answer(b"part", "206 Part", content_range="bytes 0-3/5000"),
    "425": answer(b"", "425 Early"),
    "429": answer(b"", "429 Slow", retry_after="1"),
    "503": answer(b"", "503 Busy"),
    "999": answer(b"", "999 Denied"),
    "too large": raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9000000000\r\n\r\n", 3.0),
    "large head": raw(b"HTTP/1.1 200 OK\r\n" + b"A: %s\r\n" % (b"x" * 1000) * 1000 + b"\r\n", None),
}


def test_broken_answers_have_no_page_asked_for_again(server: WebServer) -> None:
    """600 pages, and one broken answer of each kind among them: each page is loaded, and asked for once."""
    for number in range(600):
        server.routes[f"/well/{number}"] = answer(b"fine")
    urls = [f"{server.url}/well/{number}" for number in range(600)]
    for number, reply in enumerate(BROKEN.values()):
        server.routes[f"/odd/{number}"] = reply
        urls.insert(11 * (number + 1), f"{server.url}/odd/{number}")
    server.routes["/page"] = answer(b"the page")
    results = load(urls, deadline_s=30, attempts=2)
    well = [result for result, url in zip(results, urls, strict=True) if "/well/" in url]
    assert all(isinstance(result, Done) for result in well)
    asked = paths(server)
    assert {asked[f"/well/{number}"] for number in range(600)} == {1}
    assert not any(result.error == "LoaderFault" for result in results if isinstance(result, Failed))


def test_an_overloaded_host_takes_no_connections_from_others(
    server: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One URL in twenty at a host that says 503: all the others are loaded by as many connections as before."""
    monkeypatch.setattr(failure, "_FIRST_WAIT_S", 0.5)
    with WebServer("127.0.0.2") as busy:
        urls = []
        for number in range(400):
            server.routes[f"/{number}"] = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", 0.1, b"\r\nhi")
            urls.append(f"{server.url}/{number}")
        for number in range(20):
            busy.routes[f"/{number}"] = answer(b"", "503 Busy")
            urls.insert(21 * number, f"{busy.url}/{number}")
        loader = LoadTask()
        results = loader.run(ListSource(urls), {"allow_net": ["127.0.0.0/8"]}, format_for("pages.jsonl"))
        failed = [result for result in results if isinstance(result, Failed)]
    assert len(failed) == 20
    assert all(result.message.startswith("503") for result in failed)
    first, *others = loader.choices
    assert first.value >= connections.FIRST
    assert [choice.name for choice in others] == [f"connections to 127.0.0.2:{busy.port}"]


@pytest.mark.parametrize("truncate", [False, True])
def test_a_body_that_turns_out_too_large_after_a_pause_is_one_items_failure(
    server: WebServer, monkeypatch: pytest.MonkeyPatch, truncate: bool
) -> None:
    """Bodies without a length that wait for memory, and exceed the limit when they go on: theirs alone."""
    monkeypatch.setattr(loader, "MemoryLimit", lambda: memory.MemoryLimit(1 << 20))
    piece = b"x" * 700_000
    server.routes["/large"] = raw(
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", piece, 0.3, piece, piece, piece, None
    )
    server.routes["/small"] = answer(b"small")
    urls = [f"{server.url}/{'small' if number % 4 == 3 else 'large'}" for number in range(16)]
    results = load(urls, "pages.warc", connections=16, max_bytes=1_500_000, truncate=truncate)
    expected = ["done" if truncate or number % 4 == 3 else "TooLarge" for number in range(16)]
    assert [getattr(result, "error", "done") for result in results] == expected


@pytest.mark.parametrize(
    ("raised", "error"), [(RuntimeError("injected"), "LoaderFault"), (pycurl.error(23, "injected"), "Protocol")]
)
def test_what_goes_wrong_as_a_body_goes_on_is_its_own_items_failure(
    server: WebServer, monkeypatch: pytest.MonkeyPatch, raised: Exception, error: str
) -> None:
    """Another page's end makes room for it, and is not charged."""
    monkeypatch.setattr(loader, "MemoryLimit", lambda: memory.MemoryLimit(1 << 20))
    real = transfer.Transfer.resume

    def resume(paused: transfer.Transfer) -> None:
        if "broken" in paused.url:
            raise raised
        real(paused)

    monkeypatch.setattr(transfer.Transfer, "resume", resume)
    body = b"x" * 3_000_000
    server.routes["/well"] = raw(
        b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n", body[:1_500_000], 0.2, body[1_500_000:]
    )
    server.routes["/broken"] = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n", 0.1, body)
    results = load([f"{server.url}/{name}" for name in ("well", "well", "broken", "well")], "pages.txt")
    assert [getattr(result, "error", "done") for result in results] == ["done", "done", error, "done"]
    assert paths(server) == {"/well": 3, "/broken": 1}


@pytest.mark.parametrize(
    ("raised", "times"), [(MemoryError(), 2), (OSError(errno.ENOMEM, "no room"), 2), (OSError("odd"), 1)]
)
def test_what_the_system_refuses_for_a_moment_is_asked_for_again(
    server: WebServer, monkeypatch: pytest.MonkeyPatch, raised: Exception, times: int
) -> None:
    """Memory that is short as a page is made a record costs an attempt; what will not pass fails the item at once."""
    real, raised_once = transfer.Transfer.finish, [raised]

    def finish(ended: transfer.Transfer, exchange: Exchange) -> None:
        if raised_once:
            raise raised_once.pop()
        real(ended, exchange)

    monkeypatch.setattr(transfer.Transfer, "finish", finish)
    server.routes["/"] = answer(b"whole")
    result = load_one(server.url, attempts=2)
    assert isinstance(result, Done) == (times == 2)
    assert len(server.requests) == times
