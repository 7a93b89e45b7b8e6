"""Kill -9 a repair before each of its system calls: `python -m tests.chaos.killed_repairs SCENE FOLDER [MUTATION]`.

Prints what was done and found, as JSON. After each kill another repair ends what was begun; then as many items are open
as one undisturbed repair would have opened, and verify finds nothing.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sheaf.output.output import Output
from sheaf.output.repair import diagnosis
from sheaf.output.repair.rebuild import rebuild
from sheaf.output.repair.repair import clear_end, repair
from sheaf.output.repair.verify import verify
from sheaf.run.items import Done
from tests.chaos.crash_points import READS
from tests.chaos.scenes import Snapshot
from tests.chaos.tracer import run, trace
from tests.runs import numbered, write_run

NAME, RUN, ITEMS = "o.jsonl", "20260101-000000-abcdef", 12


def record(index: int) -> bytes:
    return b'{"index":%d,"item":"item %d","value":"%s"}\n' % (index, index, b"x" * 300)


def prepare(folder: Path) -> None:
    """A finished run in six commits of two items each."""
    write_run(folder.parent / "runs-of", numbered(ITEMS), RUN, output=NAME, batch_size=5)
    (folder / "runs").symlink_to(folder.parent / "runs-of" / "runs")
    output = Output.create(folder / NAME)
    output.register_run(RUN, ITEMS, 5)
    for index in range(0, ITEMS, 2):
        output.commit({RUN: [Done(index, record(index)), Done(index + 1, record(index + 1))]}, worker="w", token=1)
    output.close()


def _flip(folder: Path, commit: int) -> None:
    content = bytearray((folder / NAME).read_bytes())
    content[2 * commit * len(record(0)) + 50] ^= 1
    (folder / NAME).write_bytes(content)


def _lose_index(folder: Path) -> None:
    _flip(folder, 1)
    for path in folder.glob(f"{NAME}.index*"):
        path.unlink()


def _mend(folder: Path) -> None:
    if (folder / f"{NAME}.index").exists():
        if repair(folder, NAME).beyond:
            clear_end(folder / NAME)
    else:
        rebuild(folder, NAME, apply=True)


#: Name -> (the damage, how many items one repair opens).
SCENES: dict[str, tuple[Callable[[Path], None], int]] = {
    "middle": (lambda folder: _flip(folder, 1), 2),
    "end": (lambda folder: _flip(folder, 5), 2),
    "index": (_lose_index, 0),
}
MUTATIONS: dict[str, Callable[[], None]] = {
    "": lambda: None,
    "nothing is taken from what was put aside": lambda: setattr(diagnosis, "_open_asides", lambda _: ()),
}


def kill_everywhere(scene: str, folder: Path) -> dict[str, Any]:
    live = folder / "live"
    live.mkdir()
    damage, opened = SCENES[scene]
    if run(lambda: prepare(live)) != 0:
        raise AssertionError("the preparation failed")
    damage(live)
    before = _Files(live)
    # The first one also makes the catalog of runs, which stays: the calls of the others are all alike.
    if run(lambda: _mend(live)) != 0:
        raise AssertionError("an undisturbed repair failed")
    before.restore()
    calls = trace(lambda: _mend(live), live).calls
    before.restore()
    found: dict[str, Any] = {"kills": 0, "problems": []}
    for place, call in enumerate(calls):
        if call.name in READS:
            continue
        for tear in (False, True) if call.data and call.offset >= 0 else (False,):
            traced = trace(lambda: _mend(live), live, kill_before=place, tear=tear)
            where = f"call {place}, {call}{', torn' * tear}"
            found["kills"] += 1
            if traced.status != -9:
                found["problems"].append(f"{where}: was not killed, ended with {traced.status}")
            elif run(lambda: _mend(live)) != 0:
                found["problems"].append(f"{where}: the next repair failed")
            else:
                found["problems"] += [f"{where}: {problem}" for problem in _check(live, opened)]
            before.restore()
    return found


class _Files(Snapshot):
    """Without the runs, which a repair reads only, and with folders that it has left."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}

    def restore(self) -> None:
        for path in self._folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                for inside in path.iterdir():
                    inside.unlink()
                path.rmdir()
        # A renamed file has another's inode: all are written anew, as after a copy.
        for path in self._folder.iterdir():
            if not path.is_symlink():
                path.unlink()
        for name, content in self.files.items():
            (self._folder / name).write_bytes(content)


def _check(folder: Path, opened: int) -> list[str]:
    report = verify(folder, NAME)
    problems = [f"verify: {problem}" for problem in report.problems]
    if report.missing != opened:
        problems.append(f"{report.missing} items are open, not {opened}")
    return problems


def main(scene: str, folder: Path, mutation: str = "") -> None:
    MUTATIONS[mutation]()
    print(json.dumps(kill_everywhere(scene, folder)))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
