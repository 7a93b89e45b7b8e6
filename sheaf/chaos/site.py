"""The test site: `python -m sheaf.chaos.site PORT_FILE`. Serves computed pages, and counts who was asked for.

/<site>/<n>?ms=50     page n, after this many milliseconds
/counts/<site>        how often each page of that site was served, as JSON; forgets them
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections import Counter
from pathlib import Path

from sheaf.chaos.pages import page


class Site:
    """Answers requests, one connection at a time each."""

    def __init__(self) -> None:
        self._counts: dict[str, Counter[int]] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection's requests until it is closed."""
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(await self._answer(head.split(b" ", 2)[1].decode()))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, TimeoutError):
            # The other end was killed: what this site is for.
            pass
        finally:
            writer.close()

    async def _answer(self, target: str) -> bytes:
        path, _, query = target.partition("?")
        _, site, name = path.split("/", 2)
        if site == "counts":
            return _reply(json.dumps(self._counts.pop(name, {})).encode(), "application/json")
        await asyncio.sleep(int(query.removeprefix("ms=") or 0) / 1000)
        self._counts.setdefault(site, Counter())[int(name)] += 1
        return _reply(page(site, int(name)), "text/html; charset=utf-8")


def _reply(body: bytes, content_type: str) -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


async def run(port_file: Path) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = await asyncio.start_server(Site().serve, "127.0.0.1", 0)
    draft = port_file.with_suffix(".draft")
    draft.write_text(str(server.sockets[0].getsockname()[1]))
    draft.rename(port_file)
    await stop.wait()
    server.close()


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1])))
