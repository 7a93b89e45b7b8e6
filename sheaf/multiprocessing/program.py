"""A program in Redis: its name, its lease, and the end of it and of its processes.

What the program shares lives exactly as long as its lease: `Program.close()` removes everything in one step, and if the
program is killed, a worker does (`sweep_programs()`).
"""

from __future__ import annotations

import logging
import os
import secrets
import threading

import redis

from sheaf.broker import keys
from sheaf.broker.scripts import Script
from sheaf.core.errors import ClusterError
from sheaf.multiprocessing.member import Member
from sheaf.multiprocessing.steps import patiently

logger = logging.getLogger(__name__)

#: Seconds that a program's lease lasts, and between two renewals of it.
LEASE_S, RENEW_S = 15.0, 3.0
#: How many programs are removed in one step.
_SWEPT_AT_ONCE = 20


class Program:
    """This process as a program: it has the lease, and is the process `0` of its own."""

    def __init__(self, connection: redis.Redis, lease_s: float = LEASE_S) -> None:
        self.name = secrets.token_hex(8)
        self._lease = Script(connection, "mp_lease")
        self._lease_ms = int(lease_s * 1000)
        self._over = threading.Event()
        self._pid = os.getpid()
        #: Whether everything that it shared was removed, because it could not renew its lease.
        self.lost = False
        patiently(lambda: self._lease([keys.MP_PROGRAMS], ["begin", self.name, self._lease_ms]))
        self.member = Member(connection, self.name)
        self._renewing = threading.Thread(target=self._renew, name="sheaf-lease", daemon=True)
        self._renewing.start()

    def close(self) -> None:
        """Remove all that the program has in Redis. Done twice, or in a forked process, it does nothing."""
        if self._over.is_set() or self._pid != os.getpid():
            return
        self._over.set()
        self._renewing.join(5)
        self.member.close()
        try:
            self._lease([keys.MP_PROGRAMS], ["end", self.name])
        except ClusterError as error:
            logger.warning(
                "could not remove what the program shared: %s. A worker does when its lease has run out",
                error,
                extra={"action": "end", "program": self.name},
            )

    def _renew(self) -> None:
        while not self._over.wait(min(RENEW_S, self._lease_ms / 5000)):
            try:
                if self._lease([keys.MP_PROGRAMS], ["renew", self.name, self._lease_ms]):
                    continue
            except ClusterError as error:
                # It may come back in time; else what the program does next says so.
                logger.debug("the lease was not renewed: %s", error, extra={"action": "lease"})
                continue
            self.lost = True
            logger.error(
                "the program's lease ran out: what it shared was removed, and its processes are ended",
                extra={"action": "lease", "program": self.name},
            )
            return


def process_ended(connection: redis.Redis, program: str, process: str, *, killed: bool) -> bool:
    """Give on what a process held, and take no step of its own any more. False if that was done before.

    `killed`: it did not end by itself (an exit code below 0, or its worker is gone).
    """
    names = [keys.MP_PROGRAMS, keys.of_program(program, keys.MP_CLIENTS)]
    return bool(Script(connection, "mp_ended")(names, [process, int(killed)]))


def sweep_programs(connection: redis.Redis) -> list[str]:
    """Remove all that programs have whose lease is over; return their names. Cheap when there are none."""
    swept = Script(connection, "mp_lease")([keys.MP_PROGRAMS], ["sweep", _SWEPT_AT_ONCE])
    names = [bytes(name).decode() for name in swept]
    if names:
        logger.info("removed what ended programs had shared", extra={"action": "sweep", "programs": names})
    return names
