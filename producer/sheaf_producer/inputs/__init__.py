"""What a run's items are made of: lines, JSON lines, CSV, Parquet, numbers, or the paths of files; packed or not.

Each kind yields lists of items, so that a million of them cost seconds, and holds few in memory. A line that cannot be
used is passed to `reject` with its number and the reason, and the next one is read.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from sheaf.core.errors import InputError
from sheaf_producer.inputs.csv_rows import read_csv
from sheaf_producer.inputs.files import read_files
from sheaf_producer.inputs.json_lines import read_json_lines
from sheaf_producer.inputs.lines import read_lines
from sheaf_producer.inputs.numbers import numbers_of
from sheaf_producer.inputs.opening import is_regular
from sheaf_producer.inputs.stream import Reject, blocks, check_inputs, shown_name

__all__ = ["FORMATS", "Inputs"]

#: What a file's items may be, by the names that `--input-format` takes.
FORMATS = ("lines", "jsonl", "csv", "tsv", "parquet")
_SUFFIXES = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_PACKED = (".gz", ".zst", ".bz2", ".xz")
_PARQUET = b"PAR1"


@dataclass(frozen=True)
class Inputs:
    """The inputs of one run, as they were named."""

    names: Sequence[str]
    #: One of FORMATS for all of them; None: recognised by each one's suffix, or its content.
    format: str | None = None
    #: The column of a CSV or Parquet file whose values are the items; None: whole rows.
    column: str | None = None
    #: The names are patterns, and the items are the paths of the files they match.
    files: bool = False
    #: The delimiter of a CSV file; None: a comma, or in `.tsv` a tab.
    delimiter: str | None = None

    def check(self) -> None:
        """Raise InputError for what can be seen to be wrong before anything is read."""
        if self.numbers is not None or self.files:
            if self.column is not None or self.format is not None or self.delimiter is not None:
                raise InputError(
                    "--column, --delimiter and --input-format are for files with content, not for ranges or --files"
                )
            return
        check_inputs(self.names)
        for name in self.names:
            if self._kind(name) == "parquet" and not is_regular(name):
                raise InputError(_not_from_a_pipe(name))
        for option, given, kinds in (
            ("--column", self.column, ("csv", "tsv", "parquet")),
            ("--delimiter", self.delimiter, ("csv", "tsv")),
        ):
            wrong = next((name for name in self.names if self._kind(name) not in kinds), None)
            if given is not None and wrong is not None:
                raise InputError(
                    f"{wrong} has no columns, so {option} cannot be used; give --input-format csv if it has"
                )
        if len(passing := {self._passing(name) for name in self.names}) > 1:
            raise InputError(
                f"{', '.join(self.names)}: some contain lines, others JSON or rows, so the function would get mixed "
                f"input ({' and '.join(sorted(passing))}); submit them separately, or give --input-format"
            )

    @cached_property
    def numbers(self) -> range | None:
        """The numbers that are the items, if that is what was named. Raises InputError if they cannot be used."""
        if self.files:
            return None
        found = [numbers for numbers in map(numbers_of, self.names) if numbers is not None]
        if found and len(self.names) > 1:
            raise InputError("a range of numbers has to be a run's only input; submit the others separately")
        return found[0] if found else None

    @property
    def passing(self) -> str:
        """How the function gets an item: as `text`, or what its `json` means."""
        if self.files:
            return "text"
        return "json" if self.numbers is not None else self._passing(self.names[0])

    def read(self, reject: Reject) -> Generator[list[str], None, None]:
        """Yield the items, many at once. Raises InputError for an input that cannot be read to its end."""
        if self.numbers is not None:
            yield from _numbers(self.numbers)
            return
        for name in self.names:
            yield from read_files(name, reject) if self.files else self._read(name, reject)

    def _read(self, name: str, reject: Reject) -> Iterator[list[str]]:
        kind, source = self._kind(name), shown_name(name)
        if kind == "parquet":
            from sheaf_producer.inputs.parquet import read_parquet

            return read_parquet(name, reject, column=self.column)
        if kind == "jsonl":
            return read_json_lines(source, blocks(name), reject)
        if kind in ("csv", "tsv"):
            delimiter = self.delimiter or ("," if kind == "csv" else "\t")
            chosen = self.delimiter is not None
            return read_csv(source, blocks(name), reject, column=self.column, delimiter=delimiter, chosen=chosen)
        return read_lines(source, blocks(name) if self.format == kind else _no_parquet(name), reject)

    def _kind(self, name: str) -> str:
        return self._kinds[name]

    @cached_property
    def _kinds(self) -> Mapping[str, str]:
        """What each input holds, asked once; what can be read only once is not opened for it."""
        return {name: self.format or _kind_of(name) for name in self.names}

    def _passing(self, name: str) -> str:
        kind = self._kind(name)
        if kind == "parquet" and self.column is not None:
            from sheaf_producer.inputs.parquet import column_is_text

            return "text" if column_is_text(name, self.column) else "json"
        return "json" if kind == "jsonl" or (kind != "lines" and self.column is None) else "text"


def _numbers(numbers: range, at_once: int = 16_384) -> Iterator[list[str]]:
    for first in range(0, len(numbers), at_once):
        yield list(map(str, numbers[first : first + at_once]))


def _kind_of(name: str) -> str:
    """Tell it by the name's suffix, else of a file by its first bytes."""
    if name == "-":
        return "lines"
    stem = name.lower()
    for packed in _PACKED:
        stem = stem.removesuffix(packed)
    if stem.endswith(".json"):
        raise InputError(
            f"{name} may be one JSON document or JSON lines; if it has one value per line, give --input-format "
            f"jsonl, otherwise split it first: jq -c '.[]' {name} | sheaf map … - --input-format jsonl"
        )
    by_suffix = next((kind for suffix, kind in _SUFFIXES.items() if stem.endswith(suffix)), None)
    return by_suffix or ("parquet" if is_regular(name) and _starts_with(name, _PARQUET) else "lines")


def _starts_with(name: str, magic: bytes) -> bool:
    try:
        with open(name, "rb") as stream:
            return stream.read(len(magic)) == magic
    except OSError:
        return False  # reading it says what is wrong


def _no_parquet(name: str) -> Iterator[bytes]:
    """The blocks of what was taken for text, unless they are not text: a pipe's were not checked before."""
    for number, block in enumerate(blocks(name)):
        if number == 0 and block.startswith(_PARQUET):
            raise InputError(_not_from_a_pipe(name))
        yield block


def _not_from_a_pipe(name: str) -> str:
    return (
        f"{shown_name(name)} is Parquet, which is read from its end, so it can neither be compressed nor come through "
        "a pipe; save it as a file first, and name that (if it is text after all: --input-format lines)"
    )
