"""What a killed run of these tests has left in the engine goes, and nothing else."""

from __future__ import annotations

import secrets

import pytest

from tests.compose.stack import Stack, docker
from tests.run_folder import PREFIX, remove_stack

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]


def leave_behind(project: str, image: str) -> None:
    """Make one of each kind of thing that a stack consists of, and a container beside it."""
    label = f"--label=com.docker.compose.project={project}"
    docker("image", "tag", image, f"sheaf:{project}")
    docker("network", "create", label, f"{project}_back")
    docker("volume", "create", label, f"{project}_data")
    joined = ("--network", f"{project}_back", "--volume", f"{project}_data:/data")
    docker("run", "-d", "--name", f"{project}-one-1", label, *joined, image, "sleep", "900")
    docker("run", "-d", f"sheaf:{project}", "sleep", "900")


def things_of(name: str) -> list[str]:
    """All that the engine has by this name or made from an image of this name."""
    found = []
    for kind in (["image", "ls"], ["network", "ls"], ["volume", "ls"], ["ps", "--all", "--no-trunc"]):
        found += [line for line in docker(*kind).splitlines() if name in line]
    return found


def test_everything_of_a_killed_runs_stack_is_removed_and_a_living_one_stays(stack: Stack) -> None:
    """Containers, also those beside it, networks, volumes and images; the living stack has the same images."""
    project = f"{PREFIX}{secrets.token_hex(4)}-left"
    before = stack.containers("worker")
    leave_behind(project, f"sheaf:{stack.name}")
    assert len(things_of(project)) >= 5

    remove_stack(project)

    assert things_of(project) == []
    assert [each["State"]["StartedAt"] for each in stack.containers("worker")] == [
        each["State"]["StartedAt"] for each in before
    ]
