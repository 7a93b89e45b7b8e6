"""What `sheaf map` makes of a finished output: a Parquet table, or a copy in the input's order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from sheaf.core.errors import OutputPathError
from sheaf.core.files import exists
from sheaf.core.humanize import bytes_text, path_text
from sheaf.core.optional import pyarrow_parquet
from sheaf.core.settings import Settings
from sheaf.export import Export, check_destination, export
from sheaf.run.resolve import locate_output
from sheaf.run.run import Run


@dataclass(frozen=True, slots=True)
class Copy:
    """A file that is made at the end, since it cannot be appended to by many at once."""

    #: Inside the data folder.
    path: str
    ordered: bool
    columns: Sequence[str] | None

    def make(self, settings: Settings, run: Run) -> None:
        """Write it; raises what `export()` raises."""
        place = settings.data_dir / self.path
        export(Export(settings.data_dir / run.manifest.output, run.manifest.run, place, self.ordered, self.columns))
        order = ", in the input's order" if self.ordered else ""
        click.echo(f"Copied to:  {path_text(place)} ({bytes_text(place.stat().st_size)}){order}")

    def command(self, run: Run) -> str:
        """What to type to have it made later."""
        words = ["sheaf export", run.manifest.output, self.path, f"--run {run.manifest.run}"]
        words += ["--ordered"] * self.ordered
        words += [f"--columns {','.join(self.columns)}"] if self.columns else []
        return " ".join(words)


def plan_copy(
    settings: Settings, output: str, *, ordered: bool, columns: Sequence[str] | None
) -> tuple[str, Copy | None]:
    """Return the output to work on, and the copy to make of it; None if the output is all that is wanted.

    Raises OutputPathError for a copy's name that something else has, UsageError if pyarrow is needed and missing.
    """
    inside = locate_output(settings.data_dir, output)
    if not output.lower().endswith(".parquet"):
        if not ordered:
            return output, None
        copy = Copy(_ordered_name(inside), True, None)
        # Another output of that name would be destroyed by the copy; an earlier copy may be.
        check_destination(inside, settings.data_dir / copy.path, replace=True)
        return output, copy
    pyarrow_parquet()
    place, worked_on = settings.data_dir / inside, f"{inside}.jsonl"
    if exists(place) and not exists(settings.data_dir / f"{worked_on}.index"):
        raise OutputPathError(f"{place} exists and is not a copy of this output; move it away, or choose another name")
    return worked_on, Copy(inside, ordered, columns)


def _ordered_name(inside: str) -> str:
    """`a/prices.ordered.jsonl.gz` for `a/prices.jsonl.gz`."""
    path = Path(inside)
    stem, _, suffixes = path.name.partition(".")
    return str(path.with_name(f"{stem}.ordered.{suffixes}"))
