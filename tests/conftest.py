"""What holds for every test, and in which order they run: docs/decisions/0044-how-the-suite-runs.md."""

import os
import signal

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
#: Modules whose container tests mostly wait have stacks of their own, beside the one that all others share.
STACKS = {"test_stack": "kills", "test_trouble": "hangs", "test_paused": "hangs", "test_memory": "hangs"}


def pytest_configure(config: pytest.Config) -> None:
    # A process of pytest-xdist finds the folder of its run in its environment.
    if not hasattr(config, "workerinput"):
        folder = RunFolder()
        config.add_cleanup(folder.close)
        folder.sweep()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Side by side: what shares something dear stays in one process, which makes it once."""
    if not config.pluginmanager.hasplugin("xdist"):
        return
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if "stack" in fixtures:
            item.add_marker(pytest.mark.xdist_group(f"stack for {STACKS.get(item.path.stem, 'uses')}"))
        elif "cluster" in fixtures and item.path.parent.name == "acceptance":
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
    if config.getoption("numprocesses", None) or hasattr(config, "workerinput"):
        items.sort(key=_place)


def _place(item: pytest.Item) -> int:
    folders = item.path.parts
    return next((place for place, name in enumerate(LONGEST_FIRST) if name in folders), len(LONGEST_FIRST))
