"""Read a web server's log, a million lines by default: what was answered, and how many bytes went out.

    $ python examples/log_lines.py 20000
    20,000 lines: 18,182 x 200, 909 x 404, 909 x 503; 73.6 MB sent

The same function over a file of yours, with one JSON object a line that it can read as the result:

    sheaf map log_lines:parse access.log.gz -o hits.jsonl
"""

import re
import sys
from collections import Counter
from collections.abc import Iterator

from sheaf import Cluster

LINE = re.compile(r'(\S+) \S+ \S+ \[([^]]+)\] "(\S+) (\S+) [^"]*" (\d+) (\d+)')


def parse(line: str) -> dict[str, str | int]:
    found = LINE.match(line)
    if not found:
        raise ValueError(f"not a line of an access log: {line[:80]!r}")
    client, when, method, path, status, size = found.groups()
    return {"client": client, "when": when, "method": method, "path": path, "status": int(status), "bytes": int(size)}


def write_log(count: int) -> Iterator[str]:
    for number in range(count):
        status = {3: 404, 9: 503}.get(number % 22, 200)
        place = f"10.0.{number % 256}.{number % 250} - - [24/Nov/2026:06:{number // 60 % 60:02}:{number % 60:02} +0000]"
        yield f'{place} "GET /page/{number % 1000} HTTP/1.1" {status} {number % 8191}'


def main(count: int = 1_000_000) -> None:
    statuses: Counter[int] = Counter()
    sent = 0
    with Cluster.any() as cluster:
        # Lines are read as they are needed, and results come as they are finished: neither is ever all in memory.
        for hit in cluster.map(parse, write_log(count), ordered=False):
            statuses[hit["status"]] += 1
            sent += hit["bytes"]
    answered = ", ".join(f"{times:,} x {status}" for status, times in sorted(statuses.items()))
    print(f"{statuses.total():,} lines: {answered}; {sent / 1e6:.1f} MB sent")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
