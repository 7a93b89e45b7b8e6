"""For whom the files of an embedded cluster are: its owner, or its group if he says so; never for all by accident."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.console import Console

PROGRAM = """
import os
from pathlib import Path
from sheaf import Cluster
def mode(path):
    try:
        return path.stat().st_mode
    except FileNotFoundError:
        return 0  # a draft that is gone
with Cluster(data="data") as cluster:
    print(list(cluster.map(abs, range(-3, 0))))
    # What others could get at: their way there ends at a folder that they may not enter.
    # `os.walk` passes over a folder that goes while it looks, as a run's does once its results are read.
    paths = [Path(root, name) for root, folders, files in os.walk("data") for name in folders + files]
    found = {str(path): mode(path) & mode(path.parent) for path in paths}
    print([path for path in found if found[path] & 0o077], sum("sessions/" in path for path in found))
"""


def modes(data: Path) -> dict[str, int]:
    """Every file and folder of the data folder, with the bits that say who may read or write it."""
    paths = [data, *(Path(root, name) for root, folders, files in os.walk(data) for name in folders + files)]
    return {str(path): stat.S_IMODE(path.stat().st_mode) for path in paths if not path.is_socket()}


@pytest.fixture(params=[0o022, 0o000, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """What the person's shell has set."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.mark.usefixtures("redis_program")
def test_a_data_folder_is_its_owners_alone(console: Console, umask: int) -> None:
    """Items, results, logs, Redis's files, a session: whatever the umask is. A copy elsewhere is the user's."""
    console.run("up", "--workers", "1")
    try:
        console.run("map", "math:sqrt", "range(5)", "-o", "out.jsonl")
        console.run("export", "out.jsonl", "./copy.csv")
        (console.folder / "program.py").write_text(PROGRAM)
        printed = subprocess.run(
            [sys.executable, "program.py"], cwd=console.folder, env=console.environment, capture_output=True, text=True
        )
        found = modes(console.data)
    finally:
        console.run("down")

    assert printed.returncode == 0, printed.stderr
    results, open_to_others = printed.stdout.splitlines()
    assert results == "[3, 2, 1]"
    assert open_to_others.startswith("[] ") and int(open_to_others.split()[1]) > 3
    assert {name: oct(mode) for name, mode in found.items() if mode & 0o077} == {}
    assert len(found) > 15
    assert stat.S_IMODE((console.folder / "copy.csv").stat().st_mode) == 0o666 & ~umask


@pytest.mark.usefixtures("redis_program")
def test_a_shared_data_folder_is_its_groups_too(console: Console) -> None:
    """`--share-group`: all that is in it can be written by the group, and belongs to it; nothing is for others."""
    before = os.umask(0o027)
    console.run("up", "--workers", "1", "--share-group")
    try:
        console.run("map", "math:sqrt", "range(5)", "-o", "out.jsonl")
        found = modes(console.data)
    finally:
        console.run("down")
        os.umask(before)

    private = str(console.data / ".sheaf/redis")
    shared = {name: mode for name, mode in found.items() if not name.startswith(private)}
    assert {name: oct(mode) for name, mode in shared.items() if mode & 0o007 or not mode & 0o020} == {}
    assert found[str(console.data)] & stat.S_ISGID
