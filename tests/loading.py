"""Runs the `load` task on a list of URLs, and reads its records back with readers that are not ours."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from warcio.archiveiterator import ArchiveIterator

from sheaf.formats import format_for
from sheaf.run.items import Done, Failed
from sheaf.tasks.registry import resolve
from tests.functions import ListSource


def load(urls: list[str], output: str = "pages.jsonl", **options: Any) -> list[Done | Failed]:
    """Load the URLs and return their results in the items' order."""
    options = {"allow_net": ["127.0.0.0/8", "::1/128"], "deadline_s": 10, "attempts": 1} | options
    results = [result for result in resolve("load", None).run(ListSource(urls), options, format_for(output)) if result]
    assert sorted(result.index for result in results) == list(range(len(urls))), "one result per item"
    return sorted(results)


def load_one(url: str, output: str = "pages.jsonl", **options: Any) -> Done | Failed:
    return load([url], output, **options)[0]


def record_of(result: Done | Failed) -> bytes:
    assert isinstance(result, Done), result
    return result.record


def page(result: Done | Failed) -> Any:
    return json.loads(record_of(result))


def warc_records(result: Done | Failed) -> list[tuple[Any, bytes]]:
    return [
        (record, record.raw_stream.read())
        for record in ArchiveIterator(io.BytesIO(record_of(result)), no_record_parse=True)
    ]


def check_with_warcio(records: bytes, folder: Path) -> None:
    path = folder / "pages.warc.gz"
    path.write_bytes(format_for(path.name).header(path.name) + records)
    checked = subprocess.run(
        [sys.executable, "-m", "warcio.cli", "check", "-v", str(path)], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout
    assert "digest pass" in checked.stdout
    assert "fail" not in checked.stdout
