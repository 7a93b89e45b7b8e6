"""Scrapy with the best settings found for many pages of one host, to JSON lines: one process per list.

    python benchmarks/peers/scrapy_peer.py OUTPUT URLS...

Best found: 64 connections, no delay, no cookies, no telnet console, no robots.txt. Prints {"run_s": ...}:
seconds from the start of the crawl to its end.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import scrapy
from scrapy.crawler import CrawlerProcess


class Pages(scrapy.Spider):
    """Load each URL of a list and keep what a reader of the combined file would want."""

    name = "pages"
    urls = ""

    async def start(self) -> Any:
        for url in Path(self.urls).read_text().split():
            yield scrapy.Request(url, dont_filter=True)

    def parse(self, response: Any) -> Iterator[dict[str, Any]]:
        yield {"url": response.url, "status": response.status, "text": response.text}


def crawl(output: str, urls: str) -> None:
    process = CrawlerProcess(
        {
            "CONCURRENT_REQUESTS": 64,
            "CONCURRENT_REQUESTS_PER_DOMAIN": 64,
            "DOWNLOAD_DELAY": 0,
            "ROBOTSTXT_OBEY": False,
            "COOKIES_ENABLED": False,
            "RETRY_ENABLED": True,
            "TELNETCONSOLE_ENABLED": False,
            "LOG_LEVEL": "WARNING",
            "FEEDS": {output: {"format": "jsonlines", "overwrite": True}},
        }
    )
    start = time.perf_counter()
    process.crawl(Pages, urls=urls)
    process.start()
    print(json.dumps({"run_s": time.perf_counter() - start}), flush=True)


def main() -> None:
    output, lists = sys.argv[1], sys.argv[2:]
    if len(lists) == 1:
        crawl(output, lists[0])
        return
    parts = [subprocess.Popen([sys.executable, __file__, f"{output}.{part}", urls]) for part, urls in enumerate(lists)]
    if any([part.wait() for part in parts]):
        raise SystemExit("a part failed")


if __name__ == "__main__":
    main()
