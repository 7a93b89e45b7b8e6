"""What a state of the model is: the volume, Redis, the workers; see `docs/proof-model.md`."""

from __future__ import annotations

from typing import NamedTuple

#: What can be left out, and what that is in the code.
MUTATIONS = {
    "no fence": "BEGIN IMMEDIATE does not exclude (sheaf/output/index/database.py, begin)",
    "lease as the only guard": "no fence, but a look at the lock's lease before the append",
    "no truncate": "a torn tail is not cut (sheaf/output/commit/data_file.py, remove_excess)",
    "no seal": "a torn tail is cut without sealing the index first (sheaf/output/commit/transaction.py, _seal)",
    "no dedupe": "what is settled is not dropped (sheaf/output/commit/plan.py, plan)",
    "done before sync": "the records are not synced before the index tells of them (sheaf/output/output.py, _write)",
    "ack before sync": "the index is not synced before the batch finishes (synchronous=OFF)",
    "ack before commit": "the batch finishes before its commit (sheaf_worker/commit/committer.py, _after_commit)",
    "no sync on take-over": "what a dead writer left is trusted unsynced (sheaf/output/index/opener.py)",
    "cut not synced": "a torn tail's cut is not synced (commit/data_file.py, remove_excess; output/output.py, _write)",
    "no last look": "a run is finished without a last cut of what is beyond L (sheaf/scheduling/reconciler.py)",
    "no reconciler": "nothing puts back what Redis has lost (sheaf/scheduling/reconciler.py)",
}
OPEN, DONE, FAILED = 0, 1, 2
NONE = -1
HOLE = "??"


class Index(NamedTuple):
    length: int
    #: By item: OPEN, DONE or FAILED.
    settled: tuple[int, ...]


class Worker(NamedTuple):
    at: str = "idle"
    item: int = NONE
    fails: bool = False
    #: What it read when it got the fence.
    seen: Index | None = None
    #: Whether it has a connection to the index.
    open: bool = False
    #: Whether its turn left nothing of the run to do.
    ends: bool = False


class World(NamedTuple):
    # --- the volume, as processes see it (page cache)
    file: tuple[str, ...]
    index: Index  # type: ignore[assignment]  # hides tuple.index(), which is not needed here
    #: A transaction in SQLite's log that is not published, and whether it is synced.
    ghost: tuple[Index, bool] | None
    #: Whose seal holds: no append was noted and nothing committed since.
    seal: int
    fence: int
    # --- the volume, as it is after a power cut
    disk_file: tuple[str, ...]
    disk_index: Index
    # --- Redis
    queue: tuple[int, ...]
    leases: tuple[int, ...]
    lock: int
    # --- which items were ever acknowledged as done
    acknowledged: tuple[int, ...]
    #: Whether the run is marked as finished: it is not checked again.
    finished: bool
    workers: tuple[Worker, ...]


def put(values: tuple, place: int, value: object) -> tuple:  # type: ignore[type-arg]
    return (*values[:place], value, *values[place + 1 :])


def name(item: int) -> str:
    return "ABC"[item]


def is_whole(record: tuple[str, ...]) -> bool:
    """Both halves, in their order, of one item, by one writer."""
    return len(record) == 2 and (record[0][1:2], record[1][1:2]) == ("1", "2") and record[0][::2] == record[1][::2]


def cell(file: tuple[str, ...], place: int) -> str:
    return file[place] if place < len(file) else ""


def written(world: World, place: int, cell: str) -> World:
    file = [*world.file, *[HOLE] * (place - len(world.file))]
    file[place : place + 1] = [cell]
    return world._replace(file=tuple(file))


def killed(world: World, who: int) -> World:
    """Its connection and the fence go with it; what it wrote stays, and so do its leases, until they run out."""
    return world._replace(
        fence=NONE if world.fence == who else world.fence,
        seal=NONE if world.seal == who else world.seal,
        workers=put(world.workers, who, Worker()),
    )
