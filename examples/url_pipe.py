"""The pipe version: the page comes back to the program that asked, which goes on with it.

    $ python examples/url_pipe.py http://127.0.0.1:8000
    Page 1: 8,557 characters, 40 links
    Page 2: 19,049 characters, 90 links
    Page 3: 30,801 characters, 153 links

A future is one end of a pipe: what the worker puts in is the function's value.
"""

import re
import sys

from url_loader import load

from sheaf import Cluster


def main(site: str) -> None:
    with Cluster.any() as cluster:
        # `submit` returns at once, so that the workers load all three together.
        futures = [cluster.submit(load, f"{site}/page/{number}") for number in (1, 2, 3)]
        for future in futures:
            page = future.result()
            title = re.search("<title>(.*)</title>", page)[1]
            print(f"{title}: {len(page):,} characters, {page.count('<a href'):,} links")


if __name__ == "__main__":
    main(sys.argv[1])
