"""How the tests are handed out to several processes."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("xdist")

from tests.side_by_side import STACKS, Scheduling, scope_of

COMPOSE = Path(__file__).parents[1] / "compose"


def test_tests_of_one_stack_go_together_and_all_others_alone() -> None:
    """A test's own parameters change nothing, whatever they hold."""
    assert scope_of("tests/compose/test_tasks.py::test_a[x::y]") == scope_of("tests/compose/test_security.py::test_b")
    assert scope_of("tests/compose/test_stack.py::test_a") != scope_of("tests/compose/test_security.py::test_b")
    assert scope_of("tests/unit/test_ranges.py::test_a") != scope_of("tests/unit/test_ranges.py::test_b")
    assert Scheduling._split_scope.__qualname__ == "Scheduling._split_scope", "xdist asks by this name"
    assert "_split_scope" in vars(Scheduling.__mro__[1])


def test_modules_with_a_stack_of_their_own_exist() -> None:
    """A module that is renamed would share the others' stack without a word."""
    assert [name for name in STACKS if not (COMPOSE / f"{name}.py").exists()] == []
