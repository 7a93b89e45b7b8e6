"""The parts that the workers of one host take of its cores."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sheaf.broker.worker_registry import WorkerInfo
from sheaf_worker.share import fair_share, host_name, share_among


def parts(*cores: int, fixed: int = 0) -> list[int]:
    names = {f"w{number}": count for number, count in enumerate(cores)}
    return [fair_share(names, name, fixed) for name in names]


def test_cores_are_shared_evenly() -> None:
    """What is left over goes to the first ones; everybody gets one, however many there are."""
    assert parts(8) == [8]
    assert parts(8, 8) == [4, 4]
    assert parts(8, 8, 8) == [3, 3, 2]
    assert parts(2, 2, 2, 2) == [1, 1, 1, 1]


def test_a_small_quota_leaves_its_rest_to_others() -> None:
    """A container that may use one core takes one; the others share what it leaves."""
    assert parts(1, 8, 8) == [1, 4, 3]
    assert parts(8, 8, fixed=2) == [3, 3]
    assert parts(2, 2, fixed=9) == [1, 1]


@given(st.lists(st.integers(1, 64), min_size=1, max_size=12), st.integers(0, 70))
def test_no_host_gets_more_processes_than_cores(cores: list[int], fixed: int) -> None:
    """... unless there are more workers than cores; none is left idle that a worker may use."""
    shares = parts(*cores, fixed=fixed)

    assert all(1 <= share <= most for share, most in zip(shares, cores, strict=True))
    host = max(cores)
    assert sum(shares) <= max(len(cores), host - fixed)
    assert sum(shares) == min(sum(cores), max(len(cores), host - fixed))


def entry(name: str, machine: str, cores: int, pool: int = 1, silent_s: float = 0.0) -> WorkerInfo:
    return WorkerInfo(name, {"machine": machine, "cores": str(cores), "pool": str(pool)}, silent_s)


def test_only_live_workers_of_the_same_host_count() -> None:
    """A dead one's cores are free again when it has missed two beats; another host's are none of ours."""
    entries = [
        entry("a", "here", 8),
        entry("dead", "here", 8, silent_s=60),
        entry("far", "there", 8),
        entry("me", "here", 8),
    ]

    assert share_among(entries, "me", "here", 8) == (4, 2)
    assert share_among([*entries, entry("set", "here", 0, pool=4)], "me", "here", 8) == (2, 3)
    assert share_among([], "me", "here", 8) == (8, 1)


def test_the_host_is_told_by_the_kernel_unless_it_is_set() -> None:
    """Containers of one host see the same boot id."""
    assert host_name("rack-7") == "rack-7"
    assert host_name(None) == host_name(None) != ""
