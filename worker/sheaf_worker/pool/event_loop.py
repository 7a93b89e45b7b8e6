"""One selector for all that a pool's children say, print and do, and a wakeup from any thread."""

from __future__ import annotations

import os
import selectors
from typing import NamedTuple

from sheaf_worker.pool.child_handle import ChildHandle


class Sound(NamedTuple):
    """Something of a child's that can be attended to without waiting."""

    child: ChildHandle
    #: Its sentinel, the pipe of its prints, or its channel; and what can be done with it.
    descriptor: int
    events: int


class EventLoop:
    """Everything but ring() belongs to one thread."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._notifier = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._selector.register(self._notifier, selectors.EVENT_READ)
        self._closed = False

    def ring(self) -> None:
        """Make a wait() return early. For any thread, and for signal handlers."""
        if not self._closed:
            os.eventfd_write(self._notifier, 1)

    def wait(self, timeout_s: float) -> list[Sound]:
        sounds = []
        for key, events in self._selector.select(timeout_s):
            if key.fd == self._notifier:
                os.eventfd_read(self._notifier)
            else:
                sounds.append(Sound(key.data, key.fd, events))
        return sounds

    def add(self, child: ChildHandle) -> None:
        """Hear of the child's end and of what it prints; of its channel only what `listen` says."""
        for descriptor in (child.sentinel, child.prints.descriptor):
            self._selector.register(descriptor, selectors.EVENT_READ, child)

    def listen(self, child: ChildHandle, *, deaf: bool) -> None:
        """Hear of its channel what is wanted of it now: that there is something to read, unless we are to be deaf to
        that, and that it takes more, if something waits to be sent.
        """
        wanted = (0 if deaf else selectors.EVENT_READ) | (selectors.EVENT_WRITE if child.channel.sending else 0)
        registered = self._selector.get_map().get(child.channel.descriptor)
        if registered is None:
            if wanted:
                self._selector.register(child.channel.descriptor, wanted, child)
        elif not wanted:
            self._selector.unregister(child.channel.descriptor)
        elif registered.events != wanted:
            self._selector.modify(child.channel.descriptor, wanted, child)

    def forget(self, *descriptors: int) -> None:
        """Hear nothing more of these, if anything was heard of them."""
        for descriptor in descriptors:
            if descriptor in self._selector.get_map():
                self._selector.unregister(descriptor)

    def close(self) -> None:
        self._closed = True
        self._selector.close()
        os.close(self._notifier)
