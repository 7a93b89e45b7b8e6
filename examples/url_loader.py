"""Load one URL in a worker, and print how its page starts.

    $ python examples/url_loader.py http://127.0.0.1:8000/page/1
    <!DOCTYPE html>
    <html lang="en"><head><meta charset="utf-8"><title>Page 1</title></head>
    <body><h1>Page 1</h1>

The site is the project's own: `python services/site/site.py --port 8000`, or the stack's service `site`.
"""

import sys
import urllib.request

from sheaf import Cluster


def load(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()


def main(url: str) -> None:
    with Cluster.any() as cluster:
        page = cluster.submit(load, url).result()
        print(*page.splitlines()[:3], sep="\n")


if __name__ == "__main__":
    main(sys.argv[1])
