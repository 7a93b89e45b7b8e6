"""Which tests pytest-xdist keeps in one process, and which it starts first."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

#: Modules whose container tests mostly wait have stacks of their own, beside the one that all others share.
STACKS = {"test_stack": "kills", "test_trouble": "hangs", "test_paused": "hangs", "test_memory": "hangs"}
#: Modules of which one test looks back at what the others have seen, or whose tests share what takes long to make.
WHOLE = ("tests/integration/test_load_answers.py", "tests/acceptance/test_hostile_texts.py")
#: Modules whose tests share one of these for each value of their parameter.
BY_PARAMETER = ("tests/acceptance/test_locales.py", "tests/integration/test_site.py")


def scope_of(nodeid: str) -> str:
    """What a test shares with others: one process runs all that share it, one after the other."""
    path = PurePosixPath(nodeid.partition("::")[0])
    if path.parent.name == "compose":
        return f"the stack for {STACKS.get(path.stem, 'uses')}"
    if str(path) in BY_PARAMETER and "[" in nodeid:
        return f"{path}[{nodeid.partition('[')[2]}"
    return str(path) if str(path) in WHOLE else nodeid


def without_addresses(nodeids: Iterable[str]) -> list[str]:
    """The ids of tests as they are in every process: an id that holds an object's address is another in each."""
    seen: Counter[str] = Counter()
    found = []
    for nodeid in nodeids:
        same = re.sub(r"\b0x[0-9a-f]{6,}", "0x", nodeid)
        seen[same] += 1
        found.append(f"{same} ({seen[same]})" if seen[same] > 1 else same)
    return found


class Scheduling(LoadScopeScheduling):
    """Hands out test by test, but for those that share something: these go to one process, and first.

    Not by xdist's own marks of groups: those of 3.8 have no effect with pytest 9.2, which keeps a test's id elsewhere.
    """

    def add_node_collection(self, node: WorkerController, collection: Sequence[str]) -> None:
        super().add_node_collection(node, without_addresses(collection))

    def _split_scope(self, nodeid: str) -> str:
        return scope_of(nodeid)
