"""Read lists of URLs: files, several of them, standard input, compressed or not; line by line, whatever is in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sheaf.submission.tally import Line
from sheaf_producer.inputs.lines import Chunk, checked_lines, chunks
from sheaf_producer.inputs.stream import blocks, shown_name

#: A longer line is rejected; no URL needs one, and a file without line ends must not fill the memory.
LINE_LIMIT_BYTES = 64 * 1024


class Sheet(NamedTuple):
    """Whole lines of a list, many of them: as they are, or one by one."""

    source: str
    chunk: Chunk
    #: Lines before these that were too long to be held, each with that as its problem.
    rejected: Sequence[Line] = ()

    def lines(self) -> Iterator[Line]:
        """Yield what is neither blank nor a comment, without the blanks around it; a bad line with its problem."""
        yield from self.rejected
        for line in checked_lines(self.source, self.chunk, LINE_LIMIT_BYTES):
            text = line.text.strip()
            if not text.startswith("#"):
                yield line if text == line.text else line._replace(text=text)


def read_lists(names: Sequence[str]) -> Iterator[Sheet]:
    """Yield all lines of the lists. `-` is standard input.

    Raises InputError for a list that cannot be opened, unpacked or read on.
    """
    for name in names:
        source = shown_name(name)
        rejected: list[Line] = []
        for chunk in chunks(source, blocks(name), LINE_LIMIT_BYTES, rejected.append):
            yield Sheet(source, chunk, tuple(rejected))
            rejected.clear()
        if rejected:
            yield Sheet(source, Chunk(0, b""), tuple(rejected))
