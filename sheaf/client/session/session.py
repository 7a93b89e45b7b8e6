"""A program's session: sends its streams off segment by segment; what came of them is brought back by the receiver.

    streams ──► sender: a segment, as a run on the volume ──► known to the output's index ──► queue (step 2)
       ▲                                                                                          workers
       └── receiver: reads by the index ◄── "committed" (pub/sub; without Redis it looks by itself) ◄──┘

No item is kept in memory while it is out, and what was read is removed from the volume. A program that dies leaves a
folder that the next session's start sweeps away.
"""

from __future__ import annotations

import atexit
import logging
import os
import secrets
import threading
import time

from sheaf.broker.connection import connect
from sheaf.broker.queue import BatchQueue
from sheaf.client.session.capacity import Capacity
from sheaf.client.session.receiver import Receiver, withdraw
from sheaf.client.session.result_files import ResultFiles
from sheaf.client.session.results import Segment
from sheaf.client.session.stream import Stream, broken_by
from sheaf.core.errors import ClusterError, SheafError
from sheaf.core.settings import Settings
from sheaf.run import sessions
from sheaf.run.run import Manifest, RunWriter

logger = logging.getLogger(__name__)

#: While the workers have other segments of a stream, one that is not full waits this long for more items.
LINGER_S = 0.005
#: Seconds between two looks of the sender and the receiver at each other.
WATCH_S = 1.0
#: Per segment that may be out, how many may have come back with results that were not read yet.
HELD_FACTOR = 4


class Session:
    """`add`, `wake`, `cancel` and `close` are for any thread."""

    def __init__(self, settings: Settings, *, keep: bool) -> None:
        self.name = f"session-{time.strftime('%Y%m%d%H%M%S', time.gmtime())}{secrets.token_hex(4)}"
        self._settings = settings
        self._keep = keep
        self._pid = os.getpid()
        self._connection = connect(settings)
        self._queue = BatchQueue(self._connection)
        self.capacity = Capacity(settings, self._queue)
        self.capacity.check()
        self._folder, self._owner = sessions.create_session(settings.data_dir, self.name)
        self._result_files = ResultFiles(settings.data_dir, self._folder)
        self._streams: list[Stream] = []
        #: What went wrong for good; None while all is well.
        self.broken: ClusterError | None = None
        #: Streams whose next segment is not full, and since when it has waited for more.
        self._lingering: dict[int, float] = {}
        self._work = threading.Event()
        self._closed = False
        self._number = 0
        self._receiver = Receiver(
            self.name, self._connection, self._queue, self.capacity, settings.tasks_dir, self.wake, self._break,
            lambda: self._watch(self._sender),
        )  # fmt: skip
        self._receiver.cleanup.keep = keep
        self._sender = threading.Thread(target=self._send_all, name="sheaf-sender", daemon=True)
        self._receiver.start()
        self._sender.start()
        atexit.register(self.close)

    def add(self, stream: Stream) -> None:
        """From now on, send off what this stream has."""
        self._streams.append(stream)
        if self.broken is not None:
            self._end_streams(self.broken)
        self.wake()

    def wake(self) -> None:
        """A stream has something to send, or room for it."""
        if not self._work.is_set():
            self._work.set()

    def cancel(self, stream: Stream) -> None:
        """The stream's results are no longer wanted."""
        if stream in self._streams:
            self._streams.remove(stream)
        self._receiver.cancel(stream)

    def loose_ends(self) -> list[str]:
        """What the program has most likely forgotten, if it closes now."""
        return [said for stream in list(self._streams) if (said := stream.loose_ends()) is not None]

    def close(self) -> None:
        """End the session. What is still out comes to nothing."""
        # What a program has forked is not the one that began it.
        if self._closed or os.getpid() != self._pid:
            return
        self._closed = True
        atexit.unregister(self.close)
        self._work.set()
        self._sender.join()
        self._receiver.close()
        out = list(self._receiver.out.values())
        if out:
            withdraw(self._queue, out)
        self._end_streams(ClusterError("the cluster object was closed before this was done"))
        self._result_files.close()
        self._queue.close()
        self._connection.close()
        if self._keep:
            sessions.keep_session(self._folder)
        else:
            sessions.remove_session(self._folder)
        os.close(self._owner)

    def _end_streams(self, error: Exception) -> None:
        streams, self._streams = self._streams, []
        for stream in streams:
            stream.end(error)

    def _break(self, error: BaseException) -> None:
        """A thread of ours cannot go on: waiting and later callers have to know."""
        if self.broken is None:
            self.broken = broken_by(error)
        self._end_streams(self.broken)

    def _watch(self, thread: threading.Thread) -> None:
        """Break the session if that thread of ours has ended, by whatever it could not tell of any more."""
        ended = thread.ident is not None and not thread.is_alive()
        if ended and not self._closed and self.broken is None:
            self._break(RuntimeError(f"the thread {thread.name!r} has ended"))

    # --- the sender's thread ---

    def _send_all(self) -> None:
        try:
            self._send_until_closed()
        except BaseException as error:  # noqa: BLE001 - passed on to all who wait
            self._break(error)

    def _send_until_closed(self) -> None:
        while not self._closed:
            self._work.wait(LINGER_S if self._lingering else WATCH_S)
            self._work.clear()
            self._watch(self._receiver)
            while self._send_round() and not self._closed:
                pass

    def _send_round(self) -> bool:
        """Send off at most one segment of each stream; return whether there was any."""
        lingering, self._lingering = self._lingering, {}
        return any([self._send(stream, lingering.get(id(stream))) for stream in list(self._streams)])

    def _send(self, stream: Stream, waits_since: float | None) -> bool:
        """Send off one segment of a stream, if it has one and it is time; return whether it did."""
        if not self._may_send(stream, waits_since):
            return False
        lines = stream.take()
        if not lines:
            return False
        first = stream.sent
        try:
            segment = self._write(stream, lines)
        except (SheafError, OSError) as error:
            stream.fail(error, first)
            return False
        stream.sent += len(lines)
        self._receiver.out[segment.name] = segment
        manifest = segment.run.manifest
        try:
            self._queue.put(manifest.batch(number) for number in range(manifest.batches))
        except ClusterError as error:
            # It is on the volume: the workers find it there.
            logger.debug(
                "could not queue a segment; workers will find it on the volume",
                extra={"action": "put", "why": str(error)},
            )
        return True

    def _may_send(self, stream: Stream, waits_since: float | None) -> bool:
        waiting = stream.waiting
        if not waiting:
            return False
        out = sum(segment.stream is stream for segment in list(self._receiver.out.values()))
        if out >= self.capacity.ahead or stream.held >= HELD_FACTOR * self.capacity.ahead:
            return False
        if out > 1 and waiting < stream.sizer.size:
            since = self._lingering[id(stream)] = waits_since or time.monotonic()
            return time.monotonic() - since >= LINGER_S
        return True

    def _write(self, stream: Stream, lines: list[str]) -> Segment:
        """Write the segment's run and make it known to its output."""
        self._number += 1
        name = f"{self.name}-{self._number}"
        file = self._result_files.next()
        writer = RunWriter(self._settings.data_dir, name)
        sessions.share_folder(writer.folder)
        writer.add_all(lines)
        manifest = Manifest(
            run=name,
            spec=stream.target.spec,
            output=file.name,
            items=len(lines),
            batch_size=-(-len(lines) // self.capacity.workers),
            fingerprint="",
            created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            source=self.name,
            session=self.name,
            durable=False,
        )
        self._result_files.register(manifest)
        return Segment(stream, writer.publish(manifest), file, stream.sent, time.monotonic())
