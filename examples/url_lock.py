"""The lock version: workers append their pages to one HTML file, one at a time.

    $ python examples/url_lock.py http://127.0.0.1:8000
    combined.html: 8 pages, each of them whole

After a kill a page may be in this file twice, for a function may be called again.
`sheaf load urls.txt -o combined.html` writes such a file with every page in it exactly once.
"""

import re
import sys

from url_loader import load

from sheaf import Cluster, task


@task(setup=Cluster)
def append(url: str, cluster: Cluster) -> None:
    page = load(url)
    # The data folder is the one that all workers share.
    with cluster.lock("combined.html"), open(cluster.settings.data_dir / "combined.html", "a") as combined:
        for line in page.splitlines(keepends=True):
            combined.write(line)
            combined.flush()  # without the lock, others' lines would come in between


def main(site: str) -> None:
    with Cluster.any() as cluster:
        path = cluster.settings.data_dir / "combined.html"
        path.unlink(missing_ok=True)
        for _ in cluster.map(append, [f"{site}/page/{number}" for number in range(8)]):
            pass
        # From each page's beginning to its end, no other page begins.
        pages = re.findall(
            r"<title>Page (\d+)</title>(?:(?!<title>).)*<!-- end of page \1 -->", path.read_text(), re.DOTALL
        )
        print(f"combined.html: {len(pages)} pages, each of them whole")


if __name__ == "__main__":
    main(sys.argv[1])
