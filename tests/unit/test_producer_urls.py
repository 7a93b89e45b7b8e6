"""From lines to items: each URL once, in its normal form; every other line with its number and reason."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click import BadParameter
from hypothesis import given, settings
from hypothesis import strategies as st

from sheaf.cli.sizes import size as read_size
from sheaf.core.errors import InputError
from sheaf.submission.draft import Draft
from sheaf.submission.tally import Line
from sheaf_producer.inputs.dedupe import unique
from sheaf_producer.inputs.lines import Chunk
from sheaf_producer.inputs.read import LINE_LIMIT_BYTES, Sheet
from sheaf_producer.inputs.urls import usable_urls


@pytest.fixture
def draft(tmp_path: Path) -> Iterator[Draft]:
    with Draft(tmp_path) as opened:
        yield opened


def urls_of(sheets: list[Sheet], default_scheme: str | None, draft: Draft) -> list[str]:
    return [url for urls in usable_urls(sheets, default_scheme, draft) for url in urls]


def lines(*texts: str | bytes) -> list[Sheet]:
    data = b"".join((text if isinstance(text, bytes) else text.encode()) + b"\n" for text in texts)
    return [Sheet("list", Chunk(1, data))]


def test_urls_are_normalised_and_given_once(draft: Draft) -> None:
    """Two spellings of one URL are one item; the second counts as a duplicate."""
    sheets = lines("HTTP://Example.org:80/a/../b", "https://example.org", "http://example.org/b#part")

    urls = urls_of(sheets, None, draft)

    assert urls == ["http://example.org/b", "https://example.org/"]
    assert draft.tally.duplicates == 1
    assert not (draft.folder / "rejected.jsonl").exists()


def test_lines_that_are_plainly_urls_are_taken_as_they_are(draft: Draft) -> None:
    """All at once; one that is too long, or that was too long to be held, makes the others no less usable."""
    usual = [f"http://example.org/{number}?q=a%20b" for number in range(100)]
    assert urls_of(lines(*usual, usual[7]), None, draft) == usual
    assert draft.tally.duplicates == 1

    long = f"http://example.org/{'x' * LINE_LIMIT_BYTES}"
    (sheet,) = lines("http://example.org/a", long, "http://example.org/b")
    held_apart = Line("list", 0, long[:200], "the line is too long")
    assert urls_of([sheet, sheet._replace(rejected=[held_apart])], None, draft) == [
        "http://example.org/a",
        "http://example.org/b",
    ]
    assert draft.tally.rejected == 3


def test_rejected_lines_are_kept_with_number_and_reason(draft: Draft) -> None:
    """The line of the model programs is not guessed at: it is rejected, and the message says what is likely meant."""
    urls = urls_of(lines("[http://www.wikipedia.org", "https://example.org/", b"caf\xe9"), None, draft)

    assert urls == ["https://example.org/"]
    draft.settle()
    rejected = [json.loads(line) for line in (draft.folder / "rejected.jsonl").read_text().splitlines()]
    assert [(entry["line"], entry["text"]) for entry in rejected] == [(1, "[http://www.wikipedia.org"), (3, "caf\\xe9")]
    assert "http://www.wikipedia.org/" in rejected[0]["why"] or "http://www.wikipedia.org'" in rejected[0]["why"]
    assert draft.tally.rejected == 2
    assert draft.tally.examples[0].startswith("line 1 of list: ")


def test_a_default_scheme_makes_bare_hosts_urls(draft: Draft) -> None:
    """Without it they are rejected; with it they are loaded."""
    assert urls_of(lines("example.org/a"), "https", draft) == ["https://example.org/a"]


def test_a_list_without_a_usable_line_is_refused(draft: Draft) -> None:
    """An empty list, and a list of bad lines only, submit nothing and say why."""
    with pytest.raises(InputError, match="empty"):
        urls_of([], None, draft)
    with pytest.raises(InputError, match=r"none of the 7 lines .*\n.*line 1 of list(.|\n)*2 more"):
        urls_of(lines(*["mailto:me@example.org"] * 7), None, draft)


@settings(max_examples=50, deadline=None)
@given(
    blocks=st.lists(st.lists(st.text("abé", max_size=2), max_size=6), max_size=8),
    in_memory=st.sampled_from([1, 3, 1_000_000]),
)
def test_each_text_passes_once_in_memory_or_on_the_disk(
    tmp_path_factory: pytest.TempPathFactory, blocks: list[list[str]], in_memory: int
) -> None:
    """In the order in which they first come, however few fit into the memory; nothing is left in the draft's folder."""
    texts = [text for block in blocks for text in block]
    with Draft(tmp_path_factory.mktemp("data")) as draft:
        passed = [text for block in unique(blocks, draft, in_memory) for text in block]

        assert passed == list(dict.fromkeys(texts))
        assert draft.tally.duplicates == len(texts) - len(passed)
        assert sorted(path.name for path in draft.folder.iterdir()) == ["items", "items.offsets"]


def test_what_is_not_published_leaves_nothing_behind(tmp_path: Path) -> None:
    """A draft whose reading fails, and one whose producer was killed, are gone; one that is being written is not."""
    with pytest.raises(InputError), Draft(tmp_path) as failed:
        urls_of([], None, failed)
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
