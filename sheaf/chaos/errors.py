"""What is not a kill: errors of the disk and of the system, odd values in Redis, damaged files, a cancelled run.

As in `faults.py`: one function each, which returns False if there was nothing to strike.
"""

from __future__ import annotations

import errno
import json
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, cast

from sheaf.broker import keys
from sheaf.chaos.faults import Stage, kill_child
from sheaf.chaos.refusals import Refusals, Rule
from sheaf.chaos.replies import FAULTS as REPLIES
from sheaf.chaos.replies import ReplyProxy, ReplyRule

WRITES = ("write", "writev", "pwrite64", "pwritev", "pwritev2")
SYNCS = ("fsync", "fdatasync")
READS = ("pread64", "openat", "newfstatat", "mmap", "getdents64")
FILES = ("openat", "pipe2", "socketpair", "memfd_create", "socket")
PROCESSES = ("clone", "clone3", "fork", "vfork")
#: All that a worker's calls are looked at for.
CALLS = (*WRITES, *SYNCS, *READS, *FILES, *PROCESSES, "ftruncate", "fallocate", "rename", "unlink", "fcntl")
#: (thread, function) that a thread may be made to raise at; `raising.py` says how.
PLACES = (
    ("main", "sheaf_worker.pool.pool:Pool.poll"),
    ("main", "sheaf_worker.worker:Worker._pass_on"),
    ("main", "sheaf_worker.worker:Worker._take_in"),
    ("main", "sheaf_worker.pool.results:Reports._take_results"),
    ("main", "sheaf_worker.pool.child_handle:ChildHandle.finished"),
    ("heartbeat", "sheaf_worker.claim.heartbeat:Heartbeat._beat"),
    ("fetcher", "sheaf_worker.claim.fetcher:Fetcher._take"),
    ("fetcher", "sheaf.run.run:Run.read"),
    ("committer", "sheaf_worker.commit.committer:Committer._after_commit"),
    ("committer", "sheaf.output.commit.transaction:WriteTransactions.begin"),
    ("committer", "sheaf.output.commit.entry:write"),
    ("recovery", "sheaf.scheduling.reconciler:Reconciler.feed"),
    ("renewer", "sheaf.broker.lock:Lease.renew"),
)
#: What it raises; one more would make other trials of the same seeds.
RAISED = ("RuntimeError", "MemoryError", "KeyError", "OSError", "SystemExit")
#: Milliseconds by which a clock may jump: a minute, and an hour.
JUMPS_MS = (-3_600_000, -60_000, 60_000)


class ErrorStage(Stage, Protocol):
    """What these need besides."""

    refusals: Refusals | None
    proxy: ReplyProxy | None

    def watch_damage(self, restore: Callable[[], None], length_s: float) -> None: ...
    def cancel(self) -> bool: ...


def disk_error_once(stage: ErrorStage, _length_s: float) -> bool:
    """One write, sync or cut of the output, its index or the run's marks fails."""
    calls = stage.draw.choice((WRITES, SYNCS, SYNCS, ("ftruncate",), ("openat",), ("fcntl",), ("rename", "unlink")))
    return _refuse(stage, Rule(_disk_error(stage), calls, "^data/", after=stage.draw.randint(0, 3)), None)


def disk_error(stage: ErrorStage, length_s: float) -> bool:
    """Every write and sync fails for a while, of the output, of its index, or of everything."""
    place = stage.draw.choice((r"^data/pages[^/]*\.(html|txt|jsonl|warc|gz)$", r"\.index", "^data/"))
    return _refuse(stage, Rule(_disk_error(stage), (*WRITES, *SYNCS), place, times=None), length_s)


def disk_full(stage: ErrorStage, length_s: float) -> bool:
    """Nothing can be written, logs included, until there is room again."""
    grows = (*WRITES, "fallocate", "ftruncate")
    # Everything in the trial's folder; what goes through pipes and sockets goes on.
    return _refuse(stage, Rule(errno.ENOSPC, grows, "^(data|worker|runs)", times=None), length_s)


def read_error(stage: ErrorStage, length_s: float) -> bool:
    """What should be read cannot be, once or for a while."""
    times = stage.draw.choice((1, 3, None))
    return _refuse(stage, Rule(errno.EIO, READS, "^(data|tasks)/", times=times), length_s)


def few_files(stage: ErrorStage, length_s: float) -> bool:
    return _refuse(stage, Rule(errno.EMFILE, FILES, times=stage.draw.choice((1, 5, None))), length_s)


def no_processes(stage: ErrorStage, length_s: float) -> bool:
    """A process of a pool is killed, and there is none to be had in its place for a while."""
    struck = _refuse(stage, Rule(stage.draw.choice((errno.EAGAIN, errno.ENOMEM)), PROCESSES, times=None), length_s)
    return struck and kill_child(stage, length_s)


def thread_raises(stage: ErrorStage, _length_s: float) -> bool:
    """A thread of a worker raises what is not expected of that function."""
    thread, function = stage.draw.choice(PLACES)
    order = {"id": secrets.token_hex(4), "thread": thread, "function": function, "after": stage.draw.randint(0, 3)}
    order |= {"error": stage.draw.choice(RAISED), "lasting": False}
    folder = stage.cluster.folder
    (folder / "raise.draft").write_text(json.dumps(order))
    (folder / "raise.draft").replace(folder / "raise.json")
    return True


def redis_odd_value(stage: ErrorStage, _length_s: float) -> bool:
    """Values that no worker writes appear in Redis."""
    client, run = cast(Any, stage.cluster.redis.client), _run_of(stage)
    odd: tuple[Callable[[], object], ...] = (
        lambda: client.rpush(keys.RQ_QUEUE, b"\xff\xfe\x00"),
        lambda: client.lpush(keys.RQ_QUEUE, "", "a:b:c", f"{run}:999999", f"{run}:-1", f"{run}:x", "x" * 5000),
        lambda: client.hset(keys.PROBLEM_PREFIX + run, mapping={"problem": b"\xff", "since_ms": "soon", "worker": ""}),
        lambda: client.set(keys.PROBLEM_PREFIX + run, "not a hash"),
        lambda: client.sadd(keys.RQ_WORKERS, b"\xff", "rq:worker:unknown"),
        lambda: client.hset(keys.OWNERS, mapping={b"\xff\xfe": "unknown", f"{run}:77777": b"\xff"}),
        lambda: client.zadd(keys.LEASES, {b"\xff\xfe": 1, f"{run}:88888": -5, "": 7}),
        lambda: client.hset(keys.CLAIMS, mapping={f"{run}:0": "many", b"\xff": "1"}),
        lambda: _odd_entry(client),
    )
    stage.draw.choice(odd)()
    return True


def redis_odd_reply(stage: ErrorStage, _length_s: float) -> bool:
    """Redis answers the workers with an error, with something of another kind, or not at all."""
    if stage.proxy is None:
        return False
    seen = sorted(stage.proxy.seen())
    requests = seen or ["claim"]
    fault = stage.draw.choice([name for name in REPLIES if name != "silence"])
    stage.proxy.rule = ReplyRule(stage.draw.choice(requests), fault, times=stage.draw.choice((1, 1, 3, 20)))
    return True


def redis_damaged(stage: ErrorStage, _length_s: float) -> bool:
    """kill -9 of Redis, and a byte of its log of commands is another one."""
    stage.cluster.redis.kill()
    stage.cluster.redis.down_until = 0.0
    return stage.cluster.redis.damage(stage.draw.random())


def lease_clock(stage: ErrorStage, _length_s: float) -> bool:
    """All leases end a minute or an hour earlier or later, as after a jump of Redis's clock."""
    client = cast(Any, stage.cluster.redis.client)
    jump = stage.draw.choice(JUMPS_MS)
    moved = [client.zincrby(keys.LEASES, jump, name) for name in client.zrange(keys.LEASES, 0, -1)]
    return bool(moved)


def list_damaged(stage: ErrorStage, length_s: float) -> bool:
    """A byte of a run's manifest or list is another one, or its end is missing; later it is brought back."""
    folders = [path for path in (stage.cluster.data / "runs").glob("[!.]*") if path.is_dir()]
    if not folders:
        return False
    path = stage.draw.choice(folders) / stage.draw.choice(("run.json", "items", "items.offsets"))
    try:
        before = path.read_bytes()
        path.write_bytes(_damaged(stage, before))
    except OSError:
        return False
    stage.watch_damage(lambda: _bring_back(path, before), length_s)
    return True


def cancel(stage: ErrorStage, length_s: float) -> bool:
    """A person stops the run, and a moment later submits the same again."""
    if not stage.cancel():
        return False
    stage.later(length_s, lambda: stage.submit(watch=False))
    return True


ERRORS: dict[str, Callable[[ErrorStage, float], bool]] = {
    function.__name__.replace("_", "-"): function
    for function in (
        disk_error_once,
        disk_error,
        disk_full,
        read_error,
        few_files,
        no_processes,
        thread_raises,
        redis_odd_value,
        redis_odd_reply,
        redis_damaged,
        lease_clock,
        list_damaged,
        cancel,
    )
}


def _disk_error(stage: ErrorStage) -> int:
    return stage.draw.choice((errno.EIO, errno.EIO, errno.ENOSPC, errno.EROFS))


def _refuse(stage: ErrorStage, rule: Rule, length_s: float | None) -> bool:
    if stage.refusals is None:
        return False
    stage.refusals.add(rule)
    refusals = stage.refusals
    if length_s is not None:
        stage.later(length_s, lambda: refusals.lift(rule))
    return True


def _run_of(stage: ErrorStage) -> str:
    return next((path.name for path in (stage.cluster.data / "runs").glob("[!.]*")), "no-run")


def _odd_entry(client: Any) -> object:
    name = f"odd-{secrets.token_hex(4)}"
    client.zadd(keys.WORKERS, {name: 10**15})
    return client.hset(keys.WORKER_PREFIX + name, mapping={"label": b"\xff", "pool": "many", "seen_ms": "now"})


def _damaged(stage: ErrorStage, content: bytes) -> bytes:
    place = stage.draw.randrange(max(1, len(content)))
    how = stage.draw.choice(("bit", "bit", "cut", "empty", "other"))
    if how == "bit" and content:
        flipped = content[place] ^ (1 << stage.draw.randrange(8))
        return content[:place] + bytes([flipped]) + content[place + 1 :]
    return {"cut": content[:place], "empty": b"", "other": json.dumps([]).encode()}.get(how, b"")


def _bring_back(path: Path, content: bytes) -> None:
    if path.parent.exists():
        path.write_bytes(content)
