"""`sheaf load`: every URL of a list into one file."""

from __future__ import annotations

from typing import Any

import click

from sheaf.cli.sizes import size
from sheaf.core.settings import Settings

#: Parameters of the command line that are options of the task, by the same name.
_TASK_OPTIONS = (
    "connections",
    "deadline_s",
    "max_bytes",
    "truncate",
    "attempts",
    "accept",
    "allow_net",
    "user_agent",
    "max_redirects",
)
#: Means "not given".
_UNSET = (None, ())


@click.command(short_help="Load every URL of a list into one file.")
@click.argument("lists", metavar="FILE...", nargs=-1, required=True)
@click.option(
    "--output", "-o", default="pages.warc.gz", show_default=True, help="The file; its suffix chooses the format."
)
@click.option("--detach", "-d", is_flag=True, help="Return at once; print the run's name.")
@click.option(
    "--again",
    is_flag=True,
    help="Load once more what was loaded before: added to the output or, with --replace, into a new one.",
)
@click.option("--append", is_flag=True, help="If the output holds other runs: add to it.")
@click.option("--replace", is_flag=True, help="If the output holds other runs: start a new one, and keep the old one.")
@click.option("--default-scheme", type=click.Choice(["https", "http"]), help="Prefix for lines without a scheme.")
@click.option("--connections", type=int, metavar="N", help="Pages a process loads at once [32 to 256].")
@click.option(
    "--deadline", "deadline_s", type=float, metavar="SECONDS", help="Time limit of one page, with redirects [30]."
)
@click.option("--max-size", "max_bytes", type=size, help="The largest page [16MiB].")
@click.option("--truncate", is_flag=True, default=None, help="Keep a truncated page, marked, instead of failing it.")
@click.option("--attempts", type=int, metavar="N", help="How often a page is tried [3].")
@click.option("--accept", metavar="STATUSES", help="What counts as success: any, or a list such as 2xx,404 [2xx].")
@click.option(
    "--allow-net", multiple=True, metavar="CIDR", help="Also load from this private network; may be repeated."
)
@click.option("--max-redirects", type=int, metavar="N", help="How many redirects are followed [20].")
@click.option("--ca-bundle", type=click.Path(), metavar="FILE", help="Also trust the authorities in this file (PEM).")
@click.option("--user-agent", metavar="TEXT", help="The User-Agent to send.")
@click.option("--batch-size", type=click.IntRange(1, 100_000), metavar="N", help="URLs per batch [by their number].")
@click.option("--explain", is_flag=True, help="Print at the end what was chosen automatically, and why.")
@click.pass_obj
def load(settings: Settings, /, lists: tuple[str, ...], output: str, detach: bool, **given: Any) -> None:
    """Load every URL of the lists into one file, each exactly once.

    FILE has one URL a line; blank lines and # comments are skipped. It may be packed (gzip, zstd, bzip2, xz); - is
    standard input. The same command again goes on with an unfinished run. Ctrl-C stops watching, not the run.

    \b
    The output's suffix chooses the format:
      .warc.gz .warc    web archive: requests and responses as they were sent
      .jsonl .jsonl.gz  one JSON object a page, with its text
      .html .txt        the pages one after the other, in UTF-8

    \b
    sheaf load urls.txt
    sheaf load a.txt b.txt.gz -o news.jsonl --connections 64
    grep /article/ urls.txt | sheaf load - -o articles.html --detach
    """
    from sheaf.submission.occupied import chosen
    from sheaf.submission.submit import SubmitOptions
    from sheaf.tasks.load.options import TUNING
    from sheaf_producer.submit.flow import follow_or_detach
    from sheaf_producer.submit.load import Request, read_certificates, submit_load, warn_of_proxies

    options = {name: given[name] for name in _TASK_OPTIONS if given[name] not in _UNSET}
    if given["ca_bundle"] is not None:
        options["ca_certificates"] = read_certificates(given["ca_bundle"])
    warn_of_proxies()
    how = SubmitOptions(
        batch_size=given["batch_size"],
        tuning=TUNING,
        again=given["again"],
        onto=chosen(append=given["append"], replace=given["replace"]),
    )
    request = Request(lists, output, options, given["default_scheme"], how)
    follow_or_detach(settings, submit_load(settings, request), detach=detach, explain=given["explain"])
