"""The append, as the kernel gets it: everything, in order, in short calls."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest import MonkeyPatch

from sheaf.output.commit import data_file
from sheaf.output.output import Output
from sheaf.run.items import Done


@given(st.lists(st.binary(max_size=40), max_size=30), st.integers(1, 25), st.integers(1, 6))
def test_pieces_are_divided_into_short_writes(pieces: list[bytes], most_bytes: int, most_pieces: int) -> None:
    """No call gets more bytes or buffers than it may; together they are what was given."""
    with MonkeyPatch.context() as patch:
        patch.setattr(data_file, "WRITE_BYTES", most_bytes)
        patch.setattr(data_file, "PIECES", most_pieces)
        portions = list(data_file._portions(pieces))

    assert b"".join(bytes(part) for portion in portions for part in portion) == b"".join(pieces)
    assert all(0 < sum(map(len, portion)) <= most_bytes for portion in portions)
    assert all(len(portion) <= most_pieces for portion in portions)


@pytest.mark.parametrize(
    ("durable", "records", "expected"),
    [
        (True, [40, 40, 30], ["begin 40", "begin 40", "begin 30", "sync", "free 110"]),
        (True, [40], ["sync", "free 40"]),
        (False, [40, 40, 30], []),
    ],
)
def test_the_disk_begins_before_all_is_handed_over(
    tmp_path: Path, monkeypatch: MonkeyPatch, durable: bool, records: list[int], expected: list[str]
) -> None:
    """Else it has nothing to do until the sync, which then takes the longer. What is not synced is left in memory."""
    output = Output.create(tmp_path / "pages.txt", durable=durable)
    output.register_run("run", items=3, batch_size=3)
    calls: list[str] = []
    real_sync = os.fdatasync

    def sync(descriptor: int) -> None:
        if os.path.samestat(os.fstat(descriptor), output.path.stat()):
            calls.append("sync")
        real_sync(descriptor)

    monkeypatch.setattr(data_file, "WRITE_BYTES", 40)
    monkeypatch.setattr(os, "fdatasync", sync)
    monkeypatch.setattr(
        os, "posix_fadvise", lambda _f, _o, count, _a: calls.append(f"{'free' if 'sync' in calls else 'begin'} {count}")
    )

    output.commit({"run": [Done(index, b"x" * size) for index, size in enumerate(records)]}, worker="w", token=1)

    output.close()
    assert calls == expected
