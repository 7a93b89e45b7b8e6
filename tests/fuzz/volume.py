"""What is read from the volume and from Redis: manifests, commits, notes, catalogs, answers."""

from __future__ import annotations

import json
import tempfile
import zlib
from functools import cache
from itertools import pairwise
from pathlib import Path

from sheaf.broker import replies
from sheaf.core import last_words
from sheaf.core.errors import UsageError
from sheaf.core.files import NotReadable
from sheaf.core.ranges import pack, pack_ranges, unpack, unpack_ranges
from sheaf.output.index.intent import IntentNote
from sheaf.output.index.rows import CommitRow
from sheaf.run import catalog as catalogs
from sheaf.run.items import parse_batch_id
from sheaf.run.manifest import Manifest, _parse, write_manifest
from sheaf.run.task_spec import TaskSpec
from tests.fuzz.target import number, split, target

_NAME = "20260101-000000-abcdef"


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="sheaf-fuzz-"))


def _manifest() -> bytes:
    found = Manifest(
        _NAME, TaskSpec("t:f", {"pass": "text"}, files={"t.py": "00"}), "o.jsonl", 3, 2, "f", "2026-01-01T00:00:00Z"
    )
    write_manifest(_folder(), found, sync=False)
    return (_folder() / "run.json").read_bytes()


def _old_manifest() -> bytes:
    values = json.loads(_manifest())
    return json.dumps(
        {name: values[name] for name in values if name not in ("checksum", "list_sums", "list_bytes")}
    ).encode()


@target(
    _manifest(),
    _old_manifest(),
    b"[]",
    b"{}",
    tokens=(b'"items": ', b"null", b"-1", b"1e308", b'"/etc"', b"\\ud800", b"[[[["),
)
def manifest(data: bytes) -> None:
    """A manifest whose fields can be used, or NotReadable."""
    try:
        found = _parse(data, _NAME)
    except NotReadable as error:
        assert len(str(error)) < 2000
        return
    assert found.run == _NAME and found.items >= 0 and found.batch_size > 0
    if found.batches:
        assert found.batch(found.batches - 1).end == found.items
    write_manifest(_folder(), found, sync=False)
    assert _parse((_folder() / "run.json").read_bytes(), _NAME) == found


@target(
    b"\2" + pack([1, 2, 3]) + b"\0\0" + pack_ranges([(0, 3), (5, 6)]),
    b"\1" + pack(list(range(1000))) + b"\0\0" + pack_ranges([(0, 2**40)]),
)
def commit(data: bytes) -> None:
    """A row whose parts agree, or ValueError; packed lists come back as they were."""
    items, rest = number(data)
    lengths, ranges = split(rest, b"\0\0")
    for row in (
        CommitRow(1, 1, items, 0, items - 1, ranges, lengths, 0, 10, 0, 1, 1, 0.0),
        CommitRow(1, None, 0, None, None, ranges, lengths, 0, 10, 0, 1, 1, 0.0),
    ):
        row.claimed_items()
        try:
            held, sizes = row.records()
        except ValueError:
            continue
        assert row.run is None or (sum(sizes) == row.length and all(first < end for first, end in held))
    try:
        found = unpack(lengths)
    except (TypeError, ValueError, OverflowError, EOFError):
        return
    assert list(unpack(pack(found))) == list(found)


@target(
    pack_ranges([(0, 3), (5, 6)]),
    pack_ranges([(2**40, 2**40 + 1)]),
    pack_ranges([(n, n + 1) for n in range(0, 500, 2)]),
)
def ranges(data: bytes) -> None:
    """Whatever is read of them is written as the same."""
    try:
        found = unpack_ranges(data)
    except (TypeError, ValueError, OverflowError, EOFError):
        return
    if all(first < end for first, end in found) and all(a[1] < b[0] for a, b in pairwise(found)):
        assert list(unpack_ranges(pack_ranges(found))) == list(found)


class _Note(IntentNote):
    content = b""

    def raw(self) -> bytes:
        return self.content


@target(
    b'{"who": "w", "since": 1.5, "taken": 2.5, "pid": 7, "host": "h", "space": "s"}'.ljust(511)
    + b'\n{"offset": 5, "length": 7, "start": "00ff", "worker": "w", "token": 3}',
    b"[" * 511 + b'\n{"offset": 5, "length": 7, "start": "00fg", "worker": "w", "token": 3}',
    b'{"who": "w", "since": "x", "pid": null}'.ljust(511)
    + b'\n{"offset": 5, "length": "7", "start": 7, "worker": 1, "token": 3}',
    tokens=(b'"start": ', b'"offset": ', b"null", b"1e999", b'"zz"', b"[]", b"-5"),
)
def intent(data: bytes) -> None:
    """Who wrote it and what it was about to do, or nothing."""
    note = _Note(Path("/none"))
    note.content = data
    owner = note.owner()
    if owner is not None:
        assert isinstance(owner.describe(), str) and isinstance(owner.advice, str)
    found = note.read()
    if found is not None:
        assert found.explains(5, b"\0\xff", 2) in (True, False)


@target(b'%08x ["a"]' % zlib.crc32(b'["a"]'), b"1", tokens=(b"\n",))
def catalog(data: bytes) -> None:
    """Lines whose checksum is right; of others nothing is believed. What follows the sum may be of any kind."""
    path = _folder() / "catalog"
    path.write_bytes(data + b"\n%08x %s\n" % (zlib.crc32(data), data))
    for name, entry in catalogs._read(path).items():
        assert entry.run == name


@target(
    b'{"label": "w", "worker": "w-1", "pid": 7, "cause": "x", "moment": 5.5, "times": 2}',
    tokens=(b'"pid": ', b"1e999", b"NaN", b"null", b"[]", b"\\u001b"),
)
def words(data: bytes) -> None:
    """What a worker said at its end, on one line; or nothing."""
    path = _folder() / "words.json"
    path.write_bytes(data)
    found = last_words._read(path)
    if found is not None:
        assert found.cause.isprintable() and found.ago_s >= 0


@target(b"-3", b"2.5", b'{"a": 1}', b"run_7", tokens=(b"e", b"nan", b"inf", b"_", b"9" * 20))
def answers_of_redis(data: bytes) -> None:
    """Texts that can be shown, numbers that can be counted with."""
    assert len(replies.text(data)) <= 20_000
    replies.text(data).encode()
    assert abs(replies.number(data)) <= 2**53
    assert abs(replies.amount(data)) <= 2**53
    try:
        run, place = parse_batch_id(replies.text(data))
        assert isinstance(run, str) and place >= 0
    except UsageError:
        pass
