"""What tests of several kinds need: a real redis-server of their own, and a proxy that loses replies."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import redis

from sheaf.broker.connection import connect
from sheaf.broker.redis_library import library_name
from sheaf.core.settings import Settings


class RedisServer:
    """A redis-server on a private unix socket, with an append-only file: a `kill()` loses a second at most."""

    def __init__(self, program: Path) -> None:
        self._program = program
        # Not pytest's folder: the path of a unix socket must be shorter than 108 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="sheaf-redis-"))
        self.socket = self.folder / "redis.sock"
        self.url = f"unix://{self.socket}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            [
                self._program,
                *("--port", "0", "--unixsocket", str(self.socket), "--dir", str(self.folder)),
                *("--save", "", "--appendonly", "yes", "--appendfsync", "everysec", "--daemonize", "no"),
            ],
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 60
        while True:
            try:
                with self.client() as client:
                    client.ping()
                return
            except redis.exceptions.ConnectionError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise
                time.sleep(0.02)

    def kill(self) -> None:
        """kill -9."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def client(self) -> redis.Redis:
        """A client such as the project's own processes make."""
        return connect(Settings(redis_url=self.url))


class ForeignServer:
    """A server that was started elsewhere, at SHEAF_TEST_REDIS_URL. The tests empty it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def client(self) -> redis.Redis:
        return connect(Settings(redis_url=self.url))


class ReplyLosingProxy:
    """Sits between clients and Redis, and loses a reply when asked to, as a broken network does."""

    def __init__(self, server_url: str) -> None:
        self._server_url = server_url
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"
        self._word: bytes | None = None
        #: How many replies were lost so far.
        self.lost = 0
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def lose(self, word: str) -> None:
        """Let the next request that holds `word` reach Redis, and close the connection when its reply comes."""
        self._word = word.encode()

    def lose_step(self) -> None:
        """The same for the next atomic step: a function where Redis has been given ours, else a script."""
        with connect(Settings(redis_url=self._server_url)) as client:
            server: Any = client.info("server")
            functions = int(server["redis_version"].split(".")[0]) >= 7 and client.function_list(library_name())
        self.lose("FCALL" if functions else "EVALSHA")

    def client(self) -> redis.Redis:
        return connect(Settings(redis_url=self.url))

    def close(self) -> None:
        for open_socket in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                open_socket.shutdown(socket.SHUT_RDWR)
            open_socket.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = self._connect()
            self._sockets += [client, server]
            losing = threading.Event()
            threading.Thread(target=self._requests, args=(client, server, losing), daemon=True).start()
            threading.Thread(target=self._replies, args=(client, server, losing), daemon=True).start()

    def _connect(self) -> socket.socket:
        scheme, _, rest = self._server_url.partition("://")
        if scheme == "unix":
            server = socket.socket(socket.AF_UNIX)
            server.connect(rest)
            return server
        host, _, port = rest.partition("/")[0].partition(":")
        return socket.create_connection((host, int(port or 6379)))

    def _requests(self, client: socket.socket, server: socket.socket, losing: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(1 << 20):
                if self._word is not None and self._word in data:
                    self._word = None
                    losing.set()
                server.sendall(data)

    def _replies(self, client: socket.socket, server: socket.socket, losing: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(1 << 20):
                if losing.is_set():
                    self.lost += 1
                    client.shutdown(socket.SHUT_RDWR)
                    server.shutdown(socket.SHUT_RDWR)
                    return
                client.sendall(data)
