"""The program that Sheaf's users come from: `multiprocessing.Pool(4)` and urllib; the pages come back to the caller.

python benchmarks/peers/model_program.py URLS
"""

from __future__ import annotations

import sys
import urllib.request
from multiprocessing import Pool
from pathlib import Path


def load(url: str) -> bytes:
    with urllib.request.urlopen(url) as answer:
        body: bytes = answer.read()
    return body


def main() -> None:
    urls = Path(sys.argv[1]).read_text().split()
    with Pool(4) as pool:
        print(sum(len(body) > 0 for body in pool.imap(load, urls, chunksize=16)))


if __name__ == "__main__":
    main()
