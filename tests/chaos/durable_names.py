"""What of a run and its marks is on disk once reported: `python -m tests.chaos.durable_names FOLDER [DROPPED]`.

The real calls are recorded by the tracer and followed on a model of a disk that loses all that was not synced: a file
without its own sync holds nothing certain, and a name is there, or gone, only after a sync of its folder, that of the
folder itself included. Prints what was missing at each mark, as JSON. DROPPED names a file or folder whose syncs are
taken out of the recording (or `NAME:2`, its third), to see that the check can fail.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

from sheaf.output.output import Output
from sheaf.run.items import Done
from tests.chaos.tracer import Call, mark, trace
from tests.runs import write_run

RUN = "20260101-000000-abcdef"
_LIST = [f"runs/{RUN}/{name}" for name in ("run.json", "items", "items.offsets")]
_FINISHED, _CANCELLED = f"runs/{RUN}/finished", f"runs/{RUN}/cancelled"
#: Mark -> what has to be on the disk then, and what must not be.
PROMISED: dict[str, tuple[list[str], list[str]]] = {
    "published": (_LIST, [_FINISHED, _CANCELLED]),
    "created": ([*_LIST, "deep/down/o.txt.index"], []),
    "committed": ([*_LIST, "deep/down/o.txt", "deep/down/o.txt.index", "deep/down/o.txt.index-wal"], []),
    "finished": ([*_LIST, _FINISHED], []),
    "reopened": (_LIST, [_FINISHED]),
    "cancelled": ([*_LIST, _CANCELLED], [_FINISHED]),
    "resumed": (_LIST, [_CANCELLED]),
}


def life(folder: Path) -> None:
    """A run is submitted, its output is made in folders that a person has just made, and every mark comes and goes."""
    (folder / "deep" / "down").mkdir(parents=True)
    run = write_run(folder, ["one", "two"], RUN, output="deep/down/o.txt", batch_size=2)
    mark("published")
    output = Output.create(folder / "deep" / "down" / "o.txt")
    mark("created")
    output.register_run(RUN, 2, 2)
    output.commit({RUN: [Done(0, b"1\n"), Done(1, b"2\n")]}, worker="w", token=1)
    mark("committed")
    for act, text in (
        (run.mark_finished, "finished"),
        (run.reopen, "reopened"),
        (run.cancel, "cancelled"),
        (run.resume, "resumed"),
    ):
        act()
        mark(text)


@dataclass(slots=True)
class Node:
    """A file, or a folder with what is in it: now, and as of its last sync."""

    now: dict[str, Node] = field(default_factory=dict)
    durable: dict[str, Node] = field(default_factory=dict)
    dirty: bool = False

    def find(self, path: str, *, durable: bool = False) -> Node | None:
        node: Node | None = self
        for name in Path(path).parts:
            node = None if node is None else (node.durable if durable else node.now).get(name)
        return node


class Names:
    def __init__(self, dropped: str = "") -> None:
        self.root = Node()
        self._dropped, _, nth = dropped.partition(":")
        self._nth = int(nth) if nth else None
        self._syncs = 0

    def follow(self, call: Call) -> None:
        if call.name in ("openat", "open"):
            flags = call.arguments[2 if call.name == "openat" else 1]
            if flags & os.O_CREAT and call.result is not None and call.result >= 0 and not self.root.find(call.file):
                self._folder_of(call.file).now[Path(call.file).name] = Node()
        elif call.result is None or call.result < 0:
            return
        elif call.name in ("mkdir", "mkdirat"):
            self._folder_of(call.file).now[Path(call.file).name] = Node()
        elif call.name in ("unlink", "unlinkat"):
            self._folder_of(call.file).now.pop(Path(call.file).name)
        elif call.target:
            node = self._folder_of(call.file).now.pop(Path(call.file).name)
            self._folder_of(call.target).now[Path(call.target).name] = node
        elif call.name in ("fsync", "fdatasync"):
            self._sync(call.file)
        elif call.data or call.name == "ftruncate":
            self._at(call.file).dirty = True

    def _sync(self, path: str) -> None:
        if path == self._dropped:
            self._syncs += 1
            if self._nth in (None, self._syncs - 1):
                return
        node = self._at(path)
        node.dirty, node.durable = False, dict(node.now)

    def _folder_of(self, path: str) -> Node:
        return self._at(str(Path(path).parent))

    def _at(self, path: str) -> Node:
        node = self.root.find(path)
        assert node is not None, path
        return node

    def problems(self, text: str) -> list[str]:
        there, gone = PROMISED[text]
        found = []
        for path in there:
            node = self.root.find(path, durable=True)
            if node is None or node.dirty:
                found.append(f"{text}: {path} is not on the disk")
        return found + [f"{text}: {path} comes back" for path in gone if self.root.find(path, durable=True)]


def main(folder: Path, dropped: str = "") -> None:
    names = Names(dropped)
    marks, problems = [], []
    traced = trace(lambda: life(folder), folder)
    for call in traced.calls:
        if call.name == "mark":
            marks.append(call.file)
            problems += names.problems(call.file)
        else:
            names.follow(call)
    print(json.dumps({"status": traced.status, "marks": marks, "problems": problems}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
