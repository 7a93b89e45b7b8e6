"""The commit protocol, small enough to be tried in every order of events: see `docs/proof-model.md`.

A record is two halves, so that an append can be torn. A transaction of the index is written to SQLite's log, synced,
published: killed in between, it is a ghost. `broken` leaves out a part of the protocol, by name.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from tests.model.world import (
    DONE,
    FAILED,
    HOLE,
    NONE,
    OPEN,
    Index,
    Worker,
    World,
    cell,
    is_whole,
    killed,
    name,
    put,
    written,
)


@dataclass(frozen=True, slots=True)
class Protocol:
    workers: int = 2
    items: int = 2
    #: Whether the power may be cut.
    power: bool = False
    #: Whether queue, leases and lock are modelled. Without, anybody may get any batch at any time, and as often.
    redis: bool = False
    broken: str = ""

    def initial(self) -> World:
        nothing = Index(0, (OPEN,) * self.items)
        none = (NONE,) * self.items
        queue = (int(self.redis),) * self.items
        idle = (Worker(),) * self.workers
        return World((), nothing, None, NONE, NONE, (), nothing, queue, none, NONE, (0,) * self.items, False, idle)

    # --- every step ----------------------------------------------------------------------------------------------

    def steps(self, world: World) -> Iterator[tuple[str, World, bool]]:
        for who, worker in enumerate(world.workers):
            for label, after in self._work(world, who, worker):
                yield f"worker {who} {label}", self._plain(after), True
            if worker.at != "idle" or worker.open:
                yield f"worker {who} is killed", self._plain(killed(world, who)), False
        if OPEN not in world.index.settled and not world.finished and world.fence == NONE:
            yield "the reconciler sees that all is settled", self._finish(world), True
        if self.redis:
            yield from self._redis(world)
        if self.power:
            for after in self._power_cut(world):
                yield "the power is cut", after, False

    def _plain(self, world: World) -> World:
        """Without power cuts, what is durable does not matter."""
        return world if self.power else world._replace(disk_file=(), disk_index=self.initial().disk_index)

    def _work(self, world: World, who: int, me: Worker) -> Iterator[tuple[str, World]]:
        def become(after: World, **fields: object) -> World:
            return after._replace(workers=put(after.workers, who, me._replace(**fields)))  # type: ignore[arg-type]

        if me.at == "idle":
            if not me.open:
                for label, after in self._connected(world, me):
                    yield f"reads the index{label}", become(after, open=True)
            for item in range(self.items):
                if not self.redis or world.queue[item]:
                    yield from self._claim(world, who, me, item)
        elif me.at == "ready":
            if world.lock == NONE:
                yield "gets the lock", become(world._replace(lock=who), at="turn")
            if self.broken != "lease as the only guard":
                yield "goes without the lock, as Redis is away", become(world, at="turn")
        elif me.at == "turn":
            yield from self._begin(world, who, me)
        elif me.at == "settled":
            freed = world._replace(
                lock=NONE if world.lock == who else world.lock,
                leases=put(world.leases, me.item, NONE) if world.leases[me.item] == who else world.leases,
                acknowledged=put(world.acknowledged, me.item, 1),
                finished=world.finished or me.ends,
            )
            yield (
                f"finishes the batch of {name(me.item)}",
                become(freed, at="idle", item=NONE, fails=False, ends=False),
            )
        else:
            yield from self._commit(world, who, me)
        if self.redis and me.item != NONE and world.leases[me.item] == NONE:
            kept = world._replace(leases=put(world.leases, me.item, who), queue=put(world.queue, me.item, 0))
            yield f"renews its lease of {name(me.item)}", kept

    def _claim(self, world: World, who: int, me: Worker, item: int) -> Iterator[tuple[str, World]]:
        taken = world._replace(queue=put(world.queue, item, 0)) if self.redis else world
        if world.leases[item] not in (NONE, who):
            yield f"drops the doubled {name(item)}", taken
            return
        leased = taken._replace(leases=put(world.leases, item, who)) if self.redis else taken
        ready = me._replace(at="ready" if self.redis else "turn", item=item)
        for fails in (False, True):
            outcome = "sees it fail" if fails else "has its record"
            after = leased._replace(workers=put(world.workers, who, ready._replace(fails=fails)))
            yield f"claims {name(item)} and {outcome}", after

    def _begin(self, world: World, who: int, me: Worker) -> Iterator[tuple[str, World]]:
        if world.fence != NONE and self.broken not in ("no fence", "lease as the only guard"):
            return
        for label, after in self._connected(world, me):
            turn = me._replace(at="fenced", open=True, seen=after.index)
            yield f"takes the fence{label}", after._replace(fence=who, workers=put(after.workers, who, turn))

    def _connected(self, world: World, me: Worker) -> Iterator[tuple[str, World]]:
        """The first to open the index brings a ghost to life; so may anybody, if it was half published. Who opens
        it syncs what it finds there, before trusting it."""
        choices = [("", world)]
        if world.ghost is not None and world.fence == NONE:
            revived = (" and revives a ghost", world._replace(index=world.ghost[0], ghost=None))
            alone = not any(worker.open for worker in world.workers)
            choices = [revived] if alone else [*choices, revived] if world.ghost[1] else choices
        for label, after in choices:
            if not me.open and self.broken != "no sync on take-over":
                ghost = (after.ghost[0], True) if after.ghost else None
                found = ghost[0] if ghost else after.index
                yield label, after._replace(ghost=ghost, disk_index=found, disk_file=after.file)
            else:
                yield label, after

    def _commit(self, world: World, who: int, me: Worker) -> Iterator[tuple[str, World]]:
        seen = me.seen
        assert seen is not None

        def become(after: World, at: str) -> World:
            seen_after = None if at in ("settled", "turn") else seen
            ends = at == "settled" and OPEN not in after.index.settled
            return after._replace(workers=put(after.workers, who, me._replace(at=at, seen=seen_after, ends=ends)))

        fence_given_back = world.fence if world.fence != who else NONE
        outcome = FAILED if me.fails else DONE
        after = Index(seen.length + (0 if me.fails else 2), put(seen.settled, me.item, outcome))
        if me.at == "fenced":
            yield from self._look(world, who, me, become, fence_given_back)
        elif me.at == "clean" and me.fails:
            durable = world.disk_file if self.broken == "cut not synced" else world.file
            yield "syncs the file", become(world._replace(disk_file=durable), "synced")
        elif me.at == "clean":
            half = f"{name(me.item)}1{who}"
            yield "appends half", become(written(world, seen.length, half)._replace(seal=NONE), "torn")
        elif me.at == "torn":
            half = f"{name(me.item)}2{who}"
            yield "appends the rest", become(written(world, seen.length + 1, half), "appended")
        elif me.at == "appended":
            synced = world if self.broken == "done before sync" else world._replace(disk_file=world.file)
            yield "syncs the file", become(synced, "synced")
        elif me.at == "synced":
            acknowledged = (
                put(world.acknowledged, me.item, 1) if self.broken == "ack before commit" else world.acknowledged
            )
            yield (
                "writes the log",
                become(world._replace(ghost=(after, False), seal=NONE, acknowledged=acknowledged), "logged"),
            )
        elif me.at == "logged":
            if self.broken == "ack before sync":
                yield "does not sync the log", become(world, "log synced")
            else:
                yield "syncs the log", become(world._replace(ghost=(after, True), disk_index=after), "log synced")
        elif me.at == "log synced":
            done = world._replace(index=after, ghost=None, fence=fence_given_back)
            yield "publishes the commit", become(done, "settled")

    def _look(self, world: World, who: int, me: Worker, become, fence_given_back: int) -> Iterator[tuple[str, World]]:  # type: ignore[no-untyped-def]
        seen = me.seen
        assert seen is not None
        if len(world.file) > seen.length and self.broken != "no truncate":
            if world.seal == who or self.broken == "no seal":
                file = world.file[: seen.length]
                synced = world.disk_file if self.broken == "cut not synced" else file
                yield "cuts the torn tail", world._replace(file=file, disk_file=synced)
            else:
                # A commit of its own: SQLite's log is written over, and the fence is given back.
                sealed = world._replace(ghost=None, disk_index=world.index, seal=who, fence=fence_given_back)
                yield "seals the index", become(sealed, "turn")
        elif seen.settled[me.item] != OPEN and self.broken != "no dedupe":
            yield f"finds {name(me.item)} settled", become(world._replace(fence=fence_given_back), "settled")
        elif self.broken == "lease as the only guard" and world.lock != who:
            yield "sees that its lease ran out", become(world._replace(fence=fence_given_back), "ready")
        else:
            yield "looks at the file", become(world, "clean")

    def _redis(self, world: World) -> Iterator[tuple[str, World, bool]]:
        for item, owner in enumerate(world.leases):
            if owner != NONE:
                yield (
                    f"the lease of {name(item)} runs out",
                    world._replace(leases=put(world.leases, item, NONE)),
                    True,
                )
            if not world.queue[item]:
                queued = world._replace(queue=put(world.queue, item, 1))
                if owner != NONE or world.index.settled[item] != OPEN:
                    yield f"{name(item)} is queued twice", queued, False
                elif self.broken != "no reconciler":
                    yield f"{name(item)} is put back on the queue", queued, True
        if world.lock != NONE:
            yield "the lock's lease runs out", world._replace(lock=NONE), True
        none = (NONE,) * self.items
        empty = world._replace(queue=(0,) * self.items, leases=none, lock=NONE)
        if empty != world:
            yield "Redis loses everything", empty, False

    def _finish(self, world: World) -> World:
        """A turn of the reconciler's own, in one step."""
        if self.broken == "no last look" or len(world.file) == world.index.length:
            return world._replace(finished=True)
        file = world.file[: world.index.length]
        sealed = world._replace(ghost=None, disk_index=world.index, seal=NONE)
        return self._plain(sealed._replace(finished=True, file=file, disk_file=file))

    def _power_cut(self, world: World) -> Iterator[World]:
        """Whatever was not synced may be there or not, half by half."""
        indexes = {world.disk_index}
        if world.ghost is None or not world.ghost[1]:
            # A log that is being written over may also have lost what was there.
            indexes |= {world.index, world.ghost[0] if world.ghost else world.index}
        files = {world.disk_file}
        length = max(len(world.file), len(world.disk_file))
        for kept in itertools.product((False, True), repeat=length):
            cells = [cell(world.file if new else world.disk_file, place) for place, new in enumerate(kept)]
            while cells and cells[-1] == "":
                cells.pop()
            files.add(tuple(cell or HOLE for cell in cells))
        for index, file in itertools.product(sorted(indexes), sorted(files)):
            yield world._replace(
                file=file, disk_file=file, index=index, disk_index=index, ghost=None, seal=NONE, fence=NONE,
                workers=(Worker(),) * self.workers,
            )  # fmt: skip

    # --- the promises ----------------------------------------------------------------------------------------------

    def wrong(self, world: World) -> str:
        length, settled = world.index
        records = [world.file[place : place + 2] for place in range(0, length, 2)]
        names = [record[0][0] for record in records if is_whole(record)]
        if len(world.file) < length or len(names) < len(records):
            return "(a) what the index calls committed is torn"
        if sorted(names) != [name(item) for item, state in enumerate(settled) if state == DONE]:
            return "(b) an item is not in exactly one committed record"
        if any(acknowledged and state == OPEN for acknowledged, state in zip(world.acknowledged, settled, strict=True)):
            return "a batch was finished, but its item is not settled"
        if world.finished and len(world.file) > length:
            return "(e) the run is finished, and the file ends in a torn record"
        return ""

    def wrong_step(self, before: World, after: World) -> str:
        length = before.index.length
        if after.index.length < length:
            return "(d) the committed length went down"
        if after.file[:length] != before.file[:length]:
            return "(e) committed bytes changed under a reader"
        return ""

    def complete(self, world: World) -> bool:
        """Everything settled once, no worker busy, nothing queued or leased."""
        return (
            world.finished
            and OPEN not in world.index.settled
            and not any(world.queue)
            and world.lock == NONE
            and set(world.leases) == {NONE}
            and all(worker.at == "idle" for worker in world.workers)
            and len(world.file) == world.index.length
        )

    def show(self, world: World) -> str:
        settled = "".join("-+x"[state] for state in world.index.settled)
        ghost = f" ghost:L={world.ghost[0].length}" if world.ghost else ""
        workers = " ".join(f"{who}:{worker.at}" for who, worker in enumerate(world.workers))
        return f"file=[{' '.join(world.file)}] L={world.index.length} settled={settled}{ghost} | {workers}"
