"""What a person types finds the output or the run that is meant, or says why it does not."""

from pathlib import Path

import pytest

from sheaf.cli.get import find_item
from sheaf.core.errors import OutputPathError, RunNotFound
from sheaf.core.humanize import bytes_text, count_text, path_text, rate_text, seconds_text
from sheaf.run.resolve import locate_output, locate_run
from sheaf.run.task_spec import TaskSpec
from tests.runs import write_run


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder beside other files, as in a project's folder, which is the current one."""
    folder = tmp_path / "data"
    (folder / "news").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("pages.html", "pages.html"),
        ("./pages.html", "pages.html"),
        ("news/pages.html", "news/pages.html"),
        ("data/pages.html", "pages.html"),
        ("data/news/../pages.html", "pages.html"),
        ("news/../pages.html", "pages.html"),
    ],
)
def test_a_relative_path_is_meant_inside_the_data_folder(data: Path, typed: str, meant: str) -> None:
    """Whether or not the data folder's own name is typed."""
    assert locate_output(Path("data"), typed) == meant
    assert locate_output(data, typed) == meant


def test_an_absolute_path_and_one_from_inside_are_understood(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One output has one name, from wherever it is named."""
    link = data.parent / "link"
    link.symlink_to(data)

    assert locate_output(data, str(data / "news/pages.html")) == "news/pages.html"
    assert locate_output(link, str(data / "pages.html")) == "pages.html"
    assert locate_output(data, "link/pages.html") == "pages.html"
    monkeypatch.chdir(data / "news")
    assert locate_output(data, "pages.html") == "news/pages.html"


@pytest.mark.parametrize(
    ("typed", "reason"),
    [
        ("/elsewhere/pages.html", "outside the data folder"),
        ("../../pages.html", "outside the data folder"),
        (".", "outside the data folder"),
        ("runs/pages.html", "own files"),
        (".sheaf/pages.html", "own files"),
        ("news", "is a folder"),
    ],
)
def test_a_path_that_cannot_be_an_output_is_refused(data: Path, typed: str, reason: str) -> None:
    """The message names what was typed, and a cure."""
    with pytest.raises(OutputPathError, match=reason):
        locate_output(data, typed)


def make_run(data: Path, name: str, items: list[str]) -> None:
    write_run(data, items, name, TaskSpec("load"), output="pages.html", batch_size=10)


def test_a_run_is_found_by_any_telling_part_of_its_name(data: Path) -> None:
    """Its beginning, its end, nothing or `last` for the newest; a part that fits several is refused."""
    names = ["20260101-000000-aaaaaa", "20260102-000000-aaaabb", "20260103-000000-ccccbb"]
    with pytest.raises(RunNotFound, match="no runs yet"):
        locate_run(data)
    for name in names:
        make_run(data, name, ["x"])

    found = {text: locate_run(data, text).manifest.run for text in ("20260102", "aabb", "aaaaaa", names[1], "last")}

    assert list(found.values()) == [names[1], names[1], names[0], names[1], names[2]]
    assert locate_run(data).manifest.run == names[2]
    with pytest.raises(RunNotFound, match="matches 2 runs"):
        locate_run(data, "bb")
    with pytest.raises(RunNotFound, match="no run 'zz'"):
        locate_run(data, "zz")


def test_an_item_is_found_by_its_whole_text(data: Path) -> None:
    """Not by a part of it; the first line and the last are lines like the others."""
    make_run(data, "20260101-000000-aaaaaa", ["b", "ab", "abc", "b"])
    items = data / "runs/20260101-000000-aaaaaa/items"

    assert [find_item(items, text) for text in ("b", "ab", "abc", "c", "bc", "")] == [0, 1, 2, None, None, None]


def test_numbers_are_written_for_people(data: Path) -> None:
    """Singular and plural, decimal sizes, time in the two units that matter."""
    assert [count_text(1, "page"), count_text(2000, "page"), count_text(0, "batch")] == [
        "1 page",
        "2,000 pages",
        "0 batches",
    ]
    assert count_text(3, "process") == "3 processes"
    assert [bytes_text(999), bytes_text(48_200_000)] == ["999 bytes", "48.2 MB"]
    assert [seconds_text(value) for value in (0.42, 59.6, 200, 7500, 273_600)] == [
        "0.4 s", "1 min 0 s", "3 min 20 s", "2 h 5 min", "3 d 4 h",
    ]  # fmt: skip
    assert [rate_text(0.42), rate_text(1843.2)] == ["0.4", "1,843"]
    assert path_text(data / "pages.html") == "data/pages.html"
    assert path_text(Path("/elsewhere")) == "/elsewhere"
