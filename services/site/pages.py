"""The local test site's pages: the same bytes for the same number and seed. Standard library only."""

from __future__ import annotations

import bisect
import mmap
import random
import zlib

SMALLEST, LARGEST = 2_500, 290_000
#: Bends the sizes down until their mean is 30 KB (their median is then 16 KB).
SIZE_BEND = 1.32
#: Pages are cut from a text of this many bytes, each at a place of its own.
TEXT_BYTES = 2_000_000
#: Requests are counted for pages below this number.
COUNTED_PAGES = 1 << 20

WORDS = tuple(
    """
    the of and to in is that for it was on are as with they at be this from have or by one had not but what all
    were when we there can an your which their said if do will each about how up out them then she many some so
    these would other into has more her two like him see time could no make than first been its who now people my
    made over did down only way find use may water long little very after words called just where most know naïve
    façade Straße Übung smørbrød ångström café 日本語 слово λόγος
    """.split()  # noqa: SIM905  as a list it would be a page long
)


class Pages:
    """The pages' bytes, by number."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._text, self._starts = _write_text(random.Random(seed))  # noqa: S311  not a secret
        self._last_first = bisect.bisect(self._starts, TEXT_BYTES - LARGEST)

    def body(self, number: int) -> bytes:
        """Return page `number`: head, paragraphs from a place of its own, and an end that shows it is whole."""
        head = (
            b'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Page %d</title></head>\n'
            b'<body><h1>Page %d</h1>\n<p><a href="/page/%d">next</a></p>\n'
        ) % (number, number, number + 1)
        tail = b"<!-- end of page %d -->\n</body></html>\n" % number
        # The checksum's neighbours are related; the multiplication scatters them.
        chance = zlib.crc32(b"%d/%d" % (self._seed, number)) * 2654435761 % 2**32
        share = ((chance >> 16) + (chance & 0xFFFF)) / 2**17
        size = SMALLEST * (LARGEST / SMALLEST) ** share**SIZE_BEND
        start = self._starts[chance % self._last_first]
        end = self._starts[bisect.bisect(self._starts, start + size - len(head) - len(tail)) - 1]
        return b"".join((head, self._text[start:end], tail))


def _write_text(chance: random.Random) -> tuple[memoryview, list[int]]:
    """Return the text that pages are cut from, and where its paragraphs start."""
    paragraphs: list[bytes] = []
    starts: list[int] = []
    length = 0
    while length < TEXT_BYTES:
        words = " ".join(chance.choices(WORDS, k=chance.randrange(10, 60)))
        name, link = chance.getrandbits(32), chance.randrange(10_000)
        paragraph = f'<p id="{name:08x}"><a href="/page/{link}">{words}</a></p>\n'.encode()
        paragraphs.append(paragraph)
        starts.append(length)
        length += len(paragraph)
    return memoryview(b"".join(paragraphs)), starts


class Counts:
    """What was served. Each process counts in its own part of one shared memory; any of them can tell the sum."""

    def __init__(self, processes: int) -> None:
        self._size = 2 + COUNTED_PAGES
        self._all = memoryview(mmap.mmap(-1, processes * self._size * 8)).cast("Q")
        self._processes = processes
        self._base = 0

    def use(self, process: int) -> None:
        """Count in the part of this process from now on."""
        self._base = process * self._size

    def add(self, size_bytes: int) -> None:
        self._all[self._base] += 1
        self._all[self._base + 1] += size_bytes

    def add_page(self, number: int) -> None:
        if number < COUNTED_PAGES:
            self._all[self._base + 2 + number] += 1

    @property
    def requests(self) -> int:
        return self._total(0)

    @property
    def bytes(self) -> int:
        return self._total(1)

    def page(self, number: int) -> int:
        """How often page `number` was asked for."""
        return self._total(2 + number) if number < COUNTED_PAGES else 0

    def _total(self, field: int) -> int:
        return sum(self._all[process * self._size + field] for process in range(self._processes))
