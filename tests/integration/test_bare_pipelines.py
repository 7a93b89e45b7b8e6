"""The bare pipelines that Sheaf is measured against do the work: every page once, whole, in their files."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from warcio.archiveiterator import ArchiveIterator

from tests.console import Site

BARE = Path(__file__).parents[2] / "benchmarks/bare/load_pages.py"
PAGES = 40


@pytest.fixture(scope="module")
def pages(site: Site) -> dict[str, bytes]:
    """What is to be loaded, by URL."""
    return {url: urllib.request.urlopen(url).read() for url in site.pages(PAGES)}


def load(pages: dict[str, bytes], folder: Path, mode: str) -> list[Path]:
    """Run the pipeline with two processes; return the files that it wrote."""
    (folder / "urls").write_text("\n".join(pages))
    command = [sys.executable, str(BARE), str(folder / "urls"), str(folder / "out"), mode, "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["pages"] == PAGES
    return sorted(folder.glob("out.*"))


def records(path: Path) -> Iterator[tuple[str, bytes]]:
    with open(path, "rb") as stream:
        for record in ArchiveIterator(stream, check_digests="raise"):
            if record.rec_type == "response":
                yield record.rec_headers["WARC-Target-URI"], record.content_stream().read()


@pytest.mark.parametrize("mode", ["warc", "warc-full"])
def test_a_warc_holds_every_page_once(pages: dict[str, bytes], tmp_path: Path, mode: str) -> None:
    """Readable by others, digests right."""
    found = [entry for path in load(pages, tmp_path, mode) for entry in records(path)]

    assert len(found) == PAGES
    assert dict(found) == pages


def test_lines_hold_every_page_once(pages: dict[str, bytes], tmp_path: Path) -> None:
    """One object a line, with the page's text."""
    found = [json.loads(line) for path in load(pages, tmp_path, "jsonl") for line in path.read_bytes().splitlines()]

    assert len(found) == PAGES
    assert {page["url"]: page["text"].encode() for page in found} == pages


def test_the_raw_file_holds_every_page_once(pages: dict[str, bytes], tmp_path: Path) -> None:
    """A comment with its URL, then its bytes."""
    joined = b"".join(path.read_bytes() for path in load(pages, tmp_path, "raw"))

    assert len(joined) == sum(len(f"<!-- {url} -->\n") + len(body) for url, body in pages.items())
    assert all(f"<!-- {url} -->\n".encode() + body in joined for url, body in pages.items())
