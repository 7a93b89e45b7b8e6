"""How the processes that a worker starts stand to it: they run user code, so they give way, and are the first to go."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

#: When memory runs out, the kernel should kill one of these processes: they can be replaced, or their loss reported.
_OOM_SCORE = "500"
#: How much nicer than its worker, which commits, renews leases and dispatches items for all its children: it should not
#: have to wait for a core because of them (docs/decisions/0017-children-are-nicer.md).
_NICENESS = 5


def give_way() -> None:
    os.nice(_NICENESS)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE, encoding="utf-8")
