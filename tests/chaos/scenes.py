"""Commits to be killed or cut off from power: what the processes do, and a check from outside by plain reads.

The check shares no code with the output: it splits the file into lines, and asks SQLite for the failures' rows.
"""

from __future__ import annotations

import os
import re
import signal
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from sheaf.output.commit import data_file
from sheaf.output.output import Output
from sheaf.output.repair.verify import verify
from sheaf.run.items import Done, Failed, Result
from tests.chaos.tracer import mark, run, trace

RUN = "run"
ITEMS = 24
BATCH_SIZE = 5
HEADER = b"#header\n"
STRANGER = b"a stranger's line\n"
NAME = "out.txt"
#: Items by commit; the last of each fails.
GROUPS = (range(8), range(8, 16), range(16, 24))

# Few buffers a call: an append is several writes, as a large one is.
data_file.BUFFERS = 3


def failing(index: int) -> bool:
    return index % 8 == 7


def record(index: int, by: str) -> bytes:
    """Most of them longer than a page, so that each is a buffer of its own."""
    return b"<%d %s %s>\n" % (index, by.encode(), b"z" * (1000 + index % 3 * 4000))


def results(indexes: Iterable[int], by: str) -> list[Result]:
    return [Failed(index, "Error", by, 1) if failing(index) else Done(index, record(index, by)) for index in indexes]


def create(folder: Path) -> None:
    output = Output.create(folder / NAME, header=HEADER)
    mark("created")
    output.register_run(RUN, ITEMS, BATCH_SIZE)
    mark("registered")
    output.close()


def commit(folder: Path, numbers: Iterable[int], by: str, *, close: bool = False) -> None:
    """Commit these groups, leaving a mark after each that is acknowledged; then die, or close the output."""
    output = Output(folder / NAME)
    for number in numbers:
        output.commit({RUN: results(GROUPS[number], by)}, worker=by, token=number)
        mark(f"{by} {number}")
    if close:
        output.close()
        mark("closed")


def recover(folder: Path, output: Output | None = None) -> None:
    """What the cluster does after a crash: create and register again, run every batch again, commit all of it."""
    output = output or Output.create(folder / NAME, header=HEADER)
    output.register_run(RUN, ITEMS, BATCH_SIZE)
    for group in GROUPS:
        output.commit({RUN: results(group, "again")}, worker="again", token=9)
    output.close()


class Snapshot:
    """A folder's files, to be put back as they were, into the same inodes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.files = {path.name: path.read_bytes() for path in folder.iterdir()}

    def restore(self) -> None:
        for path in self._folder.iterdir():
            if path.name not in self.files:
                path.unlink()
        for name, content in self.files.items():
            with open(self._folder / name, "r+b" if (self._folder / name).exists() else "wb") as file:
                file.write(content)
                file.truncate()


def _children(*mains: Callable[[], None]) -> None:
    for main in mains:
        if run(main) != 0:
            raise AssertionError("a process of the preparation failed")


def _prepare_later(folder: Path) -> None:
    _children(lambda: create(folder), lambda: commit(folder, [0], "first"))


def _prepare_torn(folder: Path) -> None:
    _prepare_later(folder)
    before = Snapshot(folder)
    calls = trace(lambda: commit(folder, [1], "torn"), folder).calls
    before.restore()
    appends = [place for place, call in enumerate(calls) if call.file == NAME and call.data]
    trace(lambda: commit(folder, [1], "torn"), folder, kill_before=appends[1])
    assert (folder / NAME).stat().st_size > len(before.files[NAME])


def _prepare_stray(folder: Path) -> None:
    _prepare_later(folder)
    with open(folder / NAME, "ab") as file:
        file.write(STRANGER)


def _nothing(_folder: Path) -> None:
    pass


#: Name -> (what was before, what is traced and killed).
SCENES: dict[str, tuple[Callable[[Path], None], Callable[[Path], None]]] = {
    "create": (_nothing, create),
    "first": (lambda folder: _children(lambda: create(folder)), lambda folder: commit(folder, [0], "traced")),
    "later": (_prepare_later, lambda folder: commit(folder, [1], "traced")),
    "take-over": (_prepare_torn, lambda folder: commit(folder, [1], "traced")),
    "stray": (_prepare_stray, lambda folder: commit(folder, [1], "traced")),
    "close": (_prepare_later, lambda folder: commit(folder, [1, 2], "traced", close=True)),
}


@contextmanager
def bystander(folder: Path) -> Iterator[Callable[[], int]]:
    """A process that has the output open all the time; calling it makes it recover, and returns its status."""
    ready, go = os.pipe(), os.pipe()

    def main() -> None:
        output = Output(folder / NAME)
        output.reader.run(RUN)
        os.write(ready[1], b".")
        os.read(go[0], 1)
        recover(folder, output)

    child = os.fork()
    if child == 0:
        with suppress(BaseException):
            main()
            os._exit(0)
        os._exit(1)
    os.read(ready[0], 1)

    ended: list[int] = []

    def release() -> int:
        os.write(go[1], b".")
        ended.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        return ended[0]

    try:
        yield release
    finally:
        if not ended:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        for descriptor in (*ready, *go):
            os.close(descriptor)


def check(folder: Path, acknowledged: Iterable[str], *, strays: bool = False) -> list[str]:
    """Say what is wrong after recovery: lost, doubled, torn, done again though it was acknowledged."""
    problems = []
    content = (folder / NAME).read_bytes()
    if not content.startswith(HEADER):
        problems.append("the header is not there")
    who: dict[int, str] = {}
    for line in content[len(HEADER) :].splitlines(keepends=True):
        match = re.match(rb"<(\d+) ([\w-]+) ", line)
        if match is None or line != record(int(match[1]), match[2].decode()):
            problems.append(f"torn: {line[:40]!r}")
        elif int(match[1]) in who:
            problems.append(f"item {int(match[1])} is there twice")
        else:
            who[int(match[1])] = match[2].decode()
    failures = _failures(folder, problems)
    problems += [f"item {index} is both done and failed" for index in failures.keys() & who.keys()]
    who |= failures
    problems += [f"item {index} is lost" for index in range(ITEMS) if index not in who]
    for text in acknowledged:
        by, _, number = text.partition(" ")
        if number:
            problems += [
                f"item {index} was acknowledged to {by}, but lost and done again"
                for index in GROUPS[int(number)]
                if who.get(index) == "again"
            ]
    report = verify(folder, folder / NAME)
    problems += [f"verify: {problem}" for problem in report.problems]
    kept = b"".join(path.read_bytes() for path in sorted(folder.glob(f"{NAME}.stray-*")))
    if not strays and kept:
        problems.append(f"our own bytes were moved aside: {kept[:40]!r}")
    return problems


def _failures(folder: Path, problems: list[str]) -> dict[int, str]:
    with closing(sqlite3.connect(folder / f"{NAME}.index")) as connection:
        try:
            rows = dict(connection.execute("SELECT coalesce(+item, -1), message FROM failures"))
        except sqlite3.DatabaseError as error:
            problems.append(f"the index cannot be read: {error}")
            return {}
    if wrong := [index for index in rows if not failing(index)]:
        problems.append(f"items {wrong} are noted as failed")
    return rows
