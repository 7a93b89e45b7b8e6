"""The web site that pages are loaded from: nginx if there is one, else services/site. The same pages from both."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.common.command import cpu_seconds, tree

ROOT = Path(__file__).parents[2]
#: Distinct pages. An address's last digits choose the page, so any number of addresses can be asked for.
PAGES = 1000
#: One worker is far faster than any client here; keep-alive without end; files from the cache.
NGINX = """
{user}
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{ worker_connections 2048; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000000;
    open_file_cache max=2000 inactive=1h;
    default_type "text/html; charset=utf-8";
    types {{ }}
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location ~ ^/page/\\d*(\\d\\d\\d)$ {{ alias {folder}/pages/$1.html; }}
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class Site:
    address: str
    #: What serves, with its version.
    server: str
    pid: int

    def write_urls(self, path: Path, count: int) -> Path:
        path.write_text("".join(f"{self.address}/page/{number:07d}\n" for number in range(count)))
        return path

    def cpu_s(self) -> float:
        return cpu_seconds(tree(self.pid))


@contextmanager
def serve(folder: Path) -> Iterator[Site]:
    """Serve until the block ends."""
    folder.mkdir(parents=True, exist_ok=True)
    nginx = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    with _nginx(folder, nginx) if nginx else _own_site(folder) as site:
        yield site


@contextmanager
def _nginx(folder: Path, program: str) -> Iterator[Site]:
    _write_pages(folder / "pages")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    user = "user root;" if os.geteuid() == 0 else ""
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(folder=folder, port=port, user=user))
    version = subprocess.run([program, "-v"], capture_output=True, text=True).stderr.strip().rpartition(" ")[2]
    process = subprocess.Popen([program, "-c", config, "-p", folder, "-g", "daemon off;"])
    try:
        site = Site(f"http://127.0.0.1:{port}", version, process.pid)
        _wait_until_serving(f"{site.address}/page/0000000")
        yield site
    finally:
        process.send_signal(signal.SIGQUIT)
        process.wait()


@contextmanager
def _own_site(folder: Path) -> Iterator[Site]:
    port_file = folder / "port"
    process = subprocess.Popen(
        [sys.executable, ROOT / "services/site/site.py", "--port", "0", "--port-file", port_file],
        stdout=subprocess.DEVNULL,
    )
    try:
        while not port_file.exists():
            time.sleep(0.05)
        yield Site(f"http://127.0.0.1:{port_file.read_text().strip()}", "services/site", process.pid)
    finally:
        process.terminate()
        process.wait()


def _write_pages(folder: Path) -> None:
    sys.path.insert(0, str(ROOT / "services/site"))
    from pages import Pages

    folder.mkdir(exist_ok=True)
    pages = Pages(seed=1)
    for number in range(PAGES):
        (folder / f"{number:03d}.html").write_bytes(pages.body(number))


def _wait_until_serving(url: str) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).read()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
