"""Processes for `test_output_processes.py` that write to an output; started as `python writers.py <role> <path> …`."""

import os
import random
import signal
import sys
from pathlib import Path

from sheaf.core.errors import FenceTimeout, OutputError
from sheaf.output.output import Output
from sheaf.run.items import Batch, Done, Failed, Result

RUN = "run"
ITEMS = 20_000
BATCH_SIZE = 50


def batch(number: int) -> Batch:
    return Batch(RUN, number, number * BATCH_SIZE, BATCH_SIZE)


def record(index: int) -> bytes:
    return b"<%d:%s>\n" % (index, b"z" * (index * 37 % 900))


def results_for(indexes: list[int]) -> list[Result]:
    return [
        Failed(index, "Error", f"item {index}", 1) if index % 10 == 3 else Done(index, record(index))
        for index in indexes
    ]


def work(path: Path, name: str, seed: int) -> None:
    """Commit random open items until none are left; others do the same, so most are brought more than once."""
    chance = random.Random(seed)
    output = Output(path, fence_wait_s=5)
    while True:
        numbers = list(output.reader.unfinished_batches(RUN))
        if not numbers:
            break
        number = chance.choice(numbers[:20])
        indexes = output.reader.remaining(RUN, batch(number))
        chosen = chance.sample(indexes, chance.randint(0, len(indexes)))
        try:
            output.commit({RUN: results_for(chosen)}, worker=name, token=seed)
        except FenceTimeout:
            continue
    output.close()


def commit_and_exit(path: Path, index: int) -> None:
    """Commit one item and be gone, without the clean-up that ends a connection."""
    Output(path).commit({RUN: [Done(index, record(index))]}, worker="ghost", token=1)
    os._exit(0)


def stop_at(path: Path, step: str) -> None:
    """Stop in mid-commit at the step, as `docker pause` would do it."""

    def stop(name: str) -> None:
        if name == step:
            os.kill(os.getpid(), signal.SIGSTOP)

    Output(path, steps=stop).commit({RUN: [Done(7, record(7))]}, worker="second", token=2)


def die_at(path: Path, step: str) -> None:
    """Open the output, wait for a line on stdin, then die in mid-commit at the step."""

    def die(name: str) -> None:
        if name == step:
            os._exit(9)

    output = Output(path, steps=die)
    output.reader.run(RUN)
    print("open", flush=True)
    sys.stdin.readline()
    output.commit({RUN: [Done(7, record(7))]}, worker="second", token=2)


def read_then_commit(path: Path) -> None:
    """Be in mid-read until a line comes on stdin, then commit."""
    output = Output(path)
    with output._index.reading():
        print("open", flush=True)
        sys.stdin.readline()
    output.commit({RUN: [Done(7, record(7))]}, worker="reader", token=1)
    output.close()


def join(path: Path, index: int) -> None:
    """As a user who shares nothing with the owner but the group: read, commit, read."""
    gid, uid = path.stat().st_gid, 61234
    os.umask(0o002)
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    output = Output(path)
    output.commit({RUN: [Done(index, record(index))]}, worker=f"uid {uid}", token=1)
    print(output.reader.run(RUN).done, flush=True)
    output.close()


def look_without_rights(path: Path) -> None:
    os.setgroups([])
    os.setgid(61235)
    os.setuid(61235)
    try:
        Output(path).reader.run(RUN)
    except OutputError as error:
        print(type(error).__name__, error)


if __name__ == "__main__":
    role, place = sys.argv[1], Path(sys.argv[2])
    if role == "work":
        work(place, sys.argv[3], int(sys.argv[4]))
    elif role == "commit":
        commit_and_exit(place, int(sys.argv[3]))
    elif role == "stop-at":
        stop_at(place, sys.argv[3])
    elif role == "die-at":
        die_at(place, sys.argv[3])
    elif role == "read":
        read_then_commit(place)
    elif role == "join":
        join(place, int(sys.argv[3]))
    else:
        look_without_rights(place)
