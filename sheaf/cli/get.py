"""`sheaf get`: one item's record out of an output, by its URL or its number."""

from __future__ import annotations

import gzip
import mmap
import os
import sys
from pathlib import Path

import click

from sheaf.core.errors import InputError, RunDamaged, RunNotFound, UsageError
from sheaf.core.files import NotReadable, open_file
from sheaf.core.settings import Settings
from sheaf.output.output import Output
from sheaf.run.item_list import ITEMS
from sheaf.run.items import Batch
from sheaf.run.manifest import damaged
from sheaf.run.resolve import locate_existing_output, locate_run
from sheaf.run.run import Run
from sheaf.tasks.load.errors import InvalidUrl
from sheaf.tasks.load.url import check_url


@click.command(short_help="Print one item's record.")
@click.argument("output")
@click.argument("item")
@click.option("--run", "run_name", metavar="RUN", help="The run [the newest that has the item].")
@click.option("--raw", is_flag=True, help="As it is in the file: for .gz, the compressed bytes.")
@click.pass_obj
def get(settings: Settings, output: str, item: str, run_name: str | None, raw: bool) -> None:
    """Print the record of one ITEM: a URL, or an item's number in its run (from 0).

    \b
    sheaf get pages.warc.gz https://example.org/
    sheaf get pages.jsonl 17 | jq .status
    """
    inside = locate_existing_output(settings.data_dir, output)
    path = settings.data_dir / inside
    opened = Output(path)
    try:
        run, index = _find(settings, inside, list(opened.reader.runs()), item, run_name)
        record = opened.records.one(run.manifest.run, index)
    finally:
        opened.close()
    unpack = path.suffix == ".gz" and not raw
    sys.stdout.buffer.write(gzip.decompress(record) if unpack else record)


def _find(settings: Settings, output: str, names: list[str], item: str, run_name: str | None) -> tuple[Run, int]:
    """Return the newest of the output's runs that has the item, and the item's index in it."""
    if run_name is not None:
        run = locate_run(settings.data_dir, run_name)
        if run.manifest.output != output:
            raise UsageError(f"run {run.manifest.run} goes into {run.manifest.output}, not into {output}")
        names = [run.manifest.run]
    text = item if item.isdecimal() else _normal(item)
    damage: RunDamaged | None = None
    for name in sorted(names, reverse=True):
        try:
            run = Run.open(settings.data_dir, name)
            index = _number(run, item) if item.isdecimal() else _place_of(run, text)
        except RunDamaged as error:
            damage = error
            continue  # another run may have it
        except RunNotFound:
            continue  # its folder was removed; the records are still in the file, but it is not known which is which
        if index is not None:
            return run, index
    if damage is not None:
        raise damage
    raise InputError(f"none of the {len(names)} runs in {output} has an item {text!r}")


def _number(run: Run, item: str) -> int | None:
    return int(item) if int(item) < run.manifest.items else None


def _place_of(run: Run, text: str) -> int | None:
    if run.manifest.numbers is None:
        try:
            index = find_item(run.folder / ITEMS, text)
        except NotReadable as error:
            raise damaged(run.manifest.run, run.folder, ITEMS, str(error)) from error
        # A line's end too many or too few before it would make it another's place.
        if index is not None and run.items(Batch(run.manifest.run, 0, index, 1))[0].text != text:
            raise damaged(run.manifest.run, run.folder, ITEMS, f"does not have {text!r} where its offsets say")
        return index
    numbers = range(*run.manifest.numbers)
    is_number = text.removeprefix("-").isdecimal()
    return numbers.index(int(text)) if is_number and int(text) in numbers else None


def _normal(url: str) -> str:
    try:
        return check_url(url, "https")
    except InvalidUrl:
        return url  # an item of another task: any text


def find_item(items: Path, text: str) -> int | None:
    """Return the index of the line that equals `text`; one pass over the file, in the system's page cache.

    Raises NotReadable.
    """
    wanted = text.encode() + b"\n"
    descriptor = open_file(items)
    if os.fstat(descriptor).st_size == 0:
        os.close(descriptor)
        return None
    with os.fdopen(descriptor, "rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        at = 0 if content[: len(wanted)] == wanted else content.find(b"\n" + wanted) + 1
        if at == 0 and content[: len(wanted)] != wanted:
            return None
        stream.seek(0)
        lines, left = 0, at
        while left > 0:
            chunk = stream.read(min(left, 1 << 20))
            lines += chunk.count(b"\n")
            left -= len(chunk)
        return lines
