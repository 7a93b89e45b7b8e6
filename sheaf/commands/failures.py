"""`sheaf failures`: what failed, and why."""

from __future__ import annotations

import json
from collections.abc import Iterator

import click

from sheaf.batch import Batch
from sheaf.human import count_text
from sheaf.locate import locate_run
from sheaf.output import Failure, Output
from sheaf.run import Run
from sheaf.settings import Settings


@click.command(short_help="List what failed, and why.")
@click.argument("run", required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, for programs.")
@click.option(
    "--items", "only_items", is_flag=True, help="The items only, one a line: a list that can be loaded again."
)
@click.pass_obj
def failures(settings: Settings, run: str | None, as_json: bool, only_items: bool) -> None:
    """List the items of a run that failed, each with its reason.

    RUN is a run's name, or the beginning or end of it; without it, the newest.

    \b
    sheaf failures
    sheaf failures 3f9a02 --json | jq .error
    sheaf failures --items | sheaf load - --deadline 120
    """
    found = locate_run(settings.data_dir, run)
    output = Output(settings.data_dir / found.manifest.output)
    count = 0
    try:
        for failure, item in _with_items(found, output.failures(found.manifest.run)):
            count += 1
            click.echo(_line(failure, item, as_json, only_items))
    finally:
        output.close()
    if not as_json and not only_items:
        click.echo(f"{count_text(count, 'item')} of run {found.manifest.run} failed.", err=True)


def _with_items(run: Run, all_failures: Iterator[Failure]) -> Iterator[tuple[Failure, str]]:
    for failure in all_failures:
        batch = Batch(run.manifest.run, run.manifest.batch_number(failure.index), failure.index, 1)
        yield failure, run.items(batch)[0].text


def _line(failure: Failure, item: str, as_json: bool, only_items: bool) -> str:
    if only_items:
        return item
    if as_json:
        fields = {"index": failure.index, "item": item, "error": failure.error, "message": failure.message}
        return json.dumps({**fields, "attempts": failure.attempts}, ensure_ascii=False)
    tries = f" (tried {failure.attempts} times)" if failure.attempts > 1 else ""
    return f"{failure.index}  {item}\n    {failure.error}: {failure.message}{tries}"
