"""A child of a pool without a process: real pipes, slots and ring, whose other ends the test holds."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
from multiprocessing.connection import Connection
from typing import Any

from sheaf.run.items import Item
from sheaf.run.task_spec import TaskSpec
from sheaf_worker.pool.backlog import ItemBlock
from sheaf_worker.pool.child_handle import ChildHandle
from sheaf_worker.wire.channel import Channel, Message, TaskRun, decode
from sheaf_worker.wire.ring import RingReader, RingWriter
from sheaf_worker.wire.slots import SlotReader, SlotWriter, new_slots

RUN = TaskRun("run-1", TaskSpec("tasks_of_mine:act"), "out.jsonl")


def with_spec(program: TaskRun, **changes: Any) -> TaskRun:
    """The same with another task, or with other options and limits."""
    return program._replace(spec=dataclasses.replace(program.spec, **changes))


class Output:
    """Where what the child prints would come from."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor


class FakeProcess:
    """Never started: it can be killed and reaped, and has what the worker shares with a child."""

    def __init__(self) -> None:
        ours, self.theirs = multiprocessing.Pipe(duplex=True)
        shared = new_slots()
        self.channel = Channel(ours)
        self.slots, self.writer = SlotReader(shared), SlotWriter(shared)
        self.ring, memory = RingReader.create(1 << 16)
        self.put = RingWriter(memory).put
        self.pid = 0
        self.sentinel, self.end_of_process = os.pipe()
        output, self.print_to = os.pipe()
        self.stdout = Output(output)
        self.own_bytes, self.starved, self.exit_code = 0, 0.0, -9
        self.kills = 0

    def kill(self) -> None:
        self.kills += 1

    def reap(self) -> int:
        self.close()
        return self.exit_code

    def private_bytes(self) -> int:
        return self.own_bytes

    def starved_s(self) -> float:
        return self.starved

    def close(self) -> None:
        self.channel.close()
        self.theirs.close()
        for descriptor in (self.sentinel, self.end_of_process, self.stdout.descriptor, self.print_to):
            os.close(descriptor)


def make_child(number: int = 0) -> tuple[ChildHandle, Any]:
    process: Any = FakeProcess()
    return ChildHandle(number, process), process


def make_ready(child: ChildHandle, run: TaskRun = RUN, window: int = 0) -> ChildHandle:
    child.started()
    child.serve(run)
    child.ready(window, 1, False, None)
    return child


def block(*indexes: int) -> ItemBlock:
    return ItemBlock.of([Item(index, f"text {index}") for index in indexes])


def sent(theirs: Connection) -> list[Message]:
    """The messages that the child would read now."""
    messages = []
    while theirs.poll():
        messages.append(decode(theirs.recv_bytes()))
    return messages


def kinds(theirs: Connection) -> list[str]:
    return [message[0] for message in sent(theirs)]
