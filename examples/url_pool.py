"""A pool over four URLs, two of them malformed: these are reported, and stop nothing.

    $ python examples/url_pool.py http://127.0.0.1:8000
    http://127.0.0.1:8000/page/1: 8,557 characters
    [http://www.wikipedia.org: not loaded, URLError
    http://127.0.0.1:8000/page/2: 19,049 characters
    www.example.com: not loaded, ValueError

For more than a few URLs there is `sheaf load`: redirects, limits, one file with every page exactly once.
"""

import sys

from url_loader import load

from sheaf import Cluster, TaskFailed


def main(site: str) -> None:
    urls = [f"{site}/page/1", "[http://www.wikipedia.org", f"{site}/page/2", "www.example.com"]
    with Cluster.any() as cluster:
        # Without `failures`, a failed item raises TaskFailed where its result would be.
        for url, page in zip(urls, cluster.map(load, urls, failures="return"), strict=True):
            if isinstance(page, TaskFailed):
                print(f"{url}: not loaded, {page.error}")
            else:
                print(f"{url}: {len(page):,} characters")


if __name__ == "__main__":
    main(sys.argv[1])
