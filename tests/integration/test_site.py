"""The local test site: what the tests and benchmarks of everything else rely on."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

SITE = Path(__file__).parents[2] / "services" / "site" / "site.py"


def start(folder: Path, *arguments: str) -> tuple[subprocess.Popen[bytes], int]:
    port_file = folder / "port"
    process = subprocess.Popen(
        [sys.executable, SITE, "--port", "0", "--port-file", port_file, *arguments], stdout=subprocess.DEVNULL
    )
    while not port_file.exists():
        assert process.poll() is None, "the site ended at its start"
        time.sleep(0.01)
    return process, int(port_file.read_text())


@pytest.fixture(scope="module", params=["1", "2"])
def port(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    process, port = start(tmp_path_factory.mktemp("site"), "--processes", request.param)
    yield port
    process.terminate()
    assert process.wait(60) == 0


def get(port: int, target: str) -> tuple[int, bytes, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", target)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body, answer.headers


def test_pages_are_the_same_every_time_and_different_from_each_other(port: int, tmp_path: Path) -> None:
    """A page's bytes depend on its number and the seed only; /sums tells what they are."""
    sums = [line.split() for line in get(port, "/sums?count=50")[1].decode().splitlines()]

    bodies = [get(port, f"/page/{number}")[1] for number in range(50)]

    assert [[str(n), hashlib.sha256(body).hexdigest(), str(len(body))] for n, body in enumerate(bodies)] == sums
    assert len(set(bodies)) == 50
    assert all(body.decode().endswith(f"<!-- end of page {n} -->\n</body></html>\n") for n, body in enumerate(bodies))


def test_page_sizes_are_those_of_the_web(port: int) -> None:
    """2 to 300 KB, 30 KB on average."""
    sizes = [int(line.split()[2]) for line in get(port, "/sums?count=3000")[1].splitlines()]

    assert min(sizes) > 2_000
    assert max(sizes) < 300_000
    assert 28_000 < sum(sizes) / len(sizes) < 32_000


def test_the_options_do_what_they_say(port: int) -> None:
    """status, times, redirect, gzip, chunked, latency and slow, alone and together."""
    page = get(port, "/page/3")[1]

    assert get(port, "/page/3?status=404")[0] == 404
    assert [get(port, "/page/71?status=503&times=2")[0] for _ in range(3)] == [503, 503, 200]
    status, _, headers = get(port, "/page/3?redirect=2&chunked=1")
    assert (status, headers["Location"]) == (302, "/page/3?chunked=1&redirect=1")
    assert get(port, "/page/3?redirect=1")[2]["Location"] == "/page/3"
    status, body, headers = get(port, "/page/3?chunked=1")
    assert (body, headers["Transfer-Encoding"], headers["Content-Length"]) == (page, "chunked", None)
    assert get(port, "/page/3?gzip=1")[2]["Content-Encoding"] == "gzip"
    before = time.monotonic()
    assert get(port, f"/page/3?latency=100&slow={len(page) * 4}")[1] == page
    assert time.monotonic() - before > 0.25
    assert get(port, "/page/3?latency=soon")[0] == 400
    assert get(port, "/nothing")[0] == 404


def test_a_list_of_addresses_passes_options_on(port: int) -> None:
    """/urls makes a list that can be given to `sheaf load`."""
    body = get(port, "/urls?count=2&first=5&latency=9")[1].decode()

    assert body == f"http://127.0.0.1:{port}/page/5?latency=9\nhttp://127.0.0.1:{port}/page/6?latency=9\n"


def test_pipelined_requests_are_answered_in_order(port: int) -> None:
    """A late answer holds up those after it; more requests than fit into any buffer get through."""
    count = 800
    requests = b"".join(
        b"GET /page/%d%s HTTP/1.1\r\nHost: site\r\nX-Filler: %s\r\n\r\n"
        % (n, b"?latency=20" if n % 100 == 0 else b"", b"f" * 100)
        for n in range(count)
    )
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(requests + b"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n")
        received = b"".join(iter(lambda: client.recv(1 << 20), b""))

    ends = re.findall(rb"<!-- end of page (\d+) -->", received)
    assert [int(end) for end in ends] == list(range(count))
    assert received.endswith(b"ok\n")


def test_the_counts_cover_all_processes(tmp_path: Path) -> None:
    """Whichever process answers, /stats tells the sum."""
    process, port = start(tmp_path, "--processes", "2")
    for _ in range(20):
        get(port, "/page/2")

    stats = json.loads(get(port, "/stats?pages=4")[1])

    process.terminate()
    assert stats["hits"] == [0, 0, 20, 0]
    assert stats["requests"] == 20
    assert process.wait(60) == 0


def test_no_process_outlives_a_killed_site(tmp_path: Path) -> None:
    """kill -9 of the first process frees the port."""
    process, _ = start(tmp_path, "--processes", "2")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()

    os.kill(process.pid, signal.SIGKILL)
    process.wait()

    assert len(children) == 2
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{child}/fd").exists() and list_fds(child) for child in children):
        assert time.monotonic() < deadline, "a process of the site is left over"
        time.sleep(0.02)


def list_fds(process: str) -> list[Path]:
    """A zombie that was not collected yet has none."""
    try:
        return list(Path(f"/proc/{process}/fd").iterdir())
    except OSError:
        return []


def test_a_list_can_be_printed_without_serving() -> None:
    """--print-urls needs no server."""
    done = subprocess.run(
        [sys.executable, SITE, "--print-urls", "2", "--base", "http://site:8000/"], capture_output=True, check=True
    )

    assert done.stdout == b"http://site:8000/page/0\nhttp://site:8000/page/1\n"
