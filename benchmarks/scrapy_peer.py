"""The peer: Scrapy with the best settings found for many pages of one host, to JSON lines.

    python benchmarks/scrapy_peer.py URLS OUTPUT.jsonl

Run with the interpreter of the benchmarks' own environment.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import scrapy
from scrapy.crawler import CrawlerProcess


class Pages(scrapy.Spider):
    """Load each URL of a list and keep what a reader of the combined file would want."""

    name = "pages"

    async def start(self) -> Any:
        for url in Path(sys.argv[1]).read_text().split():
            yield scrapy.Request(url, dont_filter=True)

    def parse(self, response: Any) -> Iterator[dict[str, Any]]:
        yield {"url": response.url, "status": response.status, "text": response.text}


def main() -> None:
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
            "FEEDS": {sys.argv[2]: {"format": "jsonlines", "overwrite": True}},
        }
    )
    process.crawl(Pages)
    process.start()


if __name__ == "__main__":
    main()
