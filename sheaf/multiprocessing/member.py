"""A process of a program, as what is shared sees it: who it is, how it takes steps, waits, and sends values."""

from __future__ import annotations

import contextlib
import enum
import math
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import redis

from sheaf.broker import keys
from sheaf.broker.connection import redis_errors
from sheaf.core.errors import ClusterError, ProgramEnded, SheafError
from sheaf.core.waits import waiting
from sheaf.multiprocessing.closing import Closing
from sheaf.multiprocessing.listener import Listener
from sheaf.multiprocessing.steps import Client, Steps, patiently
from sheaf.multiprocessing.transit import Packed, Transit

#: Seconds that a waiter sleeps at most before it looks by itself.
LOOK_S = 1.0
#: Values of more bytes are not put into a queue or pipe, but beside it: as arguments and answers of a step they would
#: be copied several times. From this size on that is faster, although it takes more commands (1 MB: 4 ms, not 9).
LARGE_BYTES = 128 << 10
#: Milliseconds after which a large value expires that was not put after all, or was taken and not fetched.
_LARGE_EXPIRES_MS = 600_000

#: The process that began the program.
MAIN = "0"


class Mode(enum.StrEnum):
    """What a step does when it is to answer "not now"."""

    #: Nothing.
    TRY = "try"
    #: It puts the client on the list of those who wait.
    WAIT = "wait"
    #: It takes the client off that list.
    LAST = "last"


#: A step that can be tried again: None means "not now".
Attempt = Callable[[Client, Mode], Any]


class Member:
    """What every shared object of a process holds. Threads may share it."""

    def __init__(self, connection: redis.Redis, program: str, process: str = MAIN) -> None:
        self.connection = connection
        self.program, self.process = program, process
        self.steps = Steps(connection, program, process)
        self.listener = Listener(connection, program, process)
        #: How values travel: `sheaf.values`, with the references of this member.
        self.encode: Callable[[Any], bytes] = _no_codec
        self.decode: Callable[[bytes], Any] = _no_codec
        self.transit = Transit(self.steps)
        self.closing = Closing()

    def use(self, encode: Callable[[Any], bytes], decode: Callable[[bytes], Any]) -> None:
        self.encode, self.decode = encode, decode

    def key(self, name: str) -> str:
        return keys.of_program(self.program, name)

    def new_object(self) -> str:
        """An object's name, which no other has."""
        return secrets.token_hex(8)

    @property
    def owner(self) -> str:
        """This thread of this process, which is who owns a lock."""
        return f"{self.process}/{self.steps.incarnation}.{threading.get_ident()}"

    def pack(self, value: Any, to: str | None = None) -> Packed:
        """The value as bytes, for one process or for the first that takes it.

        Ends of pipes inside it are open on their way; call `undo()` if it is not sent after all.
        """
        return self.transit.pack(self.encode, value, to)

    def unpack(self, data: bytes) -> Any:
        return self.decode(data)

    @contextlib.contextmanager
    def stored(self, data: bytes) -> Iterator[bytes]:
        """The entry for these bytes in a queue or pipe, to be put there inside the block."""
        if len(data) <= LARGE_BYTES:
            yield b"v" + data
            return
        name = self.key(keys.MP_VALUE + secrets.token_hex(8))
        self.steps("mp_room", (), [name, _LARGE_EXPIRES_MS])
        try:
            # Only where there is room: not where the program has ended meanwhile.
            if not patiently(lambda: self._command("set", name, data, xx=True, px=_LARGE_EXPIRES_MS)):
                raise ProgramEnded(f"the program {self.program} has ended, and all that it shared was removed")
            yield b"k" + name.encode()
        except BaseException:
            self._remove(name)
            raise

    def fetched(self, entry: bytes) -> bytes:
        """The bytes of an entry that was taken out of a queue or pipe."""
        if entry[:1] == b"v":
            return entry[1:]
        name = entry[1:].decode()
        data: bytes | None = patiently(lambda: self._command("get", name))
        if data is None:
            raise ProgramEnded("a value was removed before it was fetched: Redis was emptied, or ten minutes went by")
        self._remove(name)
        return data

    def until(
        self,
        attempt: Attempt,
        names: Iterable[str],
        timeout: float | None,
        client: Client | None = None,
        give_up: Callable[[Client], None] | None = None,
    ) -> Any:
        """Try until it can be done; None: it could not be in time. A timeout of 0 or less tries once.

        `give_up` is called with the client when an exception ends it (Ctrl-C): its last request may have been done.
        """
        with contextlib.nullcontext(client) if client else self.steps.client() as used:
            try:
                answer = attempt(used, Mode.TRY)
                if answer is not None or (timeout is not None and timeout <= 0):
                    return answer
                return self._wait(attempt, names, math.inf if timeout is None else timeout, used)
            except ClusterError:
                # Another step would fail in the same way.
                raise
            except BaseException:
                if give_up is not None:
                    with contextlib.suppress(SheafError):
                        give_up(used)
                raise

    def _wait(self, attempt: Attempt, names: Iterable[str], timeout_s: float, client: Client) -> Any:
        deadline = time.monotonic() + timeout_s
        with self.listener.waiting(names) as wakeup, waiting:
            while True:
                wakeup.clear()
                if time.monotonic() >= deadline:
                    return attempt(client, Mode.LAST)
                answer = attempt(client, Mode.WAIT)
                if answer is not None:
                    return answer
                wakeup.wait(max(0.0, min(deadline - time.monotonic(), LOOK_S)))

    def close(self) -> None:
        self.closing.close()
        self.listener.close()

    def _command(self, command: str, *arguments: Any, **options: Any) -> Any:
        with redis_errors():
            return getattr(self.connection, command)(*arguments, **options)

    def _remove(self, name: str) -> None:
        """A large value that is not needed any more. It expires if that fails."""
        with contextlib.suppress(Exception):
            self._command("unlink", name)
            self._command("srem", self.key(keys.MP_KEYS), name)


def _no_codec(_: Any) -> Any:
    raise RuntimeError("this member has no codec yet: call use()")
