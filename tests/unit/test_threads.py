"""Our threads keep nothing under a name that `threading.Thread` has, in this version of Python or in another one."""

from __future__ import annotations

import ast
import threading
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: What a Thread has in a version between 3.11 and 3.14. A `self._context` of ours ended every worker on 3.14.
OTHER_VERSIONS = {"_context", "_handle", "_os_thread_handle", "_set_os_name", "_tstate_lock", "_is_stopped", "_stop"}


def threads() -> Iterator[tuple[str, ast.ClassDef]]:
    for folder in ("sheaf", "worker", "producer", "services"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ClassDef) and any(ast.unparse(base).endswith("Thread") for base in node.bases):
                    yield f"{path.relative_to(ROOT)}:{node.name}", node


def kept_by(thread: ast.ClassDef) -> set[str]:
    return {
        node.attr
        for node in ast.walk(thread)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self"
    }


def test_no_thread_of_ours_overwrites_what_a_thread_has() -> None:
    taken = {*vars(threading.Thread()), *dir(threading.Thread), *OTHER_VERSIONS}
    ours = dict(threads())

    assert len(ours) >= 6
    assert {name: both for name, thread in ours.items() if (both := kept_by(thread) & taken)} == {}
