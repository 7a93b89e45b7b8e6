"""A real stack of containers for the tests of this folder."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.compose.stack import Stack, missing_engine
from tests.run_folder import sweep_stacks


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Three workers, Redis and the local site. No engine: skipped on a laptop, a failure where CI=true."""
    reason = missing_engine()
    if reason and os.environ.get("CI") == "true":
        pytest.fail(f"the container tests need a Docker engine with compose: {reason}")
    if reason:
        pytest.skip(f"no Docker engine with compose: {reason}")
    sweep_stacks()
    stack = Stack(tmp_path_factory.mktemp("lists"))
    try:
        stack.start()
        yield stack
    finally:
        stack.remove()
