"""A proxy between a cluster and its Redis that knows every request by name, and loses the reply to one of them."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from sheaf.chaos.replies import SCRIPTS
from tests.support import ReplyLosingProxy


def name_of(request: bytes) -> str:
    """A request's name: its commands, a script's name with the first key it is for."""
    words = [word for word in request.split(b"\r\n") if word[:1] not in (b"*", b"$")]
    first = words[0].decode(errors="replace").upper()
    if first in ("EVALSHA", "FCALL", "FCALL_RO"):
        key = words[3].decode() if words[2] != b"0" else ""
        which = key.rpartition(":")[2] if ":lock:" in key and key.endswith("reconciler") else ""
        return f"{SCRIPTS.get(words[1].decode(), 'script')} {which}".strip()
    if first == "MULTI":
        return "MULTI " + ("enqueue" if b"RPUSH" in words else words[1].decode(errors="replace"))
    if first in ("CLIENT", "SCRIPT"):
        return f"{first} {words[1].decode(errors='replace')}"
    return first if first.isalpha() else "rest of a request"


class CountingProxy(ReplyLosingProxy):
    """Counts requests by name. `lose_when()` chooses the one whose reply is lost."""

    def __init__(self, server_url: str) -> None:
        self._guard = threading.Lock()
        self._chosen: Callable[[str, int], bool] | None = None
        self.names: Counter[str] = Counter()
        self.requests = 0
        #: The request whose reply was lost last.
        self.lost_name = ""
        super().__init__(server_url)

    def lose_when(self, chosen: Callable[[str, int], bool] | None) -> None:
        """Count from 1 again, and lose the reply to the first request, (name, how manieth), that is chosen."""
        with self._guard:
            self._chosen, self.requests, self.lost, self.lost_name = chosen, 0, 0, ""
            self.names.clear()

    def _requests(self, client: socket.socket, server: socket.socket, losing: threading.Event) -> None:
        with suppress(OSError):
            while data := client.recv(1 << 20):
                name = name_of(data)
                with self._guard:
                    self.names[name] += 1
                    self.requests += 1
                    if self._chosen is not None and self._chosen(name, self.requests):
                        self._chosen, self.lost_name = None, name
                        losing.set()
                server.sendall(data)
