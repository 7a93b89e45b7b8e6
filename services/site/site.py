"""A small, fast, predictable web site for the demo, the tests and the benchmarks. Standard library only.

    python services/site/site.py --port 8000          serve; --port 0 --port-file F: take a free port, write it to F
    python services/site/site.py --print-urls 5000    print a list of pages, and end

    /page/<n>           an HTML page, 2 to 300 KB, 30 KB on average: the same bytes for the same n and --seed
    /urls?count=N       a list of N such addresses, from `first=` on; any other option is passed on to each address
    /sums?count=N       "<n> <SHA-256> <size>" of each page, to check what was fetched
    /stats?pages=N      requests and bytes served so far, and how often each of the first N pages was asked for
    /health             "ok"

A page's behaviour is chosen in its address; options may be combined:
    ?latency=250        wait this many milliseconds before the answer
    ?slow=20000         send this many bytes a second
    ?status=503         answer with this status; `&times=2`: only the first two times, then the page
    ?redirect=3         redirect to itself this many times before the page comes
    ?gzip=1  ?chunked=1 the body's encodings

Keep-alive, pipelining and HEAD are served. Answers carry no date, so that they are the same each time.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

from answers import Reply, Site, url_list
from pages import Counts, Pages

#: A request's head may be this long; a longer one ends the connection.
LONGEST_HEAD = 64 * 1024
#: A slow answer goes out in steps of this many seconds.
TICK_S = 0.05


class Connection(asyncio.Protocol):
    """One client. Requests are answered in order: the next one waits for a late answer, or for a slow reader."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._received = b""
        self._full = False
        self._late: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  tells the type checker what asyncio promises
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio's signature
        if self._late is not None:
            self._late.cancel()

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._transport.resume_reading()
        self._answer()

    def data_received(self, data: bytes) -> None:
        self._received += data
        self._answer()
        if len(self._received) > LONGEST_HEAD:
            if self._full or self._late is not None:
                self._transport.pause_reading()
            else:
                self._transport.close()

    def _answer(self) -> None:
        while self._received and not self._full and self._late is None and not self._transport.is_closing():
            head, end, rest = self._received.partition(b"\r\n\r\n")
            if not end:
                return
            self._received = rest
            self._answer_one(head.decode("latin-1"))

    def _answer_one(self, head: str) -> None:
        line, _, fields = head.partition("\r\n")
        method, _, rest = line.partition(" ")
        target, _, version = rest.partition(" ")
        lowered = fields.lower()
        # A request's body is never read: what follows such a request could be taken for another one.
        has_body = "content-length:" in lowered or "transfer-encoding:" in lowered
        close = has_body or version != "HTTP/1.1" or "connection: close" in lowered
        try:
            reply = (
                self._site.reply(target, _host(fields))
                if method in ("GET", "HEAD")
                else Reply(405, b"GET and HEAD only\n")
            )
        except ValueError as error:
            reply = Reply(400, f"bad option: {error}\n".encode())
        wire = reply.wire(head_only=method == "HEAD", close=close)
        self._site.counts.add(len(wire))
        if reply.delay_s or reply.bytes_per_s:
            self._late = asyncio.ensure_future(self._write_late(reply, wire, close))
        else:
            self._write(wire, close)

    def _write(self, wire: bytes, close: bool) -> None:
        self._transport.write(wire)
        if close:
            self._transport.close()

    async def _write_late(self, reply: Reply, wire: bytes, close: bool) -> None:
        await asyncio.sleep(reply.delay_s)
        step = max(1, int(reply.bytes_per_s * TICK_S)) if reply.bytes_per_s else len(wire)
        for start in range(step, len(wire), step):
            self._transport.write(wire[start - step : start])
            await asyncio.sleep(TICK_S)
        self._late = None
        self._write(wire[(len(wire) - 1) // step * step :], close)
        self._transport.resume_reading()
        self._answer()


def _host(fields: str) -> str:
    for line in fields.split("\r\n"):
        if line[:5].lower() == "host:":
            return line[5:].strip()
    return "localhost"


def listen(host: str, port: int, count: int) -> list[socket.socket]:
    """Open one listening socket per process on the same port; the kernel spreads the connections over them."""
    sockets: list[socket.socket] = []
    for _ in range(count):
        listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if count > 1:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((host, port))
        listener.listen(4096)
        port = listener.getsockname()[1]
        sockets.append(listener)
    return sockets


async def serve(site: Site, listener: socket.socket, leash: int | None = None) -> None:
    """Answer until SIGTERM or SIGINT, or until the other end of the pipe `leash` is closed."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if leash is not None:
        loop.add_reader(leash, stop.set)
    server = await loop.create_server(lambda: Connection(site), sock=listener, backlog=4096)
    await stop.wait()
    server.close()


def serve_in_processes(site: Site, sockets: list[socket.socket], announce: Callable[[], None]) -> None:
    """Serve each socket in a process of its own; all of them end with this one, however it ends.

    `announce` is called once all of them exist, so the site is complete when announced.
    """
    leash, hand = os.pipe()
    children: list[int] = []
    for process, listener in enumerate(sockets):
        child = os.fork()
        if child == 0:
            os.close(hand)
            for other in sockets:
                if other is not listener:
                    other.close()
            site.counts.use(process)
            asyncio.run(serve(site, listener, leash))
            os._exit(0)
        children.append(child)
    for listener in sockets:
        listener.close()
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDINGS)
    announce()
    signal.sigwait(ENDINGS)
    os.close(hand)
    for child in children:
        os.waitpid(child, 0)


#: A child that dies ends the site too: half a site would only be slow and hard to explain.
ENDINGS = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=int, default=8000, help="0: a free one, see --port-file")
    parser.add_argument("--port-file", type=Path, help="write the port here once the site can be asked")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1, help="another seed, another site")
    parser.add_argument("--print-urls", type=int, metavar="N", help="print the addresses of N pages and end")
    parser.add_argument("--base", default="http://127.0.0.1:8000", help="what the printed addresses start with")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    if arguments.print_urls is not None:
        print("".join(url_list(arguments.base.rstrip("/"), {"count": str(arguments.print_urls)})), end="")
        return
    sockets = listen(arguments.host, arguments.port, arguments.processes)
    site = Site(Pages(arguments.seed), Counts(arguments.processes), __doc__ or "")
    if len(sockets) == 1:
        announce(arguments, sockets[0].getsockname()[1])
        asyncio.run(serve(site, sockets[0]))
    else:
        port = sockets[0].getsockname()[1]
        serve_in_processes(site, sockets, lambda: announce(arguments, port))


def announce(arguments: argparse.Namespace, port: int) -> None:
    """Say where the site is: it listens already, so connections from now on are answered."""
    if arguments.port_file:
        partial = arguments.port_file.with_name(arguments.port_file.name + ".partial")
        partial.write_text(f"{port}\n")
        partial.rename(arguments.port_file)
    print(f"site: http://{arguments.host}:{port}/", flush=True)


if __name__ == "__main__":
    main()
