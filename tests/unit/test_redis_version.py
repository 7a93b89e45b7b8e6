"""Versions of Redis and Valkey with the flaw of Lua, as workers and as the stack's image know them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from sheaf.broker.redis_version import MENDED, wanted_version

CHECK = Path(__file__).parents[2] / "services/redis/check-version.sh"
WELL = [
    *("Redis 6.2.20", "Redis 6.2.21", "Redis 7.2.11", "Redis 7.4.6", "Redis 8.0.4", "Redis 8.2.2", "Redis 8.2.10"),
    *("Redis 8.4.0", "Redis 9.0.0", "Valkey 7.2.11", "Valkey 8.0.6", "Valkey 8.1.4", "Valkey 9.0.0"),
    *("Valkey 9.1.2", "Valkey 10.0.0"),
]
FLAWED = {
    "Redis 6.0.20": "8.2.2",
    "Redis 6.2.14": "6.2.20",
    "Redis 7.0.15": "8.2.2",
    "Redis 7.2.4": "7.2.11",
    "Redis 7.4.5": "7.4.6",
    "Redis 8.0.2": "8.0.4",
    "Redis 8.2.1": "8.2.2",
    "Valkey 7.2.10": "7.2.11",
    "Valkey 8.0.5": "8.0.6",
    "Valkey 8.1.3": "8.1.4",
}


def said_by_image(name: str) -> str:
    server, version = name.split()
    shown = f"{server} server v={version} sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=1"
    return subprocess.run(["sh", CHECK, shown], capture_output=True, text=True, check=True).stderr


@pytest.mark.parametrize("name", WELL)
def test_a_version_without_the_flaw_is_nothing_to_speak_of(name: str) -> None:
    """Neither a worker nor the image says a word."""
    server, version = name.lower().split()
    assert wanted_version(server, version) is None
    assert said_by_image(name) == ""


@pytest.mark.parametrize("name", FLAWED)
def test_a_flawed_version_is_told_with_the_one_that_is_well(name: str) -> None:
    """Of its own series where that was mended, else the newest."""
    server, version = name.lower().split()
    assert wanted_version(server, version) == FLAWED[name]
    said = said_by_image(name)
    assert f"{version} is older than {FLAWED[name]}" in said
    assert "CVE-2025-49844" in said


def test_both_know_the_same_versions() -> None:
    """The image has no Python, so the list exists twice."""
    listed = re.findall(r'mended="([^"]+)"', CHECK.read_text())
    assert [tuple(each.split()) for each in listed] == [MENDED["valkey"], MENDED["redis"]]
