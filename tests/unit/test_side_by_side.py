"""How the tests are handed out to several processes."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("xdist")

from tests.side_by_side import BY_PARAMETER, STACKS, WHOLE, Scheduling, scope_of, without_addresses

ROOT = Path(__file__).parents[2]


def test_tests_of_one_stack_go_together_and_all_others_alone() -> None:
    """A test's own parameters change nothing, whatever they hold."""
    assert scope_of("tests/compose/test_tasks.py::test_a[x::y]") == scope_of("tests/compose/test_security.py::test_b")
    assert scope_of("tests/compose/test_stack.py::test_a") != scope_of("tests/compose/test_security.py::test_b")
    assert scope_of("tests/unit/test_ranges.py::test_a") != scope_of("tests/unit/test_ranges.py::test_b")
    assert Scheduling._split_scope.__qualname__ == "Scheduling._split_scope", "xdist asks by this name"
    assert "_split_scope" in vars(Scheduling.__mro__[1])


def test_modules_that_are_named_exist() -> None:
    """One that is renamed would be handed out like any other without a word."""
    named = [*WHOLE, *BY_PARAMETER, *(f"tests/compose/{name}.py" for name in STACKS)]

    assert [path for path in named if not (ROOT / path).exists()] == []
    assert {scope_of(f"{path}::test_a") for path in WHOLE} == set(WHOLE)


def test_tests_that_share_what_is_made_for_their_parameter_go_together() -> None:
    for path in BY_PARAMETER:
        assert scope_of(f"{path}::test_a[UTF-8]") == scope_of(f"{path}::test_b[UTF-8]")
        assert scope_of(f"{path}::test_a[UTF-8]") != scope_of(f"{path}::test_a[ASCII]")


def test_ids_with_an_objects_address_are_the_same_in_every_process() -> None:
    """Otherwise the processes would not agree on what there is, and nothing at all would run."""
    here, there = (
        [f"test_a[<object at {start + at:#x}>]" for at in (16, 32)] for start in (0x7F0000000000, 0x7FAA00000000)
    )

    assert here != there
    assert (
        without_addresses(here) == without_addresses(there) == ["test_a[<object at 0x>]", "test_a[<object at 0x>] (2)"]
    )
    assert without_addresses(["test_b[0x1f]"]) == ["test_b[0x1f]"]
