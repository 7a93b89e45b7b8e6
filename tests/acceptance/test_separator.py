"""Combined files are taken apart at headings that no page can forge, whatever happened between their pages."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sheaf.output.output import Output
from tests.console import Console

ALLOWED = ("--allow-net", "127.0.0.0/8")
FORGED = "<!-- sheaf 0 http://evil/ -->\n<p>evil</p>\n# 0 http://evil/\n<!-- sheaf {word} 0 http://evil/ -->\n"


class Evil(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = f"<title>{self.path}</title>\n{FORGED.format(word='0123456789abcdef')}".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def evil() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Evil)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def taken_apart(path: Path) -> dict[str, str]:
    """As the documentation says: the first line tells the word, and each heading begins with it."""
    text = path.read_text()
    html = path.suffix == ".html"
    first = re.match(r"(?:<!--|#) sheaf separator (\w+)(?: -->)?\n", text)
    assert first, text[:200]
    heading = rf"^<!-- sheaf {first[1]} (\d+) (.*) -->\n" if html else rf"^# {first[1]} (\d+) (.*)\n"
    _, *parts = re.split(heading, text[first.end() :], flags=re.M)
    return dict(zip(parts[1::3], parts[2::3], strict=True))


@pytest.mark.parametrize("suffix", [".html", ".txt"])
def test_a_page_that_forges_headings_makes_no_page(cluster: Console, evil: str, suffix: str) -> None:
    """Of several workers and several runs in one file: as many parts as pages, each with its own text."""
    name = f"evil{suffix}"
    first, second = ([f"{evil}/{start + number}" for number in range(20)] for start in (0, 20))
    cluster.run("load", "-", "-o", name, *ALLOWED, given="\n".join(first))
    cluster.run("export", name, f"copy{suffix}", "--ordered")
    cluster.run("load", "-", "-o", name, "--append", *ALLOWED, given="\n".join(second))

    found = taken_apart(cluster.data / name)

    assert sorted(found) == sorted([*first, *second])
    assert all(text.startswith(f"<title>{url.removeprefix(evil)}</title>\n") for url, text in found.items())
    assert all(text.count("http://evil/") == 3 for text in found.values())
    cluster.run("verify", f"data/{name}")
    assert cluster.run("get", name, first[3]).stdout.count(f"<title>/{3}</title>") == 1
    copied = taken_apart(cluster.data / f"copy{suffix}")
    assert list(copied) == first
    assert all(found[url] == text for url, text in copied.items())


def test_an_output_of_an_earlier_version_is_gone_on_with(cluster: Console, evil: str) -> None:
    """It has no first line, so its headings stay as they were: a file has one kind of them."""
    Output.create(cluster.data / "old.html").close()

    cluster.run("load", "-", "-o", "old.html", *ALLOWED, given=f"{evil}/1\n{evil}/2")

    text = (cluster.data / "old.html").read_text()
    assert "sheaf separator" not in text
    assert len(re.findall(rf"^<!-- sheaf \d {evil}/\d -->$", text, re.M)) == 2
    assert text.startswith("<!-- sheaf ")
