"""`sheaf exec`, typed by a person: a command per item, its output and exit status in one file."""

from __future__ import annotations

import json
from pathlib import Path

from tests.console import Console


def values(cluster: Console, name: str) -> list[dict[str, object]]:
    lines = map(json.loads, (cluster.data / name).read_text().splitlines())
    return [record["value"] for record in sorted(lines, key=lambda record: record["index"])]


def test_a_command_is_run_for_every_item(cluster: Console) -> None:
    """Files by a pattern, in the folder where it was typed; a failure has its exit status and what was said."""
    for name in ("a.txt", "b.txt"):
        (cluster.folder / name).write_text(name)

    shown = cluster.run("exec", "--files", "[ab].txt", "--dry-run", "--", "cp", "{}", "{/.}.bak").stdout
    assert [line.rpartition("/")[2] for line in shown.splitlines()] == ["a.txt a.bak", "b.txt b.bak"]
    cluster.run("exec", "--files", "[ab].txt", "-o", "copies.jsonl", "--", "cp", "{}", "{/.}.bak")
    done = cluster.run("exec", "-", "-o", "codes.jsonl", "--", "sh", "-c", "exit {}", given="0\n7\n")

    assert (cluster.folder / "b.bak").read_text() == "b.txt"
    assert [value["exit"] for value in values(cluster, "copies.jsonl")] == [0, 0]
    assert "1 failed" in done.stdout
    assert "ended with exit status 7" in cluster.run("failures", "last").stdout
    assert "OK: every item" in cluster.run("verify", "codes.jsonl").stdout


def test_a_command_that_takes_too_long_fails_its_item_only(cluster: Console) -> None:
    """A line of shell, the item quoted in it; and retried with failures only."""
    arguments = ("exec", "-", "-o", "slow.jsonl", "--shell", "--timeout", "2", "--")
    line = "test -e {}.mark || { touch {}.mark; test {} != slow || sleep 60; }; echo {}"
    done = cluster.run(*arguments, line, given="quick one\nslow\n")
    assert "1 failed" in done.stdout
    assert done.stdout.splitlines()[1].split()[:2] == ["1", "Timeout:"]

    cluster.run("retry", "last", "--error", "Timeout")

    assert [value["stdout"] for value in values(cluster, "slow.jsonl")] == ["quick one\n", "slow\n"]


def test_a_cluster_that_may_not_run_commands_says_so(tmp_path: Path, redis_program: Path) -> None:
    """The run is paused, and the message names the setting; nothing is run."""
    person = Console(tmp_path, SHEAF_ALLOW_EXEC="0")
    person.run("up", "--workers", "1")
    try:
        said = person.run("exec", "-", "--", "touch", "{}.made", given="x\n", status=1)
    finally:
        person.run("down")

    assert "SHEAF_ALLOW_EXEC=1" in said.stderr
    assert not (tmp_path / "x.made").exists()
    assert "needs a command" in person.refused("exec", "-", given="x\n")
