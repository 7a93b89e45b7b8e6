"""Measure, and write what came out to benchmarks/results/, one file per scenario.

make bench              the scenarios with Sheaf and bare pipelines     (python -m benchmarks)
make bench-peers        the scenarios with peers                        (python -m benchmarks --peers)
make bench-more         settings by hand, and containers                (python -m benchmarks --more)
python -m benchmarks --only load --quick
                        one scenario, small: to see that it runs
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.common import record
from benchmarks.common.runner import Stage, take_turns

#: Scenarios, in the page's order, and how often each contender takes its turn.
BENCH = {"load": 5, "map": 5, "tasks": 2, "scaling": 3, "scale": 2}
MORE = {"tuning": 3, "stack": 2, "stack_work": 2}
PEERS = {"load_peers": 3, "map_peers": 3, "submit_peers": 1}
ALL = BENCH | MORE | PEERS


def main() -> None:
    options = parse_arguments()
    chosen = options.only or list(PEERS if options.peers else MORE if options.more else BENCH)
    failed = [name for name in chosen if not measure(name, options)]
    if failed:
        raise SystemExit(f"a contender failed in: {', '.join(failed)}; the results say why")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", action="store_true", help="the scenarios with peers")
    parser.add_argument("--more", action="store_true", help="its own choices beside settings by hand; containers")
    parser.add_argument("--only", action="append", choices=list(ALL), help="this scenario; may be repeated")
    parser.add_argument("--quick", action="store_true", help="few items, one turn; nothing to quote")
    parser.add_argument("--huge", action="store_true", help="runs that take many minutes as well (scale)")
    parser.add_argument("--repeats", type=int, help="turns per contender")
    parser.add_argument("--work", type=Path, default=record.ROOT / "benchmarks", help="a folder on the disk to measure")
    return parser.parse_args()


def measure(name: str, options: argparse.Namespace) -> bool:
    """Run one scenario and write its file; whether every contender did its work."""
    scenario: ModuleType = importlib.import_module(f"benchmarks.scenarios.{name}")
    repeats = options.repeats or (1 if options.quick else ALL[name])
    start, load = time.perf_counter(), os.getloadavg()[0]
    facts: dict[str, Any] = {}
    print(f"{name}: {scenario.TITLE}", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix=".work-", dir=options.work) as work:
        stage = Stage(Path(work), options.quick, options.huge, facts)
        try:
            with scenario.contenders(stage) as contenders:
                rows = take_turns(contenders, repeats)
        except Exception as error:  # noqa: BLE001  what was measured before stays, and the other scenarios go on
            traceback.print_exc()
            print(f"{name} is left out: {error}", file=sys.stderr)
            return False
    facts |= {
        "quick": options.quick,
        "repeats": repeats,
        "load_before": round(load, 2),
        "took_s": round(time.perf_counter() - start, 1),
    }
    record.write(name, rows, facts)
    return not any(row["error"] for row in rows)


if __name__ == "__main__":
    main()
