"""A sync that fails once on a real kernel: `python -m tests.chaos.failing_disk FILESYSTEM FOLDER [MUTATION]`, as root.

The file system is in a sparse image on a disk that has just run full, as a thin disk or a virtual machine's image
may: the blocks of the index's log cannot be had, and fsync says so, once. Everybody who saw it dies, the disk gets
room, all start again, and go on. Then the file system is mounted anew, as after a power cut, and what was
acknowledged is looked for. Prints what was seen, as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from sheaf.core.errors import OutputError
from sheaf.output.index import wal
from sheaf.output.output import Output
from sheaf.output.repair.verify import verify
from sheaf.run.items import Done, Failed

RUN, ITEMS = "r-1", 8
#: File system -> what makes it, the MiB of its image, and those of the disk that holds the image.
FILE_SYSTEMS = {
    "ext4": (["mkfs.ext4", "-q", "-O", "^has_journal", "-b", "4096"], 64, 12),
    "ext4 with a journal": (["mkfs.ext4", "-q", "-b", "4096"], 64, 24),
    "xfs": (["mkfs.xfs", "-q", "-f"], 400, 200),
    "btrfs": (["mkfs.btrfs", "-q", "-f"], 400, 40),
}
MUTATIONS: dict[str, Callable[[], None]] = {
    "": lambda: None,
    "the log is trusted": lambda: setattr(wal, "put_anew", lambda _: None),
}


def _do(*words: object) -> str:
    return subprocess.run(list(map(str, words)), check=True, capture_output=True, text=True).stdout.strip()


def _unmount(at: Path) -> None:
    """The kernel may let go of a loop device, or a container of its copy of the mounts, a moment late."""
    for _ in range(300):
        if subprocess.run(["umount", str(at)], capture_output=True).returncode == 0:
            return
        time.sleep(0.1)
    _do("umount", at)


def _mount(loop: str, at: Path) -> None:
    """The kernel may still be busy with the same file system's end: what it says is asked again, and then shown."""
    for _ in range(300):
        done = subprocess.run(["mount", loop, str(at)], capture_output=True, text=True)
        if done.returncode == 0:
            return
        time.sleep(0.1)
    raise RuntimeError(f"mount {loop}: {done.stderr}")


@contextmanager
def _mounted(make: list[str], image: Path, megabytes: int, at: Path) -> Iterator[str]:
    with open(image, "wb") as file:
        file.truncate(megabytes << 20)
    _do(*make, image)
    at.mkdir()
    loop = _do("losetup", "-f", "--show", image)
    try:
        _mount(loop, at)
        try:
            yield loop
        finally:
            _unmount(at)
    finally:
        _do("losetup", "-d", loop)


def run_dry(file_system: str, folder: Path, mutation: str) -> dict[str, Any]:
    make, inner, outer = FILE_SYSTEMS[file_system]
    back, at = folder / "back", folder / "mnt"
    seen: dict[str, Any] = {}
    disk = ["mkfs.ext4", "-q", "-O", "^has_journal"]
    with _mounted(disk, folder / "disk", outer, back), _mounted(make, back / "image", inner, at) as loop:
        path = at / "o.jsonl"
        _role("create", path, mutation).wait()
        with ExitStack() as alive:
            people = [_role(name, path, mutation) for name in ("reader", "writer")]
            for each in people:
                alive.callback(_kill, each)
                _hear(each)
            _do("sync", "-f", at)
            _do("sync", "-f", back)
            with _full(back):
                _say(people[1])
                seen["writer"] = _hear(people[1])
        seen["later"] = _ask("later", path, mutation)
        _unmount(at)
        _mount(loop, at)
        if not seen["later"]["acknowledged"]:
            # The file system itself has stopped after the error; now it goes on.
            seen["later"] = _ask("later", path, mutation)
            _unmount(at)
            _mount(loop, at)
        seen["after"] = _ask("look", path, mutation)
    return seen


@contextmanager
def _full(folder: Path) -> Iterator[None]:
    ballast = os.open(folder / "ballast", os.O_CREAT | os.O_WRONLY)
    size, step = 0, 1 << 24
    while step >= 4096:
        try:
            os.posix_fallocate(ballast, size, step)
            size += step
        except OSError:
            step //= 2
    try:
        yield
    finally:
        os.close(ballast)
        (folder / "ballast").unlink()


def _role(name: str, path: Path, mutation: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "tests.chaos.failing_disk", f"role {name}", str(path), mutation]
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _hear(process: subprocess.Popen[str]) -> Any:
    assert process.stdout is not None
    return json.loads(process.stdout.readline() or '{"acknowledged": [], "said": "died"}')


def _ask(name: str, path: Path, mutation: str) -> Any:
    process = _role(name, path, mutation)
    answer = _hear(process)
    process.wait()
    return answer


def _say(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def _kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()


def _create(path: Path) -> None:
    output = Output.create(path)
    output.register_run(RUN, ITEMS, 2)
    output.commit({RUN: [_done(0), _done(1)]}, worker="first", token=1)
    os._exit(0)


def _read(path: Path) -> None:
    output = Output(path)
    output.reader.run(RUN)
    _tell(ready=True)
    sys.stdin.read()


def _write(path: Path) -> None:
    """Failures only: no block of the output is needed, so what fails is the sync of the index's log."""
    output = Output(path)
    output.reader.run(RUN)
    _tell(ready=True)
    sys.stdin.readline()
    said = "committed"
    try:
        output.commit({RUN: [Failed(n, "Error", "x" * 9000, 1) for n in (2, 3)]}, worker="writer", token=2)
    except OutputError as error:
        said = str(error)
    _tell(said=said, acknowledged=[2, 3] if said == "committed" else [])
    sys.stdin.read()


def _later(path: Path) -> None:
    said, acknowledged = "", []
    try:
        output = Output(path)
        output.commit({RUN: [_done(n) for n in range(4, ITEMS)]}, worker="later", token=3)
        acknowledged = [*range(4, ITEMS)]
        acknowledged += [failure.index for failure in output.reader.failures(RUN)]
    except OutputError as error:
        said = str(error)
    _tell(said=said, acknowledged=acknowledged)
    os._exit(0)


def _look(path: Path) -> None:
    output = Output(path)
    there = [index for index, data in output.records.all(RUN) if data == _done(index)[1]]
    there += [failure.index for failure in output.reader.failures(RUN)]
    output.close()
    _tell(there=sorted(there), problems=verify(path.parent, path).problems)


def _done(index: int) -> Done:
    return Done(index, b'{"index":%d}\n' % index)


def _tell(**what: Any) -> None:
    print(json.dumps(what), flush=True)


ROLES = {"create": _create, "reader": _read, "writer": _write, "later": _later, "look": _look}


def main(what: str, place: Path, mutation: str = "") -> None:
    MUTATIONS[mutation]()
    kind, _, name = what.partition(" ")
    if kind == "role":
        with suppress(BrokenPipeError):
            ROLES[name](place)
    else:
        print(json.dumps(run_dry(what, place, mutation)))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
