"""The faults, one function each. A fault returns False if there was nothing to strike, and then does not count."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Protocol, cast

import redis

from sheaf.broker import keys
from sheaf.chaos.cluster import Cluster, Slot
from sheaf.chaos.fence import fence_holder

#: Seconds for which a fault waits for its moment.
HUNT_S = 1.0
#: The largest piece that is cut off Redis's log of commands: about what comes in a second.
LOST_BYTES = 20_000


class Stage(Protocol):
    """What a fault works on."""

    cluster: Cluster
    draw: random.Random
    output: Path

    def submit(self, *, watch: bool) -> object: ...
    def later(self, wait_s: float, action: Callable[[], object]) -> None: ...
    def note_kill(self, slot: Slot) -> None: ...
    def released(self) -> bool: ...


Fault = Callable[[Stage, float], bool]


def kill_child(stage: Stage, _length_s: float) -> bool:
    children = [pid for slot in stage.cluster.living() for pid in _pool_children(slot.process.pid)]
    return bool(children) and _signal(stage.draw.choice(children), signal.SIGKILL)


def kill_worker(stage: Stage, _length_s: float) -> bool:
    slot = _any(stage)
    return slot is not None and _kill(stage, slot)


def kill_fence_holder(stage: Stage, _length_s: float) -> bool:
    """Between BEGIN and COMMIT of a commit, a moment later than seen."""
    slot = _hunt(stage, lambda: _holder_of_fence(stage))
    time.sleep(stage.draw.choice((0.0, 0.0, 0.0005, 0.002)))
    return slot is not None and _kill(stage, slot)


def kill_lock_holder(stage: Stage, length_s: float) -> bool:
    """Some milliseconds after it was seen to hold the lock: just before, in, or just after its commit."""
    slot = _hunt(stage, lambda: _holder_of_lock(stage))
    time.sleep(length_s / 40)
    return slot is not None and _kill(stage, slot)


def kill_watcher(stage: Stage, _length_s: float) -> bool:
    watching = [process for process in stage.cluster.producers if process.poll() is None]
    for process in watching:
        process.kill()
    return bool(watching)


def kill_everything(stage: Stage, length_s: float) -> bool:
    for slot in stage.cluster.living():
        _kill(stage, slot)
    return redis_outage(stage, length_s)


def stop_worker(stage: Stage, length_s: float) -> bool:
    slot = _any(stage)
    return slot is not None and _stop(stage, slot, length_s, family=False)


def freeze_worker(stage: Stage, length_s: float) -> bool:
    slot = _any(stage)
    return slot is not None and _stop(stage, slot, length_s, family=True)


def stop_lock_holder(stage: Stage, length_s: float) -> bool:
    return _stop_while(stage, _holder_of_lock, length_s)


def stop_fence_holder(stage: Stage, length_s: float) -> bool:
    return _stop_while(stage, _holder_of_fence, length_s)


def term_worker(stage: Stage, _length_s: float) -> bool:
    slot = _any(stage)
    if slot is None:
        return False
    slot.ending = True
    return _signal(slot.process.pid, signal.SIGTERM)


def redis_restart(stage: Stage, _length_s: float) -> bool:
    stage.cluster.redis.kill()
    return True


def redis_outage(stage: Stage, length_s: float) -> bool:
    stage.cluster.redis.kill()
    stage.cluster.redis.down_until = time.monotonic() + length_s
    return True


def redis_lost_second(stage: Stage, length_s: float) -> bool:
    """What power loss leaves of an append-only file that is synced once a second: its end is missing."""
    redis_outage(stage, length_s / 4)
    return stage.cluster.redis.lose_end(stage.draw.randint(1, LOST_BYTES))


def redis_empty(stage: Stage, length_s: float) -> bool:
    redis_outage(stage, length_s / 4)
    stage.cluster.redis.forget_everything()
    return True


def redis_flush(stage: Stage, _length_s: float) -> bool:
    return bool(stage.cluster.redis.client.flushall())


def redis_stop(stage: Stage, length_s: float) -> bool:
    stage.cluster.redis.send(signal.SIGSTOP)
    stage.later(length_s, lambda: stage.cluster.redis.send(signal.SIGCONT))
    return True


def queue_doubled(stage: Stage, _length_s: float) -> bool:
    """Every batch that is queued or leased is queued once more."""
    client = _client(stage)
    ids = [*client.lrange(keys.RQ_QUEUE, 0, -1), *client.hkeys(keys.OWNERS)]
    return bool(ids) and client.rpush(keys.RQ_QUEUE, *ids) > 0


def queue_removed(stage: Stage, _length_s: float) -> bool:
    client = _client(stage)
    ids = client.lrange(keys.RQ_QUEUE, 0, -1)
    removed = [client.lrem(keys.RQ_QUEUE, 0, name) for name in ids if stage.draw.random() < 0.7]
    return any(removed)


def lease_removed(stage: Stage, _length_s: float) -> bool:
    """As if Redis had never heard of what its workers are doing."""
    return bool(_client(stage).delete(keys.LEASES, keys.OWNERS, keys.RQ_STARTED))


def submit_twice(stage: Stage, _length_s: float) -> bool:
    stage.submit(watch=False)
    return True


FAULTS: dict[str, Fault] = {
    function.__name__.replace("_", "-"): function
    for function in (
        kill_child,
        kill_worker,
        kill_fence_holder,
        kill_lock_holder,
        kill_watcher,
        kill_everything,
        stop_worker,
        stop_lock_holder,
        stop_fence_holder,
        freeze_worker,
        term_worker,
        redis_restart,
        redis_outage,
        redis_lost_second,
        redis_empty,
        redis_flush,
        redis_stop,
        queue_doubled,
        queue_removed,
        lease_removed,
        submit_twice,
    )
}


def strike(stage: Any, fault: Callable[[Any, float], bool], length_s: float) -> bool:
    """Inject a fault; False if there was nothing to strike."""
    try:
        return fault(stage, length_s)
    except redis.exceptions.RedisError:
        # Redis is down, or stopped: another fault has it.
        return False


def _client(stage: Stage) -> Any:
    return cast(Any, stage.cluster.redis.client)


def _any(stage: Stage) -> Slot | None:
    living = stage.cluster.living()
    return stage.draw.choice(living) if living else None


def _kill(stage: Stage, slot: Slot) -> bool:
    stage.note_kill(slot)
    slot.ending = True
    return _signal(slot.process.pid, signal.SIGKILL)


def _stop(stage: Stage, slot: Slot, length_s: float, *, family: bool) -> bool:
    pids = [slot.process.pid, *(_pool_children(slot.process.pid) if family else ())]
    process = slot.process
    slot.stopped = True

    def go_on() -> None:
        for pid in pids:
            # Only we reap our worker, so its pid is its own; its children's are, while it is stopped.
            if process.poll() is None:
                _signal(pid, signal.SIGCONT)
        if slot.process is process:
            slot.stopped = False

    stage.later(length_s, go_on)
    return all([_signal(pid, signal.SIGSTOP) for pid in pids])


def _stop_while(stage: Stage, find: Callable[[Stage], Slot | None], length_s: float) -> bool:
    """Stop a worker while it holds something: only if it still does once it is stopped."""
    deadline = time.monotonic() + HUNT_S
    while time.monotonic() < deadline and not stage.released():
        slot = find(stage)
        if slot is None:
            continue
        slot.process.send_signal(signal.SIGSTOP)
        time.sleep(0.002)
        if find(stage) is slot:
            return _stop(stage, slot, length_s, family=False)
        slot.process.send_signal(signal.SIGCONT)
    return False


def _hunt(stage: Stage, find: Callable[[], Slot | None]) -> Slot | None:
    deadline = time.monotonic() + HUNT_S
    while time.monotonic() < deadline and not stage.released():
        slot = find()
        if slot is not None:
            return slot
    return None


def _holder_of_fence(stage: Stage) -> Slot | None:
    slots = {slot.process.pid: slot for slot in stage.cluster.slots if not slot.ending and slot.process.poll() is None}
    pid = fence_holder(stage.output, slots.keys())
    return None if pid is None or slots[pid].stopped else slots[pid]


def _holder_of_lock(stage: Stage) -> Slot | None:
    label = _client(stage).hget(keys.LOCK_PREFIX + keys.output_lock(stage.output.name), "label")
    return next((slot for slot in stage.cluster.living() if slot.label.encode() == label), None)


def _pool_children(pid: int) -> Collection[int]:
    """The processes of a worker's pool; not the helper that `multiprocessing` keeps beside them."""
    children = []
    for name in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            pids = [int(text) for text in name.read_text(encoding="utf-8").split()]
            children += [child for child in pids if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]
        except (FileNotFoundError, ProcessLookupError):
            continue
    return children


def _signal(pid: int, number: signal.Signals) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
