"""Records of fuzzed pages: whatever came, each format writes a record that its readers read."""

from __future__ import annotations

import gzip
import json

from sheaf.formats import Page, format_for


def check_records(page: Page) -> None:
    """Write the page in each format, and read it again."""
    final = page.final
    line = format_for("x.jsonl").page(page)
    assert line.endswith(b"\n") and line.count(b"\n") == 1
    fields = json.loads(line)
    assert fields["status"] == final.status
    format_for("x.html").page(page).decode()
    format_for("x.txt").page(page).decode()
    _check_warc(format_for("x.warc").page(page))
    packed = format_for("x.warc.gz").page(page)
    _check_warc(gzip.decompress(packed))


def _check_warc(data: bytes) -> None:
    """Each record is as long as it says, and the next one begins right after it."""
    records = 0
    while data:
        head, _, rest = data.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        assert lines[0].startswith(b"WARC/1."), lines[0][:80]
        fields = dict(line.split(b": ", 1) for line in lines[1:])
        length = int(fields[b"Content-Length"])
        assert rest[length : length + 4] == b"\r\n\r\n"
        data = rest[length + 4 :]
        records += 1
    assert records
