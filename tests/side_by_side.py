"""Which tests pytest-xdist keeps in one process, and which it starts first."""

from __future__ import annotations

from pathlib import PurePosixPath

from xdist.scheduler import LoadScopeScheduling

#: Modules whose container tests mostly wait have stacks of their own, beside the one that all others share.
STACKS = {"test_stack": "kills", "test_trouble": "hangs", "test_paused": "hangs", "test_memory": "hangs"}


def scope_of(nodeid: str) -> str:
    """What a test shares with others: one process runs all that share it, one after the other."""
    path = PurePosixPath(nodeid.partition("::")[0])
    return f"the stack for {STACKS.get(path.stem, 'uses')}" if path.parent.name == "compose" else nodeid


class Scheduling(LoadScopeScheduling):
    """Hands out test by test, but for those that share a stack of containers: these go to one process, and first.

    Not by xdist's own marks of groups: those of 3.8 have no effect with pytest 9.2, which keeps a test's id elsewhere.
    """

    def _split_scope(self, nodeid: str) -> str:
        return scope_of(nodeid)
