"""The output's file: appended to in short calls, recognized by its edges, and cut or cleared only beyond L."""

from __future__ import annotations

import os
import tempfile
import zlib
from contextlib import nullcontext
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest import MonkeyPatch

from sheaf.core.errors import OutputMissing, OutputReplaced
from sheaf.output.commit import data_file
from sheaf.output.commit.data_file import Buffer, FileGrew, OutputFile, checksum_of, edges_of
from sheaf.output.index.rows import State
from sheaf.output.output import Output
from sheaf.run.items import Done
from tests.patches import raising


@given(st.lists(st.binary(max_size=40), max_size=30), st.integers(1, 25), st.integers(1, 6))
def test_buffers_are_divided_into_short_writes(buffers: list[bytes], most_bytes: int, most_buffers: int) -> None:
    """No call gets more bytes or buffers than it may; together they are what was given."""
    with MonkeyPatch.context() as patch:
        patch.setattr(data_file, "WRITE_BYTES", most_bytes)
        patch.setattr(data_file, "BUFFERS", most_buffers)
        portions = list(data_file._portions(buffers))

    assert b"".join(bytes(buffer) for portion in portions for buffer in portion) == b"".join(buffers)
    assert all(0 < sum(map(len, portion)) <= most_bytes for portion in portions)
    assert all(len(portion) <= most_buffers for portion in portions)


@pytest.mark.parametrize(
    ("durable", "records", "expected"),
    [
        (True, [40, 40, 30], ["begin 40", "begin 40", "begin 30", "sync", "free 110"]),
        (True, [40], ["sync", "free 40"]),
        (False, [40, 40, 30], []),
    ],
)
def test_the_disk_begins_before_the_kernel_has_all(
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


def state(length: int = 0, identity: str = "", edges: tuple[int, int] = (0, 0)) -> State:
    return State("pages.txt", b"", length, 1, identity, *edges, 0)


def opened(path: Path, data: bytes = b"") -> OutputFile:
    """The file with these bytes committed."""
    path.write_bytes(data)
    with open(path, "rb") as source:
        edges = edges_of(source, len(data))
    noted = state(len(data), "another:1", edges)
    file = OutputFile.open(path, noted)
    file.check(noted)
    return file


@given(st.lists(st.binary(max_size=30), max_size=8), st.integers(1, 12))
def test_the_edges_after_an_append_are_those_of_the_longer_file(groups: list[bytes], edge: int) -> None:
    """However often it is appended to, and however short the records are."""
    with MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(data_file, "EDGE_BYTES", edge)
        path, noted = Path(folder) / "pages.txt", state()
        for group in groups:
            file = OutputFile.open(path, noted)
            file.check(noted)
            buffers: list[Buffer] = [group[:3], memoryview(group)[3:]]
            file.append(buffers, lambda _: None, to_be_synced=False)
            noted = state(noted.length + len(group), file.identity, file.edges_after(buffers, noted))
            file.close()
            with open(path, "rb") as source:
                assert edges_of(source, noted.length) == (noted.head, noted.tail)


def test_nothing_is_written_behind_a_strangers_bytes(tmp_path: Path) -> None:
    """What came after our look at the file is found before the append, and not cut by an undo."""
    file = opened(tmp_path / "pages.txt", b"committed\n")
    with open(file.path, "ab") as stranger:
        stranger.write(b"theirs")

    with pytest.raises(FileGrew):
        file.append([b"ours"], lambda _: None, to_be_synced=False)
    file.undo()

    assert file.path.read_bytes() == b"committed\ntheirs"
    file.close()


def test_an_append_is_undone_unless_a_stranger_wrote_after_it(tmp_path: Path) -> None:
    file = opened(tmp_path / "pages.txt", b"committed\n")
    file.append([b"ours"], lambda _: None, to_be_synced=False)
    file.undo()
    assert file.path.read_bytes() == b"committed\n"

    file.append([b"ours"], lambda _: None, to_be_synced=False)
    with open(file.path, "ab") as stranger:
        stranger.write(b"theirs")
    file.undo()
    assert file.path.read_bytes() == b"committed\nourstheirs"
    file.close()


def test_a_file_that_is_gone_is_created_only_if_nothing_was_committed_to_it(tmp_path: Path) -> None:
    OutputFile.open(tmp_path / "new.txt", state()).close()
    assert (tmp_path / "new.txt").read_bytes() == b""

    with pytest.raises(OutputMissing, match="10 bytes were committed"):
        OutputFile.open(tmp_path / "gone.txt", state(length=10))
    assert not (tmp_path / "gone.txt").exists()


@pytest.mark.parametrize(
    ("data", "known", "refused"),
    [
        (b"committed\n", False, False),
        (b"committEd\n", True, True),
        (b"Committed\n", False, True),
        (b"Committed\n", True, False),
    ],
)
def test_a_file_is_known_by_its_edges_and_its_inode(
    tmp_path: Path, monkeypatch: MonkeyPatch, data: bytes, known: bool, refused: bool
) -> None:
    """A copy of the right one is taken; of a file that is known by its inode, only the last bytes are compared."""
    monkeypatch.setattr(data_file, "EDGE_BYTES", 4)
    path = tmp_path / "pages.txt"
    path.write_bytes(b"committed\n")
    with open(path, "rb") as source:
        edges = edges_of(source, 10)
    status = path.stat()
    noted = state(10, f"{status.st_dev}:{status.st_ino}" if known else "another:1", edges)

    path.write_bytes(data)
    file = OutputFile.open(path, noted)
    with pytest.raises(OutputReplaced, match="is not the file that was committed to") if refused else nullcontext():
        file.check(noted)
    file.close()


def test_a_checksum_says_how_many_bytes_are_gone(tmp_path: Path) -> None:
    path = tmp_path / "pages.txt"
    path.write_bytes(b"0123456789")
    with open(path, "rb") as source:
        assert checksum_of(source, 2, 5) == (zlib.crc32(b"23456"), 0)
        assert checksum_of(source, 8, 5) == (zlib.crc32(b"89"), 3)


def test_what_is_no_file_any_more_is_refused(tmp_path: Path) -> None:
    """A device or a pipe in its place would take the records and keep none."""
    path = tmp_path / "pages.txt"
    os.mkfifo(path)
    file = OutputFile.open(path, state())
    with pytest.raises(OutputReplaced, match="not a regular file any more"):
        file.check(state())
    file.close()


def test_bytes_are_moved_to_a_place_that_takes_them(tmp_path: Path) -> None:
    """What has the name already is not written to, unless it is a file of such bytes."""
    path = tmp_path / "pages.txt"
    path.with_name("pages.txt.stray-1").mkdir()
    path.with_name("pages.txt.stray-2").symlink_to(tmp_path / "elsewhere")
    path.write_bytes(b"ours\ntheirs")

    file = OutputFile.open(path, state(length=5))
    aside = file.remove_excess(None)
    file.close()

    assert aside == path.with_name("pages.txt.stray-3")
    assert (aside.read_bytes(), path.read_bytes()) == (b"theirs", b"ours\n")
    assert not (tmp_path / "elsewhere").exists()


def test_a_disk_that_is_full_while_bytes_are_moved_leaves_them_where_they_are(
    tmp_path: Path, monkeypatch: MonkeyPatch
) -> None:
    """And nothing of them twice: the next try finds the place as it was."""
    path = tmp_path / "pages.txt"
    path.write_bytes(b"ours\ntheirs")
    earlier = path.with_name("pages.txt.stray-1")
    earlier.write_bytes(b"earlier")
    file = OutputFile.open(path, state(length=5))

    with monkeypatch.context() as full:
        full.setattr(os, "fsync", raising(OSError(28, "No space left on device")))
        with pytest.raises(OSError, match="No space"):
            file.remove_excess(None)
    assert (earlier.read_bytes(), path.read_bytes()) == (b"earlier", b"ours\ntheirs")

    assert file.remove_excess(None) == earlier
    file.close()
    assert (earlier.read_bytes(), path.read_bytes()) == (b"earliertheirs", b"ours\n")
