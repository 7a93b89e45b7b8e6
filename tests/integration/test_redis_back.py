"""How soon work goes on when Redis is back, with the settings that users have: a number, not a hope."""

from __future__ import annotations

import time

import pytest

from sheaf.broker import keys
from sheaf.output.repair.verify import verify
from tests.console import wait_until
from tests.integration.bench import Bench
from tests.support import RedisServer

#: Seconds after which work must go on (docs/guarantees.md).
GOES_ON_WITHIN_S = 10.0
#: Seconds of an outage in which a worker's pauses between two tries have grown to seconds.
LONG_OUTAGE_S = 4.0


def claims(server: RedisServer) -> set[tuple[bytes, bytes]]:
    """Which batches were claimed, and how often."""
    with server.client() as client:
        found: dict[bytes, bytes] = client.hgetall(keys.CLAIMS)
    return set(found.items())


@pytest.mark.serial
@pytest.mark.parametrize("outage_s", [0.0, LONG_OUTAGE_S], ids=["restart", "outage"])
def test_work_goes_on_within_ten_seconds_of_a_redis_that_is_back(bench: Bench, outage_s: float) -> None:
    """kill -9 of Redis in mid-run, at once or after seconds started again: a worker claims a batch within 10 s, and
    what it held is not lost; all settings are the defaults."""
    for name in [name for name in bench.person.environment if name.startswith("SHEAF_") and name.endswith("_S")]:
        del bench.person.environment[name]
    run = bench.submit(3000)
    for _ in range(2):
        bench.worker()
    bench.wait_until_done(run, more_than=20)

    bench.server.kill()
    time.sleep(outage_s)
    bench.server.start()
    back, before = time.monotonic(), claims(bench.server)
    wait_until(lambda: bool(claims(bench.server) - before), 60, "a worker claims a batch")
    took_s = time.monotonic() - back

    assert took_s <= GOES_ON_WITHIN_S
    done = bench.done(run)
    assert done < 3000, "the run was over before Redis was back, so nothing was measured"
    bench.wait_until_done(run, more_than=done)
    report = verify(bench.person.data, bench.person.data / run.manifest.output)
    assert (report.problems, report.duplicate) == ([], 0)
