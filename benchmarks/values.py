"""What it takes to send a value, beside pickle and json: microseconds there and back, as multiples of pickle's.

    python benchmarks/values.py [--repeats 40] [--json FILE]

All three are measured in turns, and the least of each counts: so a machine that is busy with other work shows the same
ratios. pickle is no alternative (it runs what a message says); it is what `multiprocessing` uses, so it is the measure.
"""

from __future__ import annotations

import argparse
import json
import pickle
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from sheaf.values import Codec, Modules

#: Seconds that one measurement takes at least.
LEAST_S = 0.005


class Order:
    """As programs have them."""

    def __init__(self, number: int) -> None:
        self.number, self.name, self.price = number, f"order {number}", number * 1.5


def values() -> dict[str, Any]:
    return {
        "a small tuple": (1, "a", 2.5),
        "arguments of a call": (("https://example.com/", 3), {"retries": 2}),
        "a dict of 20 keys": {f"key {number}": number for number in range(20)},
        "a list of 1,000 numbers": list(range(1000)),
        "1,000 objects": [Order(number) for number in range(1000)],
        "800 kB of NumPy": np.arange(100_000, dtype=np.float64),
        "10 MB of bytes": bytes(10_000_000),
    }


def ways() -> dict[str, tuple[Callable[[Any], bytes], Callable[[bytes], Any]]]:
    codec = Codec(Modules({"program": sys.modules[__name__]}))
    return {
        "sheaf": (codec.encode, codec.decode),
        "pickle": (lambda value: pickle.dumps(value, 5), pickle.loads),
        "json": (lambda value: json.dumps(value).encode(), json.loads),
    }


def time_us(action: Callable[[Any], Any], given: Any) -> float:
    """Microseconds of one call, of as many as it takes to measure them."""
    count, took_s = 1, 0.0
    while True:
        began = time.perf_counter()
        for _ in range(count):
            action(given)
        took_s = time.perf_counter() - began
        if took_s >= LEAST_S:
            return took_s / count * 1e6
        count *= 4


def measure(value: Any, repeats: int) -> dict[str, dict[str, float]]:
    """The least of each way, there and back; ways that cannot write the value are left out."""
    found: dict[str, dict[str, float]] = {}
    for _ in range(repeats):
        for name, (write, read) in ways().items():
            try:
                data = write(value)
            except TypeError:
                continue
            best = found.setdefault(name, {"write_us": float("inf"), "read_us": float("inf"), "bytes": len(data)})
            best["write_us"] = min(best["write_us"], time_us(write, value))
            best["read_us"] = min(best["read_us"], time_us(read, data))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    asked = parser.parse_args()
    known: dict[str, Any] = {"python": platform.python_version(), "values": {}}
    for name, value in values().items():
        found = known["values"][name] = measure(value, asked.repeats)
        line = f"{name:<26}"
        for way, best in found.items():
            both_us = best["write_us"] + best["read_us"]
            times = both_us / (found["pickle"]["write_us"] + found["pickle"]["read_us"])
            line += f"  {way} {best['write_us']:.1f} + {best['read_us']:.1f} us ({times:.2f})"
        print(line, flush=True)
    if asked.json:
        asked.json.write_text(json.dumps(known, indent=1) + "\n")


if __name__ == "__main__":
    main()
