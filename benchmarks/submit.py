"""A single call, from `submit` to its result, on an idle embedded cluster: median and 99th percentile.

    python benchmarks/submit.py [--calls 1000] [--workers 2] [--json FILE]

The clock runs from before `submit` until `result()` has returned; a pause after each call keeps the cluster idle. On a
machine that is busy with other work, `chrt -r 10 python benchmarks/submit.py` (as root) shows what it would be on one
that is not.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path

from sheaf import Cluster

#: Calls before the measured ones: processes start, connections are made, the output is created.
WARM_UP = 50
#: Seconds between two calls.
PAUSE_S = 0.005


def measure(cluster: Cluster, calls: int) -> list[float]:
    """Milliseconds of each call, ascending."""
    took_ms = []
    for number in range(-WARM_UP, calls):
        began = time.perf_counter()
        value = cluster.submit(pow, 2, number + WARM_UP).result()
        if number >= 0:
            took_ms.append((time.perf_counter() - began) * 1000)
        assert value == 2 ** (number + WARM_UP)
        time.sleep(PAUSE_S)
    return sorted(took_ms)


def summary(took_ms: list[float]) -> dict[str, float]:
    """Percentiles, in milliseconds."""
    places = {"min": 0.0, "p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    return {name: round(took_ms[min(len(took_ms) - 1, int(len(took_ms) * at))], 2) for name, at in places.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    asked = parser.parse_args()
    with Cluster.local(workers=asked.workers) as cluster:
        found = summary(measure(cluster, asked.calls))
    print(
        f"submit to result, {asked.calls:,} calls, {asked.workers} workers: "
        + "  ".join(f"{n} {v} ms" for n, v in found.items())
    )
    if asked.json:
        known = {"calls": asked.calls, "workers": asked.workers, "python": platform.python_version()}
        asked.json.write_text(json.dumps(known | {"ms": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
