"""One thing that is made to fail, and what came of it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field


@dataclass(slots=True)
class Case:
    """What was made to fail, and what came of it: a line of the results' file."""

    #: `calls`, `threads` or `replies`.
    means: str
    #: Who was hit, where, and with what; the same words always mean the same fault.
    who: str
    where: str
    fault: str
    lasting: bool
    #: Which part of the cluster that is, for the table.
    group: str = "worker"
    #: How often it struck.
    struck: int = 0
    lost: int = 0
    doubled: int = 0
    torn: int = 0
    #: Items that were given up, with a reason.
    failed: int = 0
    hung: int = 0
    silent: int = 0
    #: What was reported while the run stalled.
    said: str = ""
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    kind: str = "error"
    at: str = ""
    code: str = ""

    @property
    def right(self) -> bool:
        return not (self.lost or self.doubled or self.torn or self.hung or self.silent)

    def __str__(self) -> str:
        return f"{self.means}: {self.who}: {self.where}: {self.fault}, {'for good' if self.lasting else 'once'}"

    def as_json(self) -> str:
        return json.dumps(asdict(self))
