"""How fast is the whole job? `sheaf load` beside a bare CurlMulti loop and beside Scrapy, pages per second, in one run.

    make bench          or          .venv/bin/python benchmarks/load.py --pages 12000 --repeats 3

The same pages, 30 KB on average, from the same local site for all, in turns. The table shows
the median and its ratio to the bare loop (the faster of one and two processes). Absolute numbers belong to the machine;
ratios travel.
What Sheaf's time includes: the command's start, reading and checking the list, the queue, the lock, the index, the sync
to disk of every commit, the end. The cluster itself is already up, as it is for its users.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
BARE = ("bare CurlMulti x1, pages thrown away", "bare CurlMulti x2, pages thrown away")


@contextlib.contextmanager
def site(folder: Path) -> Iterator[tuple[str, int]]:
    """The local site: (address, pid)."""
    port_file = folder / "port"
    process = subprocess.Popen(
        [sys.executable, ROOT / "services/site/site.py", "--port", "0", "--port-file", port_file]
    )
    try:
        while not port_file.exists() or not port_file.read_text().strip():
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port_file.read_text().strip()}", process.pid
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def cluster(data: Path) -> Iterator[dict[str, str]]:
    """One embedded worker with a pool of all cores."""
    environment = os.environ | {"SHEAF_DATA_DIR": str(data)}
    run(["sheaf", "up", "--workers", "1"], environment)
    try:
        yield environment
    finally:
        run(["sheaf", "down"], environment)


def run(command: list[str], environment: dict[str, str] | None = None) -> str:
    program = str(Path(sys.executable).parent / command[0]) if command[0] == "sheaf" else command[0]
    done = subprocess.run([program, *command[1:]], env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def contenders(
    urls: Path, work: Path, environment: dict[str, str], peers: Path | None
) -> dict[str, Callable[[int], None]]:
    def bare(processes: int) -> Callable[[int], None]:
        return lambda _turn: check(run([sys.executable, str(HERE / "bare_loop.py"), str(urls), str(processes)]), urls)

    def sheaf(suffix: str) -> Callable[[int], None]:
        options = ["--allow-net", "127.0.0.0/8", "--again"]
        return lambda turn: check_run(
            run(["sheaf", "load", str(urls), "-o", f"pages-{turn}{suffix}", *options], environment), urls
        )

    table = {name: bare(processes) for processes, name in enumerate(BARE, start=1)}
    table |= {f"sheaf load to {suffix}": sheaf(suffix) for suffix in (".warc.gz", ".warc", ".jsonl", ".html")}
    if peers is not None:

        def scrapy(turn: int) -> None:
            output = work / f"scrapy-{turn}.jsonl"
            run([str(peers), str(HERE / "scrapy_peer.py"), str(urls), str(output)])
            with open(output) as lines:
                check(str(sum(1 for _ in lines)), urls)

        table["Scrapy x1 to .jsonl"] = scrapy
    return table


def check(answer: str, urls: Path) -> None:
    expected = len(urls.read_text().split())
    if int(answer.rsplit(maxsplit=1)[-1]) != expected:
        raise SystemExit(f"loaded {answer} of {expected} pages: not a result to compare with")


def check_run(text: str, urls: Path) -> None:
    expected = len(urls.read_text().split())
    if f"Done: {expected:,} pages" not in text or "failed" in text:
        raise SystemExit(f"sheaf load did not succeed on every page:\n{text}")


def measure(options: argparse.Namespace, work: Path) -> list[dict[str, object]]:
    peers = options.peers_python
    with site(work) as (address, site_pid), cluster(work / "data") as environment:
        urls = work / "urls.txt"
        urls.write_text("".join(f"{address}/page/{number}\n" for number in range(options.pages)))
        table = contenders(urls, work, environment, peers)
        run([sys.executable, str(HERE / "bare_loop.py"), str(urls), "1"])  # every page exists once before it counts
        seconds: dict[str, list[float]] = {name: [] for name in table}
        site_share: dict[str, list[float]] = {name: [] for name in table}
        for turn in range(options.repeats):
            for name, contender in table.items():
                cpu, start = cpu_seconds(site_pid), time.perf_counter()
                contender(turn)
                elapsed = time.perf_counter() - start
                seconds[name].append(elapsed)
                site_share[name].append((cpu_seconds(site_pid) - cpu) / elapsed)
                print(f"{name}: {options.pages / elapsed:,.0f} pages/s", file=sys.stderr)
    base = min(statistics.median(seconds[name]) for name in BARE)
    return [
        {
            "contender": name,
            "pages_per_s": round(options.pages / statistics.median(times)),
            "ratio_to_bare": round(base / statistics.median(times), 3),
            "all_seconds": [round(value, 3) for value in times],
            "site_cpu_share": round(statistics.median(site_share[name]), 2),
        }
        for name, times in seconds.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=12000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peers-python", type=Path, help="interpreter that has Scrapy; left out without it")
    parser.add_argument("--result", type=Path, default=HERE / "results" / "load.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sheaf-bench-") as work:
        rows = measure(options, Path(work))
    options.result.parent.mkdir(exist_ok=True)
    machine = {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "kernel": platform.release(),
        "date": datetime.date.today().isoformat(),
        "pages": options.pages,
        "repeats": options.repeats,
    }
    options.result.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")
    print("| contender | pages/s | to the bare loop | the site's CPU share |\n|---|---|---|---|")
    for row in rows:
        ratio, share = row["ratio_to_bare"], row["site_cpu_share"]
        print(f"| {row['contender']} | {row['pages_per_s']:,} | {ratio:.2f} | {share:.0%} |")


if __name__ == "__main__":
    main()
