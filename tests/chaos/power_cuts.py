"""Cuts the power at every moment of recorded commits: `python -m tests.chaos.power_cuts SCENE FOLDER [DROPPED]`.

Prints what was done and found, as JSON. The calls are recorded by the tracer; whatever the disk may hold after a cut
is laid out in a folder, recovered by the real code and checked from outside. DROPPED names syncs that are taken out of
the recording, to see that the check can fail.
"""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from tests.chaos.disk import Disk, Event
from tests.chaos.proof import FULL
from tests.chaos.scenes import NAME, Snapshot, check, commit, create, recover
from tests.chaos.tracer import trace

#: What may be dropped -> which of a process's syncs these are.
DROPPED: dict[str, Callable[[str, int, int], bool]] = {
    "": lambda _file, _process, _nth: False,
    "of the output": lambda file, _process, _nth: file == NAME,
    "of the log": lambda file, _process, _nth: file in (f"{NAME}.index-wal", f"{NAME}.index-wal-anew"),
    "of the log on take-over": lambda file, process, _nth: process == 2 and file == f"{NAME}.index-wal-anew",
    "of the index": lambda file, _process, _nth: file == f"{NAME}.index",
    "of the folder": lambda file, _process, _nth: file == ".",
    "on take-over": lambda file, process, nth: process == 2 and nth == 0 and file in (NAME, f"{NAME}.index-wal-anew"),
}
#: Images tried per cut where there are too many for all.
SAMPLE = 60 if FULL else 5


def life(folder: Path, _chance: random.Random) -> Iterator[list[Event]]:
    """The output is created, three processes commit, the last one closes it."""
    mains: list[Callable[[], None]] = [
        lambda: create(folder),
        lambda: commit(folder, [0], "first"),
        lambda: commit(folder, [1, 2], "second", close=True),
    ]
    yield [event for process, main in enumerate(mains) for event in record(process, main, folder)]


def take_over(folder: Path, chance: random.Random) -> Iterator[list[Event]]:
    """A process is killed at every call of its commit; another one does the same again, and acknowledges it."""
    before = record(0, lambda: create(folder), folder) + record(0, lambda: commit(folder, [0], "first"), folder)
    stand = Snapshot(folder)
    calls = trace(lambda: commit(folder, [1], "killed"), folder).calls
    places = [place for place, call in enumerate(calls) if _counts(call.name)]
    for place in places:
        if not (folder / NAME).exists() and (folder.parent / "inode").exists():
            os.link(folder.parent / "inode", folder / NAME)
        stand.restore()
        killed = record(1, lambda: commit(folder, [1], "killed"), folder, kill_before=place)
        after = record(2, lambda: commit(folder, [1, 2], "second"), folder)
        yield before + killed + after


def _counts(name: str) -> bool:
    return name in ("pwrite64", "pwritev", "pwritev2", "fdatasync", "fsync", "ftruncate", "mark", "close", "fcntl")


def record(process: int, main: Callable[[], None], folder: Path, kill_before: int | None = None) -> list[Event]:
    return [Event(process, call) for call in trace(main, folder, kill_before=kill_before).calls]


SCENES = {"life": life, "take-over": take_over}


def without_syncs(events: Iterable[Event], dropped: str) -> list[Event]:
    kept = []
    seen: dict[tuple[int, str], int] = {}
    for event in events:
        if event.call.name in ("fsync", "fdatasync"):
            key = (event.process, event.call.file)
            nth = seen[key] = seen.get(key, -1) + 1
            if DROPPED[dropped](event.call.file, event.process, nth):
                continue
        kept.append(event)
    return kept


def cut_everywhere(scene: str, folder: Path, dropped: str) -> dict[str, Any]:
    chance = random.Random(20260101)
    live = folder / "live"
    live.mkdir()
    found: dict[str, Any] = {"recordings": 0, "cuts": 0, "images": 0, "problems": []}
    for recording in SCENES[scene](live, chance):
        found["recordings"] += 1
        # After a power cut a file has the same inode, by which the index knows it.
        (folder / "inode").unlink(missing_ok=True)
        os.link(live / NAME, folder / "inode")
        _cut_recording(without_syncs(recording, dropped), scene, live, chance, found)
    return found


def _cut_recording(events: list[Event], scene: str, folder: Path, chance: random.Random, found: dict[str, Any]) -> None:
    disk = Disk()
    tried: set[int] = set()
    for place, event in enumerate(events):
        if not disk.apply(event) or (scene == "take-over" and event.process < 2):
            continue
        if scene == "take-over" and event.call.name != "mark" and chance.random() > 0.01 * SAMPLE:
            continue
        found["cuts"] += 1
        for image in disk.images(chance, SAMPLE):
            key = hash((tuple(sorted(image.items())), tuple(disk.acknowledged)))
            if key not in tried:
                tried.add(key)
                found["images"] += 1
                problems = _recover(folder, image, disk.acknowledged)
                found["problems"] += [f"cut after call {place}, {event.call}: {problem}" for problem in problems]


def _recover(folder: Path, image: dict[str, bytes], acknowledged: list[str]) -> list[str]:
    for path in folder.iterdir():
        path.unlink()
    for name, content in image.items():
        if name == NAME:
            os.link(folder.parent / "inode", folder / name)
        (folder / name).write_bytes(content)
    try:
        recover(folder)
        return check(folder, acknowledged, strays=True)
    except Exception as error:  # noqa: BLE001  # whatever it is, it is a finding
        return [f"recovery failed: {type(error).__module__}.{type(error).__name__}: {error}"]


if __name__ == "__main__":
    print(json.dumps(cut_everywhere(sys.argv[1], Path(sys.argv[2]), *(sys.argv[3:] or [""]))))
