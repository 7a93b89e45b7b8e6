"""What a worker asks the queue for and gets, and what the queue shows of itself: values without Redis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is queued and what is leased, at one moment."""

    #: Ids of the queued batches.
    queued: set[str]
    #: Batch id -> (worker, ms left; negative: the lease ran out and was not reaped yet).
    leased: dict[str, tuple[str, int]]


class ClaimRequest(NamedTuple):
    """Whose batches a worker wants. Parties are served round-robin; `party_of()` gives the party of a run."""

    #: How many batches of each of these parties; 0: none now.
    named: Mapping[str, int]
    #: Of how many other parties, and how many batches of each.
    others: int
    each: int

    @property
    def most(self) -> int:
        """The largest number of batches that it can bring."""
        return sum(self.named.values()) + self.others * self.each


@dataclass(frozen=True, slots=True)
class Claims:
    """The batches claimed, and what is left on the queue."""

    #: (run, number, how often the batch has been claimed, this claim included).
    batches: list[tuple[str, int, int]] = field(default_factory=list)
    #: How many are left on the queue.
    left: int = 0
    #: How many parties (runs, programs' sessions) have batches there, and how many each claimed party has left.
    parties: int = 0
    left_of: dict[str, int] = field(default_factory=dict)
    #: Ids of other programs' jobs that were on our queue; they were moved to RQ's failed jobs, with the reason.
    foreign: list[str] = field(default_factory=list)
