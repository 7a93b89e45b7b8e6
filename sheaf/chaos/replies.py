"""A proxy in front of Redis that knows requests by name and replies as a whole, and can put others in their place.

It speaks Redis's protocol: requests may come many at once, and each reply belongs to the request before it.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import socket
import threading
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from sheaf.broker.redis_library import STEPS, function_name

#: A step's name, by its script's digest and by its function's name.
SCRIPTS = {hashlib.sha1(step.text.encode(), usedforsecurity=False).hexdigest(): name for name, step in STEPS.items()}
SCRIPTS |= {function_name(name): name for name in STEPS}
#: What Redis can answer to anything, on a bad day.
REFUSALS = {
    "BUSY": b"-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.\r\n",
    "LOADING": b"-LOADING Redis is loading the dataset in memory\r\n",
    "MISCONF": b"-MISCONF Errors writing to the AOF file: No space left on device\r\n",
    "OOM": b"-OOM command not allowed when used memory > 'maxmemory'.\r\n",
    "READONLY": b"-READONLY You can't write against a read only replica.\r\n",
    "NOPERM": b"-NOPERM this user has no permissions to run this command\r\n",
    "NOAUTH": b"-NOAUTH Authentication required.\r\n",
    "NOSCRIPT": b"-NOSCRIPT No matching script. Please use EVAL.\r\n",
    "EXECABORT": b"-EXECABORT Transaction discarded because of previous errors.\r\n",
    "WRONGTYPE": b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
}
#: Replies of other kinds than what was asked for, and no replies at all.
WRONG_KINDS = {
    "nil": b"$-1\r\n",
    "no list": b"*-1\r\n",
    "number": b":7\r\n",
    "negative number": b":-9007199254740993\r\n",
    "text": b"$5\r\nhello\r\n",
    "not UTF-8": b"$4\r\n\xff\xfe\xfd\xfc\r\n",
    "empty text": b"$0\r\n\r\n",
    "empty list": b"*0\r\n",
    "list of lists": b"*2\r\n*1\r\n:1\r\n$1\r\nx\r\n",
    "long list": b"*9\r\n" + b"$3\r\nabc\r\n" * 9,
}
#: The last two leave the connection as it is, but for the reply: half of it comes, or nothing ever does.
BREAKS = {
    "nonsense": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "MAXCLIENTS": b"-ERR max number of clients reached\r\n",
    "closed": b"",
    "cut": b"",
    "silence": b"",
}
FAULTS = REFUSALS | WRONG_KINDS | BREAKS


@dataclass(slots=True)
class ReplyRule:
    """Which reply is replaced, and by what."""

    request: str
    fault: str
    after: int = 0
    times: int | None = 1
    struck: int = 0
    _passed: int = 0

    def strikes(self, request: str) -> bool:
        if request != self.request:
            return False
        self._passed += 1
        if self._passed <= self.after or (self.times is not None and self.struck >= self.times):
            return False
        self.struck += 1
        return True


def name_of(words: list[bytes]) -> str:
    """A request's name: its command; a script's or function's name, with what it is for where that matters."""
    first = words[0].decode(errors="replace").upper()
    if first in ("EVALSHA", "FCALL", "FCALL_RO"):
        key = words[3].decode(errors="replace") if len(words) > 3 and words[2] != b"0" else ""
        which = " reconciler" if ":lock:" in key and key.endswith("reconciler") else ""
        called = words[1].decode(errors="replace")
        return SCRIPTS.get(called, "script") + which
    if first in ("CLIENT", "SCRIPT", "FUNCTION"):
        return f"{first} {words[1].decode(errors='replace').upper()}"
    key = words[1].decode(errors="replace") if len(words) > 1 else ""
    return f"{first} {':'.join(re.sub(r'.*[0-9].*', '*', part) for part in key.split(':')[:2])}".strip()


class ReplyProxy:
    """One thread for each direction of each connection."""

    def __init__(self, server_url: str) -> None:
        self._path = server_url.removeprefix("unix://")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"
        self._lock = threading.Lock()
        self.rule: ReplyRule | None = None
        self._names: Counter[str] = Counter()
        threading.Thread(target=self._accept, daemon=True).start()

    def seen(self) -> Counter[str]:
        """The requests since this was last asked."""
        with self._lock:
            names, self._names = self._names, Counter()
        return names

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(self._path)
            except OSError:
                client.close()
                continue
            waiting: deque[str] = deque()
            for target in (self._pass_requests, self._pass_replies):
                threading.Thread(target=target, args=(client, server, waiting), daemon=True).start()

    def _pass_requests(self, client: socket.socket, server: socket.socket, waiting: deque[str]) -> None:
        with contextlib.suppress(OSError, ValueError, EOFError):
            for raw in _values(client):
                name = name_of(_words(raw))
                with self._lock:
                    self._names[name] += 1
                waiting.append(name)
                server.sendall(raw)
        _end(client, server)

    def _pass_replies(self, client: socket.socket, server: socket.socket, waiting: deque[str]) -> None:
        with contextlib.suppress(OSError, ValueError, EOFError):
            for raw in _values(server):
                # What is pushed to who listens for messages belongs to no request.
                name = waiting.popleft() if waiting else "message"
                with self._lock:
                    rule = self.rule if self.rule is not None and self.rule.strikes(name) else None
                if rule is None:
                    client.sendall(raw)
                elif not _put_in_its_place(client, raw, rule.fault):
                    break
        _end(client, server)


def _put_in_its_place(client: socket.socket, reply: bytes, fault: str) -> bool:
    """Send something else; False if that is the end of the connection."""
    if fault == "silence":
        return True
    client.sendall(reply[: len(reply) // 2] if fault == "cut" else FAULTS[fault])
    return fault not in ("cut", "closed", "MAXCLIENTS")


def _end(client: socket.socket, server: socket.socket) -> None:
    for each in (client, server):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        each.close()


def _values(source: socket.socket) -> Iterator[bytes]:
    """Yield each value of the protocol, with all that is in it, as the bytes that it came as."""
    with source.makefile("rb") as stream:
        while True:
            yield b"".join(_value(stream))


def _value(stream: IO[bytes]) -> Iterator[bytes]:
    line = stream.readline()
    if not line:
        raise EOFError
    yield line
    kind, counted = line[:1], line[1:]
    if kind in b"$=!" and int(counted) >= 0:
        yield stream.read(int(counted) + 2)
    elif kind in b"*~>%":
        for _ in range(int(counted) * (1 + (kind == b"%"))):
            yield from _value(stream)


def _words(request: bytes) -> list[bytes]:
    """The words of a request, which is a list of texts."""
    words, position = [], request.index(b"\r\n") + 2
    while position < len(request):
        end = request.index(b"\r\n", position)
        length = int(request[position + 1 : end])
        words.append(request[end + 2 : end + 2 + length])
        position = end + 4 + length
    return words
