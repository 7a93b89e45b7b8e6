"""Kill -9 between each two system calls of a commit: `python -m tests.chaos.crash_points SCENE FOLDER [MUTATION]`.

Prints what was done and found, as JSON. Every call that touches the folder is a crash point, and every write is one
more, torn in its middle. After each a process recovers, a fresh one or one that had the output open all the time; then
the file is checked from outside.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from sheaf.output.commit import plan
from sheaf.output.commit.data_file import OutputFile
from tests.chaos.proof import FULL
from tests.chaos.scenes import NAME, SCENES, STRANGER, Snapshot, bystander, check, recover
from tests.chaos.tracer import Call, run, trace

#: Calls that change neither file nor lock: a kill before one of them leaves what a kill before the next call leaves.
READS = {
    "newfstatat",
    "fstat",
    "statx",
    "stat",
    "lstat",
    "pread64",
    "read",
    "lseek",
    "access",
    "faccessat",
    "faccessat2",
}
#: Scenes that are played beside another process too, which then recovers; the rest only where SHEAF_PROOF=full.
BESIDE_OTHERS = ("take-over",)


def _end_is_end(file: OutputFile, _state: object) -> None:
    """What is beyond L is not cut; the next append goes after it, as with O_APPEND."""
    file.length = file.size


def _nothing_is_settled(_index: object, _run: object, numbers: Iterable[int]) -> tuple[dict[int, Any], dict[int, int]]:
    return {}, dict.fromkeys(numbers, 0)


#: Name -> how the product is broken, to see that the check can fail.
MUTATIONS: dict[str, Callable[[], None]] = {
    "": lambda: None,
    "no truncate": lambda: setattr(OutputFile, "check", _end_is_end),
    "no dedupe": lambda: setattr(plan, "_read_batches", _nothing_is_settled),
}


class Stage:
    """One scene, to be played as often as it has crash points."""

    def __init__(self, folder: Path, scene: str) -> None:
        prepare, self._act = SCENES[scene]
        prepare(folder)
        self._folder = folder
        self._strays = scene == "stray"
        self._before = Snapshot(folder)

    def calls(self, standing_by: bool) -> list[Call]:
        """What one undisturbed commit calls; SQLite calls less when it is not alone."""
        with self._recoverer(standing_by):
            calls = trace(lambda: self._act(self._folder), self._folder).calls
        self._before.restore()
        return calls

    def crash(self, place: int, tear: bool, standing_by: bool) -> list[str]:
        """Kill before that call, recover, and say what is wrong."""
        with self._recoverer(standing_by) as recoverer:
            traced = trace(lambda: self._act(self._folder), self._folder, kill_before=place, tear=tear)
            recovered = recoverer()
        problems = [] if traced.status == -9 else [f"was not killed, ended with {traced.status}"]
        if recovered != 0:
            problems.append("recovery failed")
        else:
            problems += check(self._folder, traced.marks, strays=self._strays)
            problems += self._lost_strays()
        self._before.restore()
        return problems

    def _recoverer(self, standing_by: bool) -> contextlib.AbstractContextManager[Callable[[], int]]:
        if standing_by:
            return bystander(self._folder)
        return contextlib.nullcontext(lambda: run(lambda: recover(self._folder)))

    def _lost_strays(self) -> list[str]:
        """A stranger's bytes are kept, perhaps begun twice, and nothing of ours is among them."""
        kept = b"".join(path.read_bytes() for path in self._folder.glob(f"{NAME}.stray-*"))
        if self._strays and (STRANGER not in kept or b"<" in kept):
            return [f"a stranger's bytes were not kept: {kept[:60]!r}"]
        return []


def crash_everywhere(folder: Path, scene: str, *, every_call: bool) -> dict[str, Any]:
    stage = Stage(folder, scene)
    found: dict[str, Any] = {"calls": 0, "kills": 0, "problems": []}
    for standing_by in (False, True) if scene in BESIDE_OTHERS or (every_call and scene != "create") else (False,):
        calls = stage.calls(standing_by)
        found["calls"] += len(calls)
        for place, call in enumerate(calls):
            if call.name == "mark" or (call.name in READS and not every_call):
                continue
            for tear in (False, True) if call.data and call.offset >= 0 else (False,):
                where = f"call {place}, {call}{', torn' * tear}{', beside another process' * standing_by}"
                found["problems"] += [f"{where}: {problem}" for problem in stage.crash(place, tear, standing_by)]
                found["kills"] += 1
    return found


def main(scene: str, folder: Path, mutation: str = "") -> None:
    MUTATIONS[mutation]()
    print(json.dumps(crash_everywhere(folder, scene, every_call=FULL)))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
