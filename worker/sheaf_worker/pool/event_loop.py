"""One selector for the pipes, the output and the end of a pool's children, with a wakeup for any thread."""

from __future__ import annotations

import os
import selectors
from typing import NamedTuple

from sheaf_worker.pool.child_handle import ChildHandle


class Event(NamedTuple):
    """A descriptor of a child that is ready."""

    child: ChildHandle
    #: Its sentinel, its stdout or its channel.
    descriptor: int
    #: EVENT_READ, EVENT_WRITE.
    events: int


class EventLoop:
    """Everything but wake() belongs to one thread."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._notifier = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._selector.register(self._notifier, selectors.EVENT_READ)
        self._closed = False

    def wake(self) -> None:
        """Make a wait() return early. For any thread, and for signal handlers."""
        if not self._closed:
            os.eventfd_write(self._notifier, 1)

    def wait(self, timeout_s: float) -> list[Event]:
        ready = []
        for key, events in self._selector.select(timeout_s):
            if key.fd == self._notifier:
                os.eventfd_read(self._notifier)
            else:
                ready.append(Event(key.data, key.fd, events))
        return ready

    def add(self, child: ChildHandle) -> None:
        """Watch the child's end and its output; its channel only as `listen` says."""
        for descriptor in (child.sentinel, child.stdout.descriptor):
            self._selector.register(descriptor, selectors.EVENT_READ, child)

    def listen(self, child: ChildHandle, *, read: bool) -> None:
        """Watch its channel: for messages if `read`, and for room if unsent messages are queued."""
        wanted = (selectors.EVENT_READ if read else 0) | (selectors.EVENT_WRITE if child.channel.sending else 0)
        registered = self._selector.get_map().get(child.channel.descriptor)
        if registered is None:
            if wanted:
                self._selector.register(child.channel.descriptor, wanted, child)
        elif not wanted:
            self._selector.unregister(child.channel.descriptor)
        elif registered.events != wanted:
            self._selector.modify(child.channel.descriptor, wanted, child)

    def forget(self, *descriptors: int) -> None:
        """Stop watching these, if they are watched."""
        for descriptor in descriptors:
            if descriptor in self._selector.get_map():
                self._selector.unregister(descriptor)

    def close(self) -> None:
        self._closed = True
        self._selector.close()
        os.close(self._notifier)
