"""Call an HTTP API that says "429 Too Many Requests": each call is tried again, after a pause that grows.

    $ python examples/api_limit.py http://127.0.0.1:8000
    order 1: Page 9001
    order 2: Page 9002
    order 3: Page 9003
    order 4: not answered after 5 attempts, HTTPError

The local site refuses the first two requests for each of the first three orders, and every one for the fourth.
"""

import re
import sys
import urllib.request

from sheaf import Cluster, TaskFailed, task


# While one item waits for its next attempt, its process goes on with others.
@task(attempts=5, backoff_s=0.1, timeout_s=10)
def ask(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as answer:  # raises HTTPError for 429
        return re.search("<title>(.*)</title>", answer.read().decode())[1]


def main(site: str) -> None:
    urls = [f"{site}/page/{9000 + order}?status=429&times=2" for order in (1, 2, 3)]
    urls.append(f"{site}/page/9004?status=429")
    with Cluster.any() as cluster:
        for order, answer in enumerate(cluster.map(ask, urls, failures="return"), start=1):
            if isinstance(answer, TaskFailed):
                print(f"order {order}: not answered after {answer.attempts} attempts, {answer.error}")
            else:
                print(f"order {order}: {answer}")


if __name__ == "__main__":
    main(sys.argv[1])
