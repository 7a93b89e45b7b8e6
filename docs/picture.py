"""Draw docs/terminal.svg: a real run on a real terminal (tmux), as it looks after some seconds.

    .venv/bin/python docs/picture.py          needs tmux

Starts the local sample site and an embedded cluster in a scratch folder, loads slow pages, and draws what tmux shows.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parents[1]
SESSION = "sheaf-picture"
COLUMNS, LINES = 92, 14


def tmux(*arguments: str) -> str:
    return subprocess.run(["tmux", *arguments], check=True, capture_output=True, text=True).stdout


def draw(terminal: str) -> None:
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(terminal.rstrip()))
    console.save_svg(str(ROOT / "docs/terminal.svg"), title="sheaf load")


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="sheaf-picture-") as work:
        environment = os.environ | {"PATH": f"{ROOT / '.venv/bin'}:{os.environ['PATH']}"}
        site_file = Path(work) / "port"
        site = subprocess.Popen(
            [sys.executable, ROOT / "services/site/site.py", "--port", "0", "--port-file", site_file]
        )
        try:
            while not site_file.exists() or not site_file.read_text():
                time.sleep(0.1)
            pages = [f"http://127.0.0.1:{site_file.read_text().strip()}/page/{n}?latency=40" for n in range(20000)]
            (Path(work) / "urls.txt").write_text("\n".join([*pages, "[http://www.wikipedia.org"]))
            subprocess.run(["sheaf", "up", "--workers", "3"], cwd=work, env=environment, check=True)
            size = ["-x", str(COLUMNS), "-y", str(LINES)]
            tmux(
                "new-session",
                "-d",
                "-s",
                SESSION,
                "-c",
                work,
                *size,
                "env",
                f"PATH={environment['PATH']}",
                "bash",
                "--norc",
            )
            tmux("send-keys", "-t", SESSION, "PS1='$ '; clear", "Enter")
            tmux("send-keys", "-t", SESSION, "sheaf load urls.txt -o pages.warc.gz --allow-net 127.0.0.1/32", "Enter")
            time.sleep(6)
            draw(tmux("capture-pane", "-t", SESSION, "-e", "-p"))
        finally:
            subprocess.run(["tmux", "kill-session", "-t", SESSION], check=False)
            subprocess.run(["sheaf", "down"], cwd=work, env=environment, check=False)
            site.terminate()


if __name__ == "__main__":
    main()
