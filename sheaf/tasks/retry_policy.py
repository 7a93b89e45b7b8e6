"""How often an item is tried that raises, and how long the pauses between are."""

from __future__ import annotations

from typing import NamedTuple

from sheaf.tasks.decorator import TaskDeclaration

#: The longest pause, however often it has been doubled.
LONGEST_PAUSE_S = 300.0


class RetryPolicy(NamedTuple):
    attempts: int
    backoff_s: float

    @classmethod
    def of(cls, declared: TaskDeclaration) -> RetryPolicy:
        """What a function that does not say is tried once: what its code raises is most likely raised again."""
        return cls(declared.attempts or 1, declared.backoff_s)

    def pause_s(self, attempt: int) -> float | None:
        """Seconds to wait after that attempt (the first is 1) has failed; None: it was the last one."""
        if attempt >= self.attempts:
            return None
        return min(LONGEST_PAUSE_S, self.backoff_s * 2.0 ** min(attempt - 1, 30))
