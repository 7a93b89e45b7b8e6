"""Write docs/performance.md from the last results: `make bench` calls this."""

from __future__ import annotations

import json
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "performance.md"

HEAD = """# Performance

Written by `make bench` from `benchmarks/results/load.json`; not by hand. Absolute numbers belong to the machine, ratios
travel.

## The whole job, beside a bare loop and beside Scrapy

All load the same {pages:,} pages (30 KB on average) from the same local site, in turns, {repeats} times each, in one
run; medians. The site shares the {cores} cores with whoever loads. The bare loop is CurlMulti that throws the pages
away: no queue, no file, no check, no sync. Sheaf's time is the whole command on a running cluster of one worker: start,
reading and checking the list, queue, lock, index, the sync of every commit to disk, and the end. Scrapy runs with 64
connections, no delay, JSON lines (`benchmarks/scrapy_peer.py`); it neither checks addresses nor survives a kill.

| what | pages/s | to the bare loop | the site's share of a core |
|---|---|---|---|
"""

TAIL = """
Machine: {cores} cores, Python {python}, Linux {kernel}, {date}.

The bare loop is far ahead of every writer: compressing, hashing, copying and syncing cost more than the network.
"""


def main() -> None:
    result = json.loads((HERE / "results" / "load.json").read_text())
    rows = "".join(
        f"| {row['contender']} | {row['pages_per_s']:,} | {row['ratio_to_bare']:.2f} | {row['site_cpu_share']:.0%} |\n"
        for row in result["rows"]
    )
    PAGE.write_text(HEAD.format(**result["machine"]) + rows + TAIL.format(**result["machine"]))


if __name__ == "__main__":
    main()
