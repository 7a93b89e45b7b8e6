"""The outputs that one process has open."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from sheaf.output import cache as cache_module
from sheaf.output.cache import OutputCache, open_output
from sheaf.output.output import Output
from sheaf.run.sessions import SESSIONS


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[OutputCache]:
    """Of a folder with the outputs a, b and c."""
    for name in ("a.txt", "b.txt", "c.txt"):
        Output.create(tmp_path / name).close()
    made = OutputCache(tmp_path)
    yield made
    made.close()


def indexes_open() -> set[str]:
    """The outputs whose indexes this process has open."""
    names = set()
    for entry in list(Path("/proc/self/fd").iterdir()):
        with suppress(FileNotFoundError):
            target = entry.readlink().name.removesuffix(" (deleted)")
            if target.endswith(".index"):
                names.add(target.removesuffix(".index"))
    return names


def use(cache: OutputCache, name: str) -> Output:
    output = cache.get(name)
    output.reader.runs()
    return output


def test_an_output_is_opened_once(cache: OutputCache) -> None:
    assert use(cache, "a.txt") is use(cache, "a.txt")
    assert use(cache, "b.txt") is not use(cache, "a.txt")


def test_the_one_that_was_not_used_for_the_longest_is_closed(
    cache: OutputCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Used, not opened: the first one is used again before the third comes."""
    monkeypatch.setattr(cache_module, "OPEN_LIMIT", 2)
    for name in ("a.txt", "b.txt", "a.txt", "c.txt"):
        use(cache, name)

    assert indexes_open() == {"a.txt", "c.txt"}
    cache.close()
    assert indexes_open() == set()


def test_an_output_that_was_removed_is_closed_when_another_is_opened(cache: OutputCache, tmp_path: Path) -> None:
    """Or its bytes would stay on the disk for as long as the worker lives."""
    use(cache, "a.txt")
    for path in tmp_path.glob("a.txt*"):
        path.unlink()

    use(cache, "b.txt")

    assert indexes_open() == {"b.txt"}


def test_a_programs_output_is_not_synced(tmp_path: Path) -> None:
    """It ends with its program; any other has to survive a power cut."""
    assert open_output(tmp_path, f"{SESSIONS}/s-1/results-1.jsonl")._index.durable is False
    assert open_output(tmp_path, "a.txt")._index.durable is True
