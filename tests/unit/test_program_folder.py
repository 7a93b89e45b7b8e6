"""A program's folder: what it wants started is taken once, and the folder goes with it."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sheaf.multiprocessing import folder
from sheaf.multiprocessing.folder import PROGRAMS, STARTS, ProgramFolder, folder_of, is_alive, sweep, take_start

PROGRAM, OTHER, PROCESS = "0123456789abcdef", "fedcba9876543210", "00000000000000aa"


def test_a_program_lives_as_long_as_it_holds_its_folder(tmp_path: Path) -> None:
    """And is seen only when that is so."""
    made = ProgramFolder(tmp_path, PROGRAM)
    assert [path.name for path in (tmp_path / PROGRAMS).iterdir()] == [PROGRAM]
    assert is_alive(made.path)
    assert sweep(tmp_path) == []
    made.close()
    assert not is_alive(made.path)
    assert list((tmp_path / PROGRAMS).iterdir()) == []
    made.close()


def test_a_killed_programs_folder_is_swept(tmp_path: Path) -> None:
    """The kernel drops its lock; the folders of others stay."""
    code = (
        "import sys, time; from pathlib import Path; from sheaf.multiprocessing.folder import ProgramFolder\n"
        f"made = ProgramFolder(Path({str(tmp_path)!r}), {PROGRAM!r}); print('made', flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "made\n"
        other = ProgramFolder(tmp_path, OTHER)
        assert sweep(tmp_path) == []
        program.send_signal(signal.SIGKILL)
        program.wait()
    assert sweep(tmp_path) == [PROGRAM]
    assert [path.name for path in (tmp_path / PROGRAMS).iterdir()] == [OTHER]
    other.close()


def test_a_forked_process_does_not_keep_its_program_alive(tmp_path: Path) -> None:
    """It may live on when the program has died, and closing its own copy ends nothing."""
    made = ProgramFolder(tmp_path, PROGRAM)
    (reading, writing), (ready, say_ready) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writing)
        made.close()
        os.write(say_ready, b"!")
        os.read(reading, 1)
        os._exit(0)
    assert os.read(ready, 1) == b"!"
    for descriptor in (reading, ready, say_ready):
        os.close(descriptor)
    assert is_alive(made.path)
    os.close(made._owner)  # as the program's death does
    made._owner = -1
    assert not is_alive(made.path)
    os.close(writing)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_start_is_taken_once(tmp_path: Path) -> None:
    """Of many that try at once, one gets it."""
    made = ProgramFolder(tmp_path, PROGRAM)
    for number in range(20):
        process = f"{number:016x}"
        folder.write_start(made.path, process, [b"what ", b"to run"])
        with ThreadPoolExecutor(4) as threads:
            found = list(threads.map(take_start, [made.path] * 4, [process] * 4))
        assert sorted(found, key=str) == [None, None, None, b"what to run"]
        assert take_start(made.path, process) is None
    made.close()


def test_a_start_is_written_once(tmp_path: Path) -> None:
    """Two processes of one id would be one for everybody else."""
    made = ProgramFolder(tmp_path, PROGRAM)
    folder.write_start(made.path, PROCESS, [b"1"])
    with pytest.raises(FileExistsError):
        folder.write_start(made.path, PROCESS, [b"2"])
    folder.withdraw_start(made.path, PROCESS)
    folder.withdraw_start(made.path, PROCESS)
    assert take_start(made.path, PROCESS) is None
    made.close()


@pytest.mark.parametrize(
    "name", ["..", "../../etc", "0123456789ABCDEF", "0123456789abcde", "", "0123456789abcdef\n", "é" * 16]
)
def test_a_name_from_redis_leads_nowhere_else(tmp_path: Path, name: str) -> None:
    """Only what `new_id()` makes is a program's or a process's name."""
    with pytest.raises(ValueError, match="not a program's name"):
        folder_of(tmp_path, name)
    made = ProgramFolder(tmp_path, PROGRAM)
    (made.path / STARTS / "x").write_text("of another kind")
    assert take_start(made.path, name) is None
    made.close()


def test_a_link_in_place_of_a_start_is_not_followed(tmp_path: Path) -> None:
    """It would read, and remove, something else."""
    made = ProgramFolder(tmp_path, PROGRAM)
    (tmp_path / "elsewhere").write_text("secret")
    (made.path / STARTS / PROCESS).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        take_start(made.path, PROCESS)
    made.close()


def test_what_a_program_writes_is_for_the_clusters_users(tmp_path: Path) -> None:
    """The environment is in it: for the group where a group shares the data folder, else for its owner alone."""
    for data, wanted in ((tmp_path / "own", 0o600), (tmp_path / "shared", 0o640)):
        data.mkdir()
        data.chmod(0o755 if wanted == 0o600 else 0o2775)
        made = ProgramFolder(data, PROGRAM)
        folder.write_start(made.path, PROCESS, [b"x"])
        assert stat.S_IMODE((made.path / STARTS / PROCESS).stat().st_mode) == wanted
        others = stat.S_IMODE(made.path.stat().st_mode) & 0o007
        assert others == (0 if wanted == 0o600 else 0o005)
        made.close()


def test_what_cannot_be_examined_does_not_count_as_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk error ends no program's processes."""
    made = ProgramFolder(tmp_path, PROGRAM)

    def fail(*_: object, **__: object) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(OSError, match="Input/output"):
        is_alive(made.path)
    assert sweep(tmp_path) == []
    monkeypatch.undo()
    made.close()
