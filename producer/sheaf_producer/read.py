"""Read lists of URLs: files, several of them, standard input, packed or not; line by line, whatever lies in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sheaf_producer.inputs.lines import checked_lines, chunks
from sheaf_producer.inputs.stream import Line, blocks, shown_name

#: A longer line is rejected; no URL needs one, and a file without line ends must not fill the memory.
LINE_LIMIT_BYTES = 64 * 1024


def read_lists(names: Sequence[str]) -> Iterator[Line]:
    """Yield every line that is neither blank nor a comment, without the blanks around it. `-` is standard input.

    Raises InputError for a list that cannot be opened, unpacked or read on; a bad line is yielded with its problem.
    """
    for name in names:
        source = shown_name(name)
        rejected: list[Line] = []
        for chunk in chunks(source, blocks(name), LINE_LIMIT_BYTES, rejected.append):
            yield from rejected
            rejected.clear()
            for line in checked_lines(source, chunk, LINE_LIMIT_BYTES):
                text = line.text.strip()
                if not text.startswith("#"):
                    yield line if text == line.text else line._replace(text=text)
        yield from rejected
