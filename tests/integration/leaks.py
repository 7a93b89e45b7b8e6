"""A worker that can be asked what it keeps: SIGUSR1 has it write the sizes of all that is ours to the file SHEAF_LEAKS.

Nothing here knows what there is: every object of a class of ours counts, and every container that one of them has.
"""

from __future__ import annotations

import gc
import json
import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

#: Who makes the objects that count.
OURS = ("sheaf", "sheaf_worker")


def sizes() -> Counter[str]:
    """Objects of our classes by their class, and what their containers hold, by class and attribute."""
    gc.collect()
    found: Counter[str] = Counter()
    for each in gc.get_objects():
        kind = type(each)
        if str(kind.__module__).partition(".")[0] in OURS:
            name = f"{kind.__module__}.{kind.__qualname__}"
            found[name] += 1
            for attribute, value in _attributes(each):
                found[f"{name}.{attribute}"] += _length(value)
    return found


def _attributes(each: object) -> list[tuple[str, Any]]:
    slots = [slot for kind in type(each).__mro__ for slot in getattr(kind, "__slots__", ())]
    values = {slot: getattr(each, slot) for slot in slots if isinstance(slot, str) and hasattr(each, slot)}
    return list((values | getattr(each, "__dict__", {})).items())


def _length(value: Any) -> int:
    if hasattr(value, "qsize"):
        return int(value.qsize())
    return len(value) if isinstance(value, (dict, list, set, tuple)) or type(value).__name__ == "deque" else 0


def process(pid: int) -> dict[str, int]:
    """What the kernel knows of a process."""
    return {what: len(list(Path(f"/proc/{pid}/{what}").iterdir())) for what in ("fd", "task")}


def _write(_number: int, _frame: object) -> None:
    target = Path(os.environ["SHEAF_LEAKS"])
    draft = target.with_suffix(".draft")
    draft.write_text(json.dumps(sizes()))
    draft.rename(target)


if __name__ == "__main__":
    from sheaf_worker.__main__ import main

    signal.signal(signal.SIGUSR1, _write)
    main()
