"""Hosts that said they are asked too much (429, 503), and how many connections each may have for a while.

Such a host gets half of the connections that it had, and half again with each second in which it says so once more;
after a minute without it is forgotten. What is to be asked of it meanwhile is held back, and takes none of the
connections of others. But a child can hold only a limited number of items: if other hosts' items come between, no more
than a part of them is held, so that one host cannot stop all others; beyond that, or after a minute, the oldest goes.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from sheaf.tasks.load.visit import Visit

#: One overloaded host may answer many requests at once with 503: they count once.
_CALM_S = 1.0
#: Seconds without another such answer until a host is asked as before.
_FORGIVEN_S = 60.0
#: Nothing is held back for longer: items have time limits of their own.
LONGEST_HELD_S = 60.0
#: As many hosts are remembered; of more, the one that would be forgiven first is not.
_MOST_HOSTS = 1000
#: How many held visits may go, when there is no more room for them, per visit of another host.
_CREDIT = 8


@dataclass(slots=True)
class _Host:
    limit: int
    busy: int
    calm_until: float = 0.0
    forgiven: float = 0.0
    #: With the moment since when each is held.
    held: deque[tuple[float, Visit]] = field(default_factory=deque)


class Hosts:
    """Decides whether a visit may begin. Costs nothing while no host has complained. Times are of time.monotonic()."""

    def __init__(self, most_held: int) -> None:
        #: Whether there is anything to decide, or to be begun; nothing else need be checked while there is not.
        self.active = False
        self._most_held = most_held
        self._hosts: dict[str, _Host] = {}
        #: Visits whose host may be asked again; they count as busy already.
        self._ready: deque[Visit] = deque()
        self._held = 0
        #: How many held visits may go in favour of others.
        self._credit = 0

    @property
    def full(self) -> bool:
        """Whether nothing more can be held back, and nothing seems to come but what would have to be."""
        return self._held >= self._most_held and not self._credit

    @property
    def limits(self) -> dict[str, int]:
        """The hosts that are spared, and how many connections each may have."""
        return {name: host.limit for name, host in self._hosts.items()}

    def overloaded(self, name: str, busy: int, now: float) -> None:
        """A host says that it is asked too much. `busy`: its connections, this one included."""
        host = self._hosts.get(name)
        if host is None:
            if len(self._hosts) >= _MOST_HOSTS:
                self._forgive(min(self._hosts, key=lambda other: self._hosts[other].forgiven))
            host = self._hosts[name] = _Host(limit=busy, busy=busy)
            self.active = True
        host.forgiven = now + _FORGIVEN_S
        if now >= host.calm_until:
            host.limit = max(1, host.limit // 2)
            host.calm_until = now + _CALM_S

    def holds_back(self, visit: Visit, now: float) -> bool:
        """Whether the visit has to wait for its host; `next` gives it back. If not, it counts as begun."""
        host = self._hosts.get(visit.host)
        if host is None:
            self._credit = min(self._credit + _CREDIT, self._most_held)
            return False
        if host.busy < host.limit:
            # Nothing of it is held, then: each end of an answer has let one go, and a limit is never raised.
            host.busy += 1
            return False
        host.held.append((now, visit))
        self._held += 1
        if self._held > self._most_held and self._credit:
            self._credit -= 1
            self._let_go(host)
        return True

    def moved(self, name: str) -> None:
        """A redirect led a visit to that host: what is on its way goes on."""
        if name in self._hosts:
            self._hosts[name].busy += 1

    def ended(self, name: str) -> None:
        """A connection has come to the end of an answer of that host, or was given up."""
        host = self._hosts.get(name)
        if host is None:
            return
        host.busy -= 1
        if host.held and host.busy < host.limit:
            self._let_go(host)

    def next(self) -> Visit | None:
        """A visit that was held back and may begin now."""
        if self._ready:
            return self._ready.popleft()
        self.active = bool(self._hosts)
        return None

    def look(self, now: float) -> None:
        """Forget the hosts that have not complained for a while, and let go what was held for long."""
        for name, host in list(self._hosts.items()):
            if host.forgiven <= now:
                self._forgive(name)
            while host.held and host.held[0][0] + LONGEST_HELD_S <= now:
                self._let_go(host)

    def _let_go(self, host: _Host) -> None:
        host.busy += 1
        self._held -= 1
        self._ready.append(host.held.popleft()[1])

    def _forgive(self, name: str) -> None:
        host = self._hosts.pop(name)
        while host.held:
            self._let_go(host)
