"""Whether something is at a path: what cannot be determined is an error, never a "no"."""

from __future__ import annotations

import ast
import errno
import os
from pathlib import Path

import pytest

from sheaf.core import files

ROOT = Path(__file__).parents[2]
ASK = [files.exists, files.is_file, files.is_dir, files.is_symlink]
#: The chaos kit reads what it has made itself.
CHECKED = [
    path
    for folder in ("sheaf", "worker", "producer")
    for path in (ROOT / folder).rglob("*.py")
    if "chaos" not in path.parts
]


@pytest.mark.parametrize("ask", ASK)
def test_what_cannot_be_looked_at_is_an_error(ask: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From Python 3.14 on `Path.exists()` says that it is not there: a run whose disk fails would count as removed."""
    assert callable(ask)
    with pytest.raises(OSError, match="File name too long"):
        ask(tmp_path / ("long" * 100))
    for number in (errno.EIO, errno.EACCES, errno.ESTALE, errno.ENOMEM):

        def fails(_path: object, number: int = number) -> os.stat_result:
            raise OSError(number, os.strerror(number))

        with monkeypatch.context() as patched:
            patched.setattr(os, "stat", fails)
            patched.setattr(os, "lstat", fails)
            with pytest.raises(OSError, match=os.strerror(number)):
                ask(tmp_path)


def test_what_is_not_there_is_not_there(tmp_path: Path) -> None:
    """Nor what is below a file, in a circle of links, or under a name that no file can have."""
    (tmp_path / "file").touch()
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    (tmp_path / "nowhere").symlink_to(tmp_path / "none")
    for path in ("none", "file/none", "circle", "nowhere", "nul\0"):
        assert not files.exists(tmp_path / path)
        assert not files.is_file(tmp_path / path)
        assert not files.is_dir(tmp_path / path)


def test_each_kind_is_told_from_the_others(tmp_path: Path) -> None:
    """A link counts as what it leads to, but for the question whether it is one."""
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "file")
    os.mkfifo(tmp_path / "fifo")
    said = {
        name: [ask(tmp_path / name) for ask in (files.exists, files.is_file, files.is_dir, files.is_symlink)]
        for name in ("file", "folder", "link", "fifo")
    }
    assert said == {
        "file": [True, True, False, False],
        "folder": [True, False, True, False],
        "link": [True, True, False, True],
        "fifo": [True, False, False, False],
    }


def test_nobody_asks_a_path_itself() -> None:
    """It answers "no" for what it could not see. Entries of `os.scandir()` have methods of that name which raise."""
    asked = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in CHECKED
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("exists", "is_file", "is_dir", "is_symlink")
        and not node.args
        and not (isinstance(node.func.value, ast.Name) and node.func.value.id == "entry")
    ]
    assert asked == []
