"""How many cores this process may use: its affinity, and the CPU quota of its container (cgroup v1 and v2)."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def usable_cores(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the smaller of affinity and quota. A part of a core counts as one; there is always at least one."""
    quotas = list(_quotas(proc / "self" / "cgroup", cgroups))
    return max(1, min([len(os.sched_getaffinity(0)), *(math.ceil(quota) for quota in quotas)]))


def _quotas(membership: Path, cgroups: Path) -> Iterator[float]:
    """Yield the quota, in cores, of each group this process is in. The tightest of the groups around it counts."""
    try:
        lines = membership.read_text(encoding="utf-8").splitlines()
    except OSError:
        return  # no cgroups here, so no quota
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            for folder in _upwards(cgroups, path):
                yield from _version_2(folder)
        elif "cpu" in controllers.split(","):
            # The hierarchy is mounted by its full name, or, on some hosts, by the controller's alone.
            for mount in {cgroups / controllers, cgroups / "cpu"}:
                for folder in _upwards(mount, path):
                    yield from _version_1(folder)


def _upwards(mount: Path, path: str) -> Iterator[Path]:
    """Yield the group's folder and those around it. Inside a container only the mount itself may exist."""
    inner = PurePosixPath(path.lstrip("/"))
    for part in (inner, *inner.parents):
        yield mount / part


def _version_2(folder: Path) -> Iterator[float]:
    fields = _words(folder / "cpu.max")
    if len(fields) == 2 and fields[0] != "max":
        yield int(fields[0]) / int(fields[1])


def _version_1(folder: Path) -> Iterator[float]:
    quota, period = _words(folder / "cpu.cfs_quota_us"), _words(folder / "cpu.cfs_period_us")
    if quota and period and int(quota[0]) > 0:
        yield int(quota[0]) / int(period[0])


def _words(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").split()
    except OSError:
        return []
