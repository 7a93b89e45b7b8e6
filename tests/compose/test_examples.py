"""The examples in the stack: a script in one container, its functions in the workers', the same lines as everywhere."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from tests import examples
from tests.compose.stack import ROOT, Stack
from tests.examples import Example, by_name

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]


@pytest.mark.parametrize("example", examples.ALL, ids=lambda example: example.script)
def test_an_example_prints_what_its_docstring_says(example: Example, stack: Stack) -> None:
    """Unchanged: `docker compose run --rm python SCRIPT` with the examples as the tasks folder."""
    arguments, printed = example.at("http://site:8000")

    done = stack.compose("run", "--rm", "-T", "--entrypoint", example.program, "python", example.script, *arguments)

    assert done.stdout == printed


def test_workers_in_containers_run_commands_only_if_they_are_told_to(stack: Stack) -> None:
    """The stack of these tests says so, for commands.sh. The file by itself does not."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("SHEAF_", "COMPOSE_"))}
    command = ["docker", "compose", "--file", str(ROOT / "docker-compose.yml"), "config", "--format", "json"]

    done = subprocess.run(command, env=bare, capture_output=True, text=True, check=True)

    assert json.loads(done.stdout)["services"]["worker"]["environment"]["SHEAF_ALLOW_EXEC"] == ""


def test_three_producers_in_containers_and_six_consumers_share_a_console(stack: Stack) -> None:
    """names.py, its ends in containers of their own: each name comes out once, on a whole line."""
    example = by_name("names.py")
    script = ["run", "--rm", "-T", "python", example.script]
    producers = [stack.start_compose(*script, "produce", str(number)) for number in range(3)]

    consumed = stack.compose(*script, "consume")

    assert [(producer.communicate(timeout=60)[0], producer.returncode) for producer in producers] == [("", 0)] * 3
    assert consumed.stdout == example.printed
    assert stack.denials() == []
