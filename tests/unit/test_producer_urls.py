"""From lines to items: each URL once, in its normal form; every other line with its number and reason."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click import BadParameter
from hypothesis import given
from hypothesis import strategies as st

from sheaf.errors import InputError
from sheaf_producer.dedupe import Dedupe
from sheaf_producer.draft import Draft
from sheaf_producer.read import Line
from sheaf_producer.sizes import size as read_size
from sheaf_producer.urls import usable_urls


@pytest.fixture
def draft(tmp_path: Path) -> Iterator[Draft]:
    with Draft(tmp_path) as opened:
        yield opened


def lines(*texts: str) -> list[Line]:
    return [Line("list", number, text) for number, text in enumerate(texts, start=1)]


def test_urls_are_normalised_and_given_once(draft: Draft) -> None:
    """Two spellings of one URL are one item; the second counts as a duplicate."""
    given_lines = lines("HTTP://Example.org:80/a/../b", "https://example.org", "http://example.org/b#part")

    urls = list(usable_urls(given_lines, None, draft))

    assert urls == ["http://example.org/b", "https://example.org/"]
    assert draft.tally.duplicates == 1
    assert not (draft.folder / "rejected.jsonl").exists()


def test_rejected_lines_are_kept_with_number_and_reason(draft: Draft) -> None:
    """The line of the model programs is not guessed at: it is rejected, and the message says what is likely meant."""
    given_lines = [
        *lines("[http://www.wikipedia.org", "https://example.org/"),
        Line("list", 3, "caf\\xe9", "not UTF-8"),
    ]

    urls = list(usable_urls(given_lines, None, draft))

    assert urls == ["https://example.org/"]
    rejected = [json.loads(line) for line in (draft.folder / "rejected.jsonl").read_text().splitlines()]
    assert [(entry["line"], entry["text"]) for entry in rejected] == [(1, "[http://www.wikipedia.org"), (3, "caf\\xe9")]
    assert "http://www.wikipedia.org/" in rejected[0]["why"] or "http://www.wikipedia.org'" in rejected[0]["why"]
    assert draft.tally.rejected == 2
    assert draft.tally.examples[0].startswith("line 1 of list: ")


def test_a_default_scheme_makes_bare_hosts_urls(draft: Draft) -> None:
    """Without it they are rejected; with it they are loaded."""
    assert list(usable_urls(lines("example.org/a"), "https", draft)) == ["https://example.org/a"]


def test_a_list_without_a_usable_line_is_refused(draft: Draft) -> None:
    """An empty list, and a list of bad lines only, submit nothing and say why."""
    with pytest.raises(InputError, match="empty"):
        list(usable_urls([], None, draft))
    with pytest.raises(InputError, match=r"none of the 7 lines .*\n.*line 1 of list(.|\n)*2 more"):
        list(usable_urls(lines(*["mailto:me@example.org"] * 7), None, draft))


@given(texts=st.lists(st.text(max_size=3)))
def test_dedupe_lets_each_text_pass_once(texts: list[str]) -> None:
    """In the order in which they first come."""
    dedupe = Dedupe()

    assert [text for text in texts if dedupe.is_new(text)] == list(dict.fromkeys(texts))
    assert len(dedupe) == len(set(texts))


def test_what_is_not_published_leaves_nothing_behind(tmp_path: Path) -> None:
    """A draft whose reading fails, and one whose producer was killed, are gone; one that is being written is not."""
    with pytest.raises(InputError), Draft(tmp_path) as failed:
        list(usable_urls([], None, failed))
    killed = tmp_path / "runs/.20260101-000000-abcdef"
    killed.mkdir()

    with Draft(tmp_path) as first:
        with Draft(tmp_path):
            assert first.folder.is_dir()
        assert not killed.exists()
        assert [path.name for path in (tmp_path / "runs").iterdir() if path.is_dir()] == [first.folder.name]


@pytest.mark.parametrize(
    ("text", "size"), [("500", 500), ("500k", 500_000), ("16MiB", 16 << 20), ("1.5 GB", 1_500_000_000)]
)
def test_sizes_are_read_as_people_type_them(text: str, size: int) -> None:
    """With an i they are binary."""
    assert read_size(text) == size


@pytest.mark.parametrize("text", ["", "-1", "ten", "1T", "1e6"])
def test_a_size_that_is_none_is_refused(text: str) -> None:
    """Rather than read as something else."""
    with pytest.raises(BadParameter, match="write it as"):
        read_size(text)
