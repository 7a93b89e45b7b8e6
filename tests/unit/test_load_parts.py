"""The parts of the `load` task that need no socket: options, waits, failures, memory."""

import time
from email.utils import formatdate
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheaf.core.errors import TaskError
from sheaf.formats import Exchange
from sheaf.run.items import Item
from sheaf.tasks.load import head
from sheaf.tasks.load.allocator import keep_freed_memory
from sheaf.tasks.load.errors import Connect, HttpStatus, LoadError, Protocol, Timeout
from sheaf.tasks.load.failure import curl_failure, retry_after_s, status_failure, wait_s
from sheaf.tasks.load.memory import FREE_BYTES, MemoryLimit
from sheaf.tasks.load.options import LoadOptions
from sheaf.tasks.load.visit import Visit
from sheaf.tasks.registry import resolve

MIB = 1 << 20


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("conections", 3, "no option 'conections'"),
        ("connections", 0, "a number from 1 to 400"),
        ("connections", 1.5, "a number"),
        ("connections", True, "a number"),
        ("deadline_s", "soon", "a number"),
        ("deadline_s", float("nan"), "a number"),
        ("max_bytes", 1 << 40, "a number"),
        ("truncate", "yes", "true or false"),
        ("accept", "200-299", "such as 2xx,404"),
        ("accept", 200, "a string"),
        ("allow_net", ["10.0.0.1/8"], "'10.0.0.1/8' cannot be used"),
        ("allow_net", 7, "a list of networks"),
        ("user_agent", "two\r\nlines", "one line of ASCII"),
    ],
)
def test_an_option_that_cannot_be_used_is_refused(option: str, value: object, words: str) -> None:
    """The error names the option, what it was, and what it may be."""
    with pytest.raises(TaskError, match=words):
        LoadOptions.from_mapping({option: value})


def test_options_are_taken_as_json_has_them() -> None:
    """Whole numbers for seconds, a list or one text for networks; the rest are defaults."""
    options = LoadOptions.from_mapping({"deadline_s": 5, "allow_net": "10.0.0.0/8", "accept": " 2XX, 404 "})
    assert (options.deadline_s, options.allow_net, options.attempts) == (5.0, ("10.0.0.0/8",), 3)
    assert [options.accepts(status) for status in (200, 299, 404, 403, 301)] == [True, True, True, False, False]
    assert resolve("load", None).window({"connections": 5}) == 15


def test_retry_after_is_a_number_or_a_date() -> None:
    """Nonsense asks for nothing; what has more digits than any date is for ever."""
    now = time.time()
    assert retry_after_s("7", now) == 7
    assert retry_after_s("86400", now) == 86400
    assert retry_after_s("0" * 30 + "7", now) == 7
    assert retry_after_s("9" * 5000, now) == 1e10
    assert retry_after_s(formatdate(now + 86400, usegmt=True), now) == pytest.approx(86400, abs=1)
    assert retry_after_s(formatdate(now + 20, usegmt=True), now) == pytest.approx(20, abs=1)
    assert retry_after_s(formatdate(now - 20, usegmt=True), now) == 0
    for nonsense in (None, "", "soon", "-5", "1e9", "²", "Thu, 99 Foo 2020"):
        assert retry_after_s(nonsense, now) is None


def test_waits_grow_and_differ() -> None:
    """Each attempt waits about twice as long, up to a limit, and no two clients in step."""
    waits = [[wait_s(attempt, Connect("")) for _ in range(50)] for attempt in (1, 2, 3, 90)]
    assert all(0.25 <= wait <= 0.75 for wait in waits[0])
    assert all(0.5 <= wait <= 1.5 for wait in waits[1])
    assert max(waits[3]) <= 45
    assert len(set(waits[0])) > 40
    assert wait_s(1, HttpStatus("", retry=True, retry_after_s=9)) >= 9


@pytest.mark.parametrize(
    ("code", "message", "error", "retry"),
    [
        (6, "Could not resolve host: x", "Dns", True),
        (28, "Resolving timed out after 10000 ms", "Dns", True),
        (28, "Connection timed out after 10000 ms", "Timeout", True),
        (7, "Failed to connect", "Connect", True),
        (56, "Recv failure: Connection reset by peer", "Connect", True),
        (56, "Too large response headers: 307384 > 307200", "Protocol", False),
        (56, "chunk hex-length char not a hex digit: 0x7a", "Protocol", False),
        (56, "invalid chunk size: 'ffffffffffffffff'", "Protocol", False),
        (56, "Malformed encoding found in chunked-encoding", "Protocol", False),
        (56, "OpenSSL SSL_read: error:0A00045C:SSL routines::tlsv13 alert certificate required", "Tls", False),
        (1, "Unsupported HTTP/1 subversion in response", "Protocol", False),
        (8, "Header without colon", "Protocol", False),
        (35, "Recv failure: Connection reset by peer", "Connect", True),
        (35, "TLS connect error: unexpected eof while reading", "Tls", False),
        (35, "TLS connect error: error:0A00042E:SSL routines::tlsv1 alert protocol version", "Tls", False),
        (35, "TLS connect error: wrong version number", "Tls", False),
        (60, "SSL certificate problem: self-signed certificate", "Tls", False),
        (3, "URL rejected", "InvalidUrl", False),
        (61, "Error while processing content unencoding", "Protocol", False),
        (999, "", "Protocol", False),
    ],
)
def test_a_libcurl_code_becomes_an_error(code: int, message: str, error: str, retry: bool) -> None:
    """Each with a class, the URL and libcurl's own words; what may pass is tried again."""
    failure = curl_failure(code, message, "http://example.org/")
    assert (type(failure).__name__, failure.retry) == (error, retry)
    assert "http://example.org/" in str(failure)
    assert message in str(failure)


def test_a_status_says_where_it_came_from() -> None:
    """The message holds the status, its usual reason if the server gave none, and both ends of a redirect."""
    answer = Exchange("http://b/", b"", "h2", 503, "", b"retry-after: 3\r\n", b"", "", 0.0, 0.0)
    failure = status_failure(answer, "http://a/")
    assert str(failure) == "503 Service Unavailable: http://b/, after redirects from http://a/"
    assert (failure.retry, failure.retry_after_s) == (True, 3)
    assert isinstance(failure, LoadError)
    assert not isinstance(failure, Timeout)


def test_memory_is_granted_up_to_the_limit_and_always_to_one() -> None:
    """Two ask for more than there is: one waits, one always goes on; what is released can be had again."""
    memory = MemoryLimit(limit_bytes=3 * MIB)
    assert [memory.grant("a"), memory.grant("b"), memory.grant("a")] == [
        FREE_BYTES + MIB,
        FREE_BYTES + MIB,
        FREE_BYTES + 2 * MIB,
    ]
    assert memory.grant("b") == FREE_BYTES + 2 * MIB, "the first to find no room is the senior, and goes on"
    assert memory.grant("a") == 0
    assert memory.grant("b") == FREE_BYTES + 3 * MIB
    assert memory.release("b")
    assert memory.grant("a") == FREE_BYTES + 3 * MIB
    assert not memory.release("never asked")
    memory.release("a")
    assert memory.grant("c") == FREE_BYTES + MIB


def test_a_retried_visit_starts_at_the_beginning() -> None:
    """The second attempt forgets where the first one's redirects led."""
    visit = Visit(Item(0, "http://example.org/#x"))
    visit.set_out()
    moved = Exchange("http://example.org/", b"", "h2", 302, "", b"location: /b\r\n", b"x" * 100_000, "", 0.0, 0.0)
    assert visit.add(moved, max_redirects=5)
    assert (visit.url, len(moved.body), moved.truncated) == ("http://example.org/b", 64 << 10, "length")
    visit.start_over()
    assert (visit.url, visit.exchanges) == ("http://example.org/", [])


def test_the_longest_time_of_a_url_covers_all_its_attempts() -> None:
    """The pool kills a child that takes longer: every attempt with its deadline, and every wait between, must fit."""
    options = LoadOptions(attempts=3, deadline_s=10)

    assert options.longest_s > 3 * 10 + 2 * 60
    assert LoadOptions(attempts=4, deadline_s=10).longest_s > options.longest_s


_PLAIN = (b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 103 Early\r\n", b"A: b\r\n", b"C: HTTP/1.1\r\n", b"Content-Length: 5\n")
_ODD = (b" folded\r\n", b"\ttoo\r\n", b"\r\n", b"\n", b": \r\n", b"D:\r\r\n")
LINES = st.lists(st.sampled_from(_PLAIN) | st.sampled_from(_ODD), max_size=8)


@given(LINES, st.booleans())
def test_a_usual_head_is_taken_whole_and_any_other_line_by_line(lines: list[bytes], usual: bool) -> None:
    """Both ways find the same head: interim responses, trailers, folded lines and odd line ends included."""
    if usual:
        lines = [b"HTTP/1.1 200 OK\r\n", *(line for line in lines if line[:1].isalpha()), b"\r\n"]
    slowly = head._last_head(lines)
    assert head.final_head(lines) == ((slowly[0], b"".join(slowly[1:])) if slowly else None)


@pytest.mark.parametrize(
    ("line", "protocol", "status", "reason"),
    [
        (b"HTTP/1.1 404 Not  Found\r\n", "http/1.1", 404, "Not  Found"),
        (b"HTTP/2 200 \r\n", "h2", 200, ""),
        (b"HTTP/1.0 200\r\n", "http/1.0", 200, ""),
        (b"HTTP/1.1 200OK\r\n", "http/1.1", 200, "OK"),
        (b"HTTP/1.1 302\tFound\n", "http/1.1", 302, "Found"),
        (b"HTTP/1.1\t200 OK\r\n", "http/1.1", 200, "OK"),
        (b"HTTP/1.1 200;OK \r\n", "http/1.1", 200, ";OK"),
        (b"HTTP/1.1 200-OK\r\n", "http/1.1", 200, "-OK"),
        (b"HTTP/1.1 200\xa0OK\r\n", "http/1.1", 200, "\xa0OK"),
        (b"http/1.0   999   Go away\r\n", "http/1.0", 999, "Go away"),
        (b"HTTP/2.0 503 Busy\r\n", "http/1.1", 503, "Busy"),
    ],
)
def test_a_status_line_is_read_as_browsers_read_it(line: bytes, protocol: str, status: int, reason: str) -> None:
    """Protocol, three digits, reason, whatever is or is not between them; HTTP/2 gives no reason."""
    assert head.status_of(line) == (protocol, status, reason)


@pytest.mark.parametrize("line", [b"HTTP/1.1 2000 OK\r\n", b"HTTP/1.1 20 OK\r\n", b"HTTP/1.1\r\n", b"\xff\r\n", b""])
def test_a_status_line_without_three_digits_is_no_http(line: bytes) -> None:
    """It fails its page, as an answer that is not valid."""
    with pytest.raises(Protocol, match="three digits"):
        head.status_of(line)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        # Headers and trailers may be called like a protocol: the head does not begin anew there.
        (
            [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 404 x: y\r\n", b"A: b\r\n", b"\r\n"],
            [b"HTTP/1.1 404 x: y\r\n", b"A: b\r\n"],
        ),
        ([b"HTTP/1.1 200 OK\r\n", b"A: b\r\n", b"\r\n", b"HTTP/1.1 500 x: y\r\n", b"\r\n"], [b"A: b\r\n"]),
        (
            [b"HTTP/1.1 103 Early\r\n", b"B: c\r\n", b"\r\n", b"http/1.1 200 OK\r\n", b"A: b\r\n", b"\r\r\n"],
            [b"A: b\r\n"],
        ),
        ([b"HTTP/1.1 101 Up\r\n", b"A: b\r\n", b"\r\n"], [b"A: b\r\n"]),
        ([b"HTTP/1.1 200 OK\r\n", b" lost\r\n", b"A: b\r\n", b"\tc\r\n", b"\r\n"], [b"A: b c\r\n"]),
        # The connection was closed within the head: that is none, even after an interim response's.
        ([b"HTTP/1.1 200 OK\r\n", b"A: b\r\n"], None),
        ([b"HTTP/1.1 103 Early\r\n", b"\r\n", b"HTTP/1.1 200 OK\r\n"], None),
        ([b"HTTP/1.1 100 Continue\r\n", b"\r\n"], None),
        ([], None),
    ],
)
def test_the_head_is_the_final_response_s_and_whole(lines: list[bytes], expected: list[bytes] | None) -> None:
    """From its status line to its blank line; without the blank line there is none."""
    found = head.final_head(lines)
    assert (found and found[1]) == (None if expected is None else b"".join(expected))


def test_freed_memory_is_kept_where_the_c_library_can(monkeypatch: pytest.MonkeyPatch) -> None:
    """glibc gets three sizes; another library has no such call, and nothing happens."""
    said: dict[int, int] = {}
    for library in (SimpleNamespace(mallopt=said.__setitem__), SimpleNamespace()):
        monkeypatch.setattr("sheaf.tasks.load.allocator.ctypes.CDLL", lambda _name, library=library: library)
        keep_freed_memory.__wrapped__()
    assert said == {-1: 16 * MIB, -2: MIB, -3: MIB}
