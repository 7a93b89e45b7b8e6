"""docs/logs.md lists every action that is in a log, with its levels, and no other."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/logs.md").read_text()
#: The page's part -> where its lines are logged. What the library logs beside these, it logs inside a worker.
PARTS = {
    "Actions of the supervisor": ("sheaf/embedded",),
    "Actions in a program": ("sheaf/client", "sheaf/multiprocessing"),
    "Actions of a worker": ("sheaf", "worker/sheaf_worker"),
}
LEVELS = ("debug", "info", "warning", "error", "critical")


def part_of(path: Path) -> str:
    return next(part for part, folders in PARTS.items() if any(path.is_relative_to(ROOT / each) for each in folders))


def log_calls(tree: ast.Module) -> Iterator[tuple[ast.Call, str]]:
    """Every call of a module's logger, and its level; that of `logger.log()` is decided when it runs: ''."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            named = isinstance(node.func.value, ast.Name) and node.func.value.id == "logger"
            if named and node.func.attr in (*LEVELS, "log"):
                yield node, node.func.attr if node.func.attr in LEVELS else ""


def action_of(call: ast.Call, function: ast.AST) -> str | None:
    """The action of a call's fields, which are in it or in a dict that the function makes."""
    extra = next((word.value for word in call.keywords if word.arg == "extra"), None)
    if extra is None:
        return None
    places = [extra]
    if named := [node.id for node in ast.walk(extra) if isinstance(node, ast.Name)]:
        places += [
            node.value
            for node in ast.walk(function)
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id in named
        ]
    for place in places:
        for node in ast.walk(place):
            if isinstance(node, ast.Dict):
                for key, value in zip(node.keys, node.values, strict=True):
                    if isinstance(key, ast.Constant) and key.value == "action" and isinstance(value, ast.Constant):
                        return str(value.value)
    return None


def logged() -> tuple[dict[str, dict[str, set[str]]], list[str]]:
    """Part -> action -> levels, as the code has them; and the calls without an action."""
    found: dict[str, dict[str, set[str]]] = {part: defaultdict(set) for part in PARTS}
    without = []
    for folder in ("sheaf", "worker", "producer"):
        for path in (ROOT / folder).rglob("*.py"):
            tree = ast.parse(path.read_text())
            functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
            for call, level in log_calls(tree):
                around = [each for each in functions if each.lineno <= call.lineno <= (each.end_lineno or 0)]
                action = action_of(call, max(around, key=lambda each: each.lineno))
                if action is None:
                    without.append(f"{path.relative_to(ROOT)}:{call.lineno}")
                else:
                    found[part_of(path)][action] |= {level} - {""}
    return found, without


def described(part: str) -> dict[str, set[str]]:
    """Action -> levels in a part of the page; a row without an action goes on with the one above."""
    section = PAGE.split(f"## {part}\n")[1].split("\n## ")[0]
    rows: dict[str, set[str]] = {}
    action = ""
    for name, levels in re.findall(r"^\| (?:`([a-z-]+)` )?\| ([a-z, ]+) \| \S.* \| \S.* \|$", section, re.MULTILINE):
        action = name or action
        rows.setdefault(action, set()).update(levels.split(", "))
    return rows


def test_every_line_of_a_log_has_an_action() -> None:
    """It is what a person searches for, whatever the sentence is."""
    _, without = logged()
    assert without == []


@pytest.mark.parametrize("part", PARTS)
def test_every_action_is_described_and_none_that_is_not_logged(part: str) -> None:
    """With each level at which it is in a log: what it means, and what to do."""
    found, rows = logged()[0][part], described(part)
    assert sorted(rows) == sorted(found)
    assert {action: levels - rows[action] for action, levels in found.items() if levels - rows[action]} == {}
    assert {level for levels in rows.values() for level in levels} <= set(LEVELS)
