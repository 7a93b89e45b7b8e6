"""The power goes at any moment of a commit; unsynced writes are lost in any order; what was acknowledged is there."""

import time
from typing import Any

import pytest

from tests.chaos.own_process import run_in_own_process
from tests.chaos.proof import note
from tests.chaos.tracer import NAMES

pytestmark = [
    pytest.mark.timeout(3600),
    pytest.mark.skipif(not NAMES, reason="the tracer knows the system calls of x86_64 and aarch64 only"),
]


def cut_everywhere(scene: str, dropped: str = "") -> dict[str, Any]:
    return run_in_own_process("power_cuts", scene, dropped)


@pytest.mark.parametrize(("scene", "images"), [("life", 500), ("take-over", 500)])
def test_what_was_acknowledged_survives_a_power_cut(scene: str, images: int) -> None:
    """Whatever of the unsynced writes is on the disk: the output recovers, each record is there once and whole, and
    what was acknowledged before the cut was not done again.

    The scenes: an output from its creation to its closing; a writer that goes on where another was killed, at each of
    that one's calls.
    """
    began = time.monotonic()
    found = cut_everywhere(scene)

    tried = {"recordings": found["recordings"], "cuts": found["cuts"], "disks": found["images"]}
    note(f"tests/chaos/test_power_cuts.py, {scene}", tried, len(found["problems"]), began)
    print(tried)
    assert found["problems"] == []
    assert found["images"] >= images


@pytest.mark.parametrize(
    "dropped",
    ["of the output", "of the log", "of the index", "of the folder", "on take-over", "of the log on take-over"],
)
def test_without_any_one_kind_of_sync_something_is_lost(dropped: str) -> None:
    """Each kind of sync is needed, and the check sees it when it is missing; whatever the disk then holds, it is
    refused with an error of ours, or recovered wrongly: no reader or writer stumbles over it."""
    problems = cut_everywhere("take-over" if "take-over" in dropped else "life", dropped)["problems"]

    assert problems
    assert [each for each in problems if "recovery failed" in each and "sheaf.core.errors." not in each] == []
