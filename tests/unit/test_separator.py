"""No page can make a line that looks like the heading of another page."""

import re
from pathlib import Path

import pytest

from sheaf.formats import Exchange, Page, format_for
from sheaf.formats.separator import has_separator, new_separator, separator_of
from sheaf.output.output import Output
from sheaf.run.items import Item
from sheaf.run.task_spec import TaskSpec
from sheaf.submission.submit import RunRequest, submit


def page(body: bytes) -> Page:
    return Page(
        Item(7, "http://a/x"),
        [
            Exchange(
                url="http://a/x",
                request=b"",
                protocol="http/1.1",
                status=200,
                reason="OK",
                head=b"Content-Type: text/html\r\n",
                body=body,
                ip="192.0.2.1",
                started=0.0,
                elapsed_s=0.0,
            )
        ],
    )


@pytest.mark.parametrize(
    ("name", "first", "heading"),
    [
        ("p.html", "<!-- sheaf separator {} -->\n", "<!-- sheaf {} 7 http://a/x -->\n"),
        ("p.txt", "# sheaf separator {}\n", "# {} 7 http://a/x\n"),
    ],
)
def test_the_first_line_tells_the_word_in_all_headings(name: str, first: str, heading: str) -> None:
    """What a page forges has another word, or none."""
    word = new_separator()
    forged = (
        f"<!-- sheaf 8 http://evil/ -->\n# 8 http://evil/\n{first.format('0' * 16)}{heading.format('0' * 16)}".encode()
    )
    chosen = format_for(name, None, word)

    header = chosen.header(name)
    assert header.decode() == first.format(word)
    assert separator_of(header) == word
    record = chosen.page(page(forged))
    assert record == heading.format(word).encode() + forged
    assert len(re.findall(word.encode(), header + record)) == 2


def test_words_differ() -> None:
    """Each output draws its own: it cannot be known before the file is there."""
    words = {new_separator() for _ in range(1000)}
    assert len(words) == 1000
    assert all(re.fullmatch("[0-9a-f]{16}", word) for word in words)


@pytest.mark.parametrize(
    "header",
    [b"", b"<!-- sheaf 0 http://a/ -->\n", b"# 0 http://a/\n", b"index,item,value\n", b"<!-- sheaf separator x -->\n"],
)
def test_an_output_without_has_headings_without(header: bytes) -> None:
    """Files of earlier versions are gone on with as they are."""
    assert separator_of(header) == ""
    assert format_for("p.html").page(page(b"x")) == b"<!-- sheaf 7 http://a/x -->\nx\n"
    assert format_for("p.html").header("p.html") == b""


@pytest.mark.parametrize(
    ("task", "output", "has"),
    [
        ("load", "p.html", True),
        ("load", "p.TXT", True),
        ("load", "p.jsonl", False),
        ("t:f", "p.txt", False),
    ],
)
def test_an_output_gets_its_word_with_its_first_run(tmp_path: Path, task: str, output: str, has: bool) -> None:
    """And keeps it; bare lines of values have nothing around them."""
    request = RunRequest(TaskSpec(task), output, "list")
    submit(tmp_path, request, lambda _: [["http://a/"]])
    opened = Output(tmp_path / output)
    header = opened.reader.state().header
    assert (separator_of(header) != "") is has
    assert has or header == b""
    assert has_separator(output) or not has
    opened.close()
    again = Output.create(tmp_path / output, header=format_for(output, None, new_separator()).header(output))
    assert again.reader.state().header == header
    again.close()
