"""A web server for tests that does exactly what a test says, down to the byte. One thread per connection."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

#: A piece of an answer: bytes to send, seconds to wait, or None to close the connection.
AnswerPart = bytes | float | None
Answer = Callable[[bytes], Iterator[AnswerPart]]


def answer(body: bytes = b"", status: str = "200 OK", **headers: str) -> Answer:
    """An ordinary answer; `content_type` becomes Content-Type."""
    lines = [f"{name.replace('_', '-').title()}: {value}" for name, value in headers.items()]
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *lines, "", ""]).encode("latin-1")
    return raw(head + body)


def raw(*pieces: AnswerPart) -> Answer:
    def reply(request: bytes) -> Iterator[AnswerPart]:
        yield from pieces

    return reply


def in_turn(*answers: Answer) -> Answer:
    """The first answer to the first request, and so on; the last one for all that follow."""
    remaining = list(answers)

    def reply(request: bytes) -> Iterator[AnswerPart]:
        return (remaining.pop(0) if len(remaining) > 1 else remaining[0])(request)

    return reply


class WebServer:
    """Serves `routes` (path to answer) until closed; `requests` holds the heads received, byte by byte."""

    def __init__(self, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
        self.routes: dict[str, Answer] = {}
        self.requests: list[bytes] = []
        self.connections = 0
        self._tls = tls
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server((host, 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://{'localhost' if tls else host}:{self.port}"
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def __enter__(self) -> WebServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._sockets:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                self._sockets.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as open_sockets:
            open_sockets.enter_context(connection)
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
                open_sockets.enter_context(connection)
                connection.do_handshake()
            if isinstance(connection, ssl.SSLSocket) and connection.selected_alpn_protocol() == "h2":
                _serve_h2(connection)
                return
            waiting = b""
            while True:
                while b"\r\n\r\n" not in waiting:
                    received = connection.recv(65536)
                    if not received:
                        return
                    waiting += received
                head, _, waiting = waiting.partition(b"\r\n\r\n")
                if not self._reply(connection, head + b"\r\n\r\n"):
                    return

    def _reply(self, connection: socket.socket, request: bytes) -> bool:
        self.requests.append(request)
        path = request.split(b" ", 2)[1].decode()
        for piece in self.routes.get(path, answer(b"no such page", "404 Not Found"))(request):
            if piece is None:
                return False
            if isinstance(piece, float):
                time.sleep(piece)
            else:
                connection.sendall(piece)
        return True


def _serve_h2(connection: ssl.SSLSocket) -> None:
    """Answer every HTTP/2 request with status 200, `server: sheaf` and the body `two`."""
    with connection.makefile("rb") as stream:
        stream.read(len(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
        connection.sendall(_frame(4, 0, 0, b""))
        while header := stream.read(9):
            length, kind, flags, number = (
                int.from_bytes(header[:3], "big"),
                header[3],
                header[4],
                int.from_bytes(header[5:9], "big"),
            )
            stream.read(length)
            if kind == 4 and not flags & 1:
                connection.sendall(_frame(4, 1, 0, b""))
            if kind == 1:
                # HPACK: 0x88 is `:status: 200`; 0x0f 0x27 is a literal with the static name 54, `server`.
                connection.sendall(_frame(1, 4, number, b"\x88\x0f\x27\x05sheaf") + _frame(0, 1, number, b"two"))


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def tls_context(folder: Path, *protocols: str) -> tuple[ssl.SSLContext, Path]:
    """Make a certificate for `localhost` without an authority; return a server's context and the certificate."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"]
    subprocess.run(
        ["openssl", "req", "-x509", *curve, *name, "-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context, certificate
