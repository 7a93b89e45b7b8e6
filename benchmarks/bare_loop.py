"""The limit to measure against: a bare CurlMulti loop in each of N processes that throws the pages away.

    python benchmarks/bare_loop.py URLS PROCESSES

No queue, no lock, no file, no address check, no retry. Prints the number of pages it has loaded.
"""

from __future__ import annotations

import sys
from multiprocessing import Pool
from pathlib import Path

import pycurl

CONNECTIONS = 32


def load(urls: list[str]) -> int:
    """Load each URL once; return how many answered 200."""
    multi = pycurl.CurlMulti()
    idle = []
    for _ in range(CONNECTIONS):
        handle = pycurl.Curl()
        handle.setopt(pycurl.WRITEFUNCTION, len)
        handle.setopt(pycurl.NOSIGNAL, 1)
        handle.setopt(pycurl.PROXY, "")
        idle.append(handle)
    waiting = iter(urls)
    active = done = 0
    while True:
        while idle:
            url = next(waiting, None)
            if url is None:
                break
            handle = idle.pop()
            handle.setopt(pycurl.URL, url)
            multi.add_handle(handle)
            active += 1
        if not active:
            return done
        multi.perform()
        _, finished, broken = multi.info_read()
        for handle in finished:
            done += handle.getinfo(pycurl.RESPONSE_CODE) == 200
        for handle in [*finished, *(entry[0] for entry in broken)]:
            multi.remove_handle(handle)
            idle.append(handle)
            active -= 1
        if not finished:
            multi.select(0.1)


def main() -> None:
    urls = Path(sys.argv[1]).read_text().split()
    processes = int(sys.argv[2])
    if processes == 1:
        print(load(urls))
        return
    with Pool(processes) as pool:
        print(sum(pool.map(load, [urls[start::processes] for start in range(processes)], chunksize=1)))


if __name__ == "__main__":
    main()
