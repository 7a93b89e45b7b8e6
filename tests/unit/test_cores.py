"""The pool's size follows the container's limits."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sheaf_worker import cores


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))


def machine(folder: Path, membership: str, **files: str) -> tuple[Path, Path]:
    """A /proc and a /sys/fs/cgroup with these files; `__` in a name means a slash, `_dot_` for a dot."""
    (folder / "proc/self").mkdir(parents=True)
    (folder / "proc/self/cgroup").write_text(membership)
    for name, text in files.items():
        path = folder / "cgroup" / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "proc", folder / "cgroup"


def test_without_a_quota_the_affinity_counts(tmp_path: Path) -> None:
    """No cgroup file at all, as on a bare host: as many as the process may run on."""
    assert cores.usable_cores(tmp_path, tmp_path) == 8


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("max 100000", 8), ("200000 100000", 2), ("150000 100000", 2), ("10000 100000", 1), ("1600000 100000", 8)],
)
def test_a_version_2_quota_limits_the_cores(tmp_path: Path, quota: str, expected: int) -> None:
    """`docker run --cpus 1.5` gives two processes, `--cpus 0.1` one, and no quota gives more than the affinity."""
    proc, cgroups = machine(tmp_path, "0::/\n", cpu_dot_max=quota)
    assert cores.usable_cores(proc, cgroups) == expected


def test_the_tightest_group_around_counts(tmp_path: Path) -> None:
    """A quota on the slice binds the service inside it."""
    proc, cgroups = machine(
        tmp_path, "0::/slice/service\n", slice__cpu_dot_max="300000 100000", slice__service__cpu_dot_max="max 100000"
    )
    assert cores.usable_cores(proc, cgroups) == 3


def test_a_group_that_is_not_mounted_is_looked_for_further_up(tmp_path: Path) -> None:
    """A container sees its own group as the mount's root, while its path is the host's."""
    proc, cgroups = machine(tmp_path, "0::/docker/0123\n", cpu_dot_max="400000 100000")
    assert cores.usable_cores(proc, cgroups) == 4


@pytest.mark.parametrize("mount", ["cpu", "cpu,cpuacct"])
@pytest.mark.parametrize(("quota", "expected"), [("-1", 8), ("250000", 3)])
def test_a_version_1_quota_limits_the_cores(tmp_path: Path, mount: str, quota: str, expected: int) -> None:
    """Older hosts keep the quota in two files, under one of two names; -1 is no quota."""
    files = {f"{mount}__box__cpu_dot_cfs_quota_us": quota, f"{mount}__box__cpu_dot_cfs_period_us": "100000"}
    proc, cgroups = machine(tmp_path, "4:cpu,cpuacct:/box\n3:cpuset:/\n0::/\n", **files)
    assert cores.usable_cores(proc, cgroups) == expected
