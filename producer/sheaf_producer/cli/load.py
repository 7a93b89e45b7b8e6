"""The producer's commands: `sheaf load`, `sheaf watch`, `sheaf retry`, `sheaf cancel`."""

from __future__ import annotations

from typing import Any

import click

from sheaf.cli.problems import show_problems
from sheaf.core.humanize import count_text
from sheaf.core.settings import Settings
from sheaf.run.resolve import locate_run
from sheaf_producer.cli.sizes import size

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
#: What stands for "not given".
_UNSET = (None, ())


@click.command(short_help="Load every URL of a list into one file.")
@click.argument("lists", metavar="FILE...", nargs=-1, required=True)
@click.option(
    "--output", "-o", default="pages.warc.gz", show_default=True, help="The file; its suffix chooses the format."
)
@click.option("--detach", "-d", is_flag=True, help="Return at once; print the run's name.")
@click.option("--again", is_flag=True, help="Load even what was loaded before; behind it, or with --replace anew.")
@click.option("--append", is_flag=True, help="Into an output that holds other runs: add to it.")
@click.option("--replace", is_flag=True, help="Into an output that holds other runs: begin it anew; they are kept.")
@click.option("--default-scheme", type=click.Choice(["https", "http"]), help="Put before lines that have no scheme.")
@click.option("--connections", type=int, metavar="N", help="Pages a process loads at once [32 to 256].")
@click.option("--deadline", "deadline_s", type=float, metavar="SECONDS", help="For one page, with redirects [30].")
@click.option("--max-size", "max_bytes", type=size, help="The largest page [16MiB].")
@click.option("--truncate", is_flag=True, default=None, help="Keep part of a page, marked, rather than fail it.")
@click.option("--attempts", type=int, metavar="N", help="How often a page is tried [3].")
@click.option("--accept", metavar="STATUSES", help="What counts as success: any, or a list such as 2xx,404 [2xx].")
@click.option("--allow-net", multiple=True, metavar="CIDR", help="Load from this private network too; may be repeated.")
@click.option("--max-redirects", type=int, metavar="N", help="How many redirects are followed [20].")
@click.option("--ca-bundle", type=click.Path(), metavar="FILE", help="Trust the authorities in it (PEM), too.")
@click.option("--user-agent", metavar="TEXT", help="How to introduce ourselves to servers.")
@click.option("--batch-size", type=click.IntRange(1, 100_000), metavar="N", help="URLs per batch [by their number].")
@click.option("--explain", is_flag=True, help="Say at the end what was chosen for you, and why.")
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
    from sheaf_producer.submit.flow import conclude
    from sheaf_producer.submit.load import Request, read_certificates, submit_load, tell_proxies
    from sheaf_producer.submit.occupied import chosen

    options = {name: given[name] for name in _TASK_OPTIONS if given[name] not in _UNSET}
    if given["ca_bundle"] is not None:
        options["ca_certificates"] = read_certificates(given["ca_bundle"])
    tell_proxies()
    onto = chosen(append=given["append"], replace=given["replace"])
    request = Request(lists, output, options, given["default_scheme"], given["batch_size"], given["again"], onto)
    conclude(settings, submit_load(settings, request), detach=detach, explain=given["explain"])


@click.command()
@click.argument("run", required=False)
@click.pass_obj
def watch(settings: Settings, run: str | None) -> None:
    """Follow a run to its end.

    RUN is a run's name, or the beginning or end of it; without it, the newest. Ctrl-C stops watching, not the run.

    \b
    sheaf watch
    sheaf watch 3f9a02
    """
    from sheaf_producer.progress.follow import follow

    follow(settings, locate_run(settings.data_dir, run))


@click.command(short_help="Do a run's failed items again.")
@click.argument("run")
@click.option("--error", "errors", multiple=True, metavar="CLASS", help="Those of this class only; may be repeated.")
@click.option("--item", "items", multiple=True, type=int, metavar="N", help="This item only; may be repeated.")
@click.option("--detach", "-d", is_flag=True, help="Return at once; print the run's name.")
@click.pass_obj
def retry(settings: Settings, run: str, errors: tuple[str, ...], items: tuple[int, ...], detach: bool) -> None:
    """Do the failed items of a run again, into the same output, and follow the run to its end.

    RUN is a run's name, the beginning or end of it, or `last`. The task is taken as it is now: correct it first. An
    unfinished run that stands still because its task was changed goes on, with the task as it is now.

    \b
    sheaf retry last
    sheaf retry 3f9a02 --error Timeout --error ConnectionFailed
    sheaf retry 3f9a02 --item 17
    """
    from sheaf_producer.submit.flow import conclude
    from sheaf_producer.submit.retry import retry as retry_run

    found = locate_run(settings.data_dir, run)
    conclude(settings, retry_run(settings, found, errors, items), detach=detach)


@click.command()
@click.argument("run")
@click.pass_obj
def cancel(settings: Settings, run: str) -> None:
    """Stop a run; what is done stays in its output.

    RUN is a run's name, the beginning or end of it, or `last`. Submitting the same again takes the run up where it
    stopped.

    \b
    sheaf cancel 3f9a02
    sheaf cancel last
    """
    found = locate_run(settings.data_dir, run)
    name = found.manifest.run
    if found.finished:
        click.echo(f"Run {name} is finished; there is nothing to cancel.")
        return
    show_problems(settings, [found], err=True)
    found.cancel()
    click.echo(
        f"Run {name} ({count_text(found.manifest.items, 'item')}) is cancelled; workers let go of it within seconds. "
        "To go on, submit the same again."
    )
