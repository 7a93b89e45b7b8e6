"""Locks on files and folders: who has one, who waits, and what is closed when it is not to be had."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from sheaf.core.file_locks import held, lock_file, lock_folder, try_lock


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_file_is_locked_by_one_at_a_time(tmp_path: Path) -> None:
    """A process that does not get it holds no descriptor either; when the first is closed the next has it."""
    path = tmp_path / "lock"
    first = lock_file(path, 0o600)
    assert first is not None
    assert path.stat().st_mode & 0o777 == 0o600
    before = descriptors()

    assert lock_file(path) is None
    assert descriptors() == before

    os.close(first)
    second = lock_file(path)
    assert second is not None
    os.close(second)


def test_a_folder_that_is_gone_or_none_is_not_to_be_had(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    first = lock_folder(tmp_path)
    assert first is not None

    assert lock_folder(tmp_path) is None
    assert lock_folder(tmp_path / "gone") is None
    assert lock_folder(tmp_path / "file") is None
    os.close(first)


def test_an_error_of_the_lock_leaves_nothing_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without locks says so; the descriptor does not stay behind."""

    def no_locks(_descriptor: int, _how: int) -> None:
        raise OSError(37, "No locks available")

    before = descriptors()
    monkeypatch.setattr("fcntl.flock", no_locks)

    with pytest.raises(OSError, match="No locks available"):
        lock_file(tmp_path / "lock")
    assert descriptors() == before


def test_held_waits_for_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    first = lock_file(path)
    assert first is not None
    got = threading.Event()

    def second() -> None:
        with held(os.open(path, os.O_RDWR)):
            got.set()

    thread = threading.Thread(target=second)
    thread.start()
    assert not got.wait(0.2)

    os.close(first)

    assert got.wait(60)
    thread.join()
    # ... and it has let go of it again.
    third = os.open(path, os.O_RDWR)
    assert try_lock(third)
    os.close(third)
