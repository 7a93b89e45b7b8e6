"""The room `sheaf/output`: SQL is the index's own, and every module has the unit tests that are named here."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOM = ROOT / "sheaf/output"
#: The chaos kit judges outputs with SQL of its own, so as to share nothing with what it judges.
MAY_SPEAK_SQL = (ROOM / "index", ROOT / "sheaf/chaos")
STATEMENT = re.compile(
    r"^\s*(SELECT\s.+\sFROM|INSERT\s.*INTO|REPLACE\s+INTO|UPDATE\s.+\sSET|DELETE\s+FROM|CREATE\s+(TABLE|INDEX)"
    r"|(ALTER|DROP)\s+TABLE|REINDEX|VACUUM|PRAGMA|BEGIN IMMEDIATE)\b",
    re.DOTALL,
)
#: Module -> the test file that is about it.
TESTS = {
    "blocker": "test_blocker",
    "cache": "test_output_cache",
    "output": "test_output",
    "replace": "test_occupied",
    "commit.data_file": "test_data_file",
    "commit.entry": "test_commit_entry",
    "commit.plan": "test_commit_plan",
    "commit.reopen": "test_reopen",
    "commit.transaction": "test_write_transaction",
    "index.database": "test_index",
    "index.derived": "test_derived",
    "index.door": "test_door",
    "index.errors": "test_output_disk",
    "index.intent": "test_intent",
    "index.lock_owner": "test_lock_owner",
    "index.opener": "test_door",
    "index.reader": "test_index_tables",
    "index.rows": "test_index_rows",
    "index.schema": "test_index",
    "index.settled": "test_settled_column",
    "index.siblings": "test_siblings",
    "index.wal": "test_output_disk",
    "index.writer": "test_index_tables",
    "read.reader": "test_output_reader",
    "read.records": "test_records",
    "read.scan": "test_export",
    "repair.diagnosis": "test_diagnosis",
    "repair.rebuild": "test_repair",
    "repair.repair": "test_repair",
    "repair.verify": "test_verify",
}


def product() -> Iterator[Path]:
    for folder in ("sheaf", "worker", "producer", "services"):
        yield from sorted((ROOT / folder).rglob("*.py"))


def texts(tree: ast.Module) -> Iterator[str]:
    """Every text of a module; in one that is put together, `?` is put for each value."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "?" for part in node.values)


def imported(tree: ast.Module) -> set[str]:
    """Every module and every name of a module that this one imports, dotted."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def test_sql_is_the_indexs_own() -> None:
    """Elsewhere there is neither a statement nor SQLite itself: other modules ask the index."""
    found = []
    for path in product():
        if not any(path.is_relative_to(room) for room in MAY_SPEAK_SQL):
            tree = ast.parse(path.read_text())
            spoken = [text for text in texts(tree) if STATEMENT.match(text)] + sorted({"sqlite3"} & imported(tree))
            found += [f"{path.relative_to(ROOT)}: {text}" for text in spoken]
    assert found == []


def test_the_indexs_statements_would_be_found() -> None:
    """Each table is named by one that this test recognizes."""
    found = [
        text
        for name in ("schema", "reader", "writer")
        for text in texts(ast.parse((ROOM / f"index/{name}.py").read_text()))
        if STATEMENT.match(text)
    ]
    for table in ("state", "runs", "workers", "commits", "batches", "failures", "shares"):
        assert len([text for text in found if re.search(rf"\b{table}\b", text)]) >= 2, table


def test_every_module_is_listed() -> None:
    modules = {
        ".".join(path.relative_to(ROOM).with_suffix("").parts)
        for path in ROOM.rglob("*.py")
        if path.name != "__init__.py"
    }
    assert modules == set(TESTS)


@pytest.mark.parametrize(("module", "test"), TESTS.items())
def test_every_module_has_its_unit_test(module: str, test: str) -> None:
    """The file imports what it is about, so that a change to the module is answered within seconds."""
    tree = ast.parse((ROOT / f"tests/unit/{test}.py").read_text())
    assert any(name == f"sheaf.output.{module}" for name in imported(tree))
