"""What holds for every test, and in which order they run: docs/decisions/0044-how-the-suite-runs.md."""

import os
import signal
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.run_folder import RunFolder

# An example that takes long says only that the machine is busy; a test that hangs is ended by pytest's own timeout.
settings.register_profile("sheaf", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("sheaf")

# A shell that starts the tests in the background has them ignore Ctrl-C, and everything they start would too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The tests start thousands of processes; without bytecode kept, each of them would compile all that it imports.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

#: Where the tests that take longest are; side by side they start first, so that no long one is left for the end.
LONGEST_FIRST = ("compose", "chaos", "acceptance", "integration", "model", "unit")


def pytest_configure(config: pytest.Config) -> None:
    # A process of pytest-xdist finds the folder of its run in its environment.
    if not hasattr(config, "workerinput"):
        folder = RunFolder()
        config.add_cleanup(folder.close)
        folder.sweep()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):
        items.sort(key=_place)


def _place(item: pytest.Item) -> int:
    folders = item.path.parts
    return next((place for place, name in enumerate(LONGEST_FIRST) if name in folders), len(LONGEST_FIRST))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    from tests.side_by_side import Scheduling

    return Scheduling(config, log)
