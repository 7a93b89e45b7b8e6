"""The documentation is tested: what it names exists, and what exists it names."""

import ast
import dataclasses
import re
import textwrap
from pathlib import Path

import pytest

from sheaf.core import errors
from sheaf.core.settings import Settings

ROOT = Path(__file__).parents[2]
DOCS = sorted(
    [*(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")), *(ROOT / "docs").rglob("*.md")]
)


def test_every_setting_is_documented_with_its_default() -> None:
    """A setting that the table misses, or shows with another default, fails the build."""
    rows = dict(
        re.findall(r"^\| `(SHEAF_\w+)` \| (?:`(.*?)`)? ?\|", (ROOT / "docs/settings.md").read_text(), flags=re.M)
    )

    defaults = {
        f"SHEAF_{field.name.upper()}": "" if field.default is None else str(field.default)
        for field in dataclasses.fields(Settings)
    }

    assert rows == defaults


def test_every_variable_of_the_stack_is_documented() -> None:
    """What can be put into `.env`, and the default that compose gives it."""
    page = (ROOT / "docs/settings.md").read_text().partition("## Of the stack")[2]
    asked = dict(re.findall(r"\$\{(SHEAF_\w+):-([^}]*)\}", (ROOT / "docker-compose.yml").read_text()))

    own = dict(re.findall(r"(?:^- |, )`(SHEAF_\w+)` \(`([^`]*)`", page, flags=re.M))
    passed_on = {name for name in asked if name not in own and f"`{name}`" in page}

    assert own | dict.fromkeys(passed_on, "") == asked


def test_the_drawing_of_the_error_tree_is_the_error_tree() -> None:
    """Each class is in the drawing at the top of the file, under its parent, and says what to do."""
    drawing = (errors.__doc__ or "").split("A message says")[0]
    drawn = [
        (len(match[1]), match[2])
        for match in re.finditer(r"^([│├└─ ]*)(\w+)", drawing, flags=re.M)
        if match[2] != "Every"
    ]
    parents: dict[str, str] = {}
    for place, (depth, name) in enumerate(drawn):
        above = [other for other_depth, other in drawn[:place] if other_depth < depth]
        parents[name] = above[-1] if above else ""

    classes = {name: value for name, value in vars(errors).items() if isinstance(value, type)}

    assert parents == {
        name: "" if name == "SheafError" else value.__mro__[1].__name__ for name, value in classes.items()
    }
    assert all(value.__doc__ for value in classes.values())


@pytest.mark.parametrize("page", DOCS, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    """Links, and paths in code marks that begin with one of our folders, lead somewhere."""
    text = page.read_text()
    links = [link for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text) if "://" not in link]
    paths = re.findall(
        r"`((?:sheaf|worker|producer|services|tests|docs|benchmarks|requirements|examples)/[\w./-]+)`", text
    )

    missing = [link for link in links if not (page.parent / link).exists()]
    missing += [path for path in paths if not (ROOT / path).exists()]

    assert missing == []


def test_every_guarantee_names_the_tests_that_hold_it() -> None:
    """A row of the table without an existing test is a promise that is not kept."""
    rows = [line for line in (ROOT / "docs/guarantees.md").read_text().splitlines() if re.match(r"\| \d", line)]
    tests = {
        f"{path.relative_to(ROOT)}::{name}"
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(
            r"^\s*(?:async )?def (test_\w+)|^class (Test\w+)|^(Test\w+) = ", path.read_text(), flags=re.M
        )
        for name in name
        if name
    }

    assert len(rows) >= 10
    for row in rows:
        named = re.findall(r"`(tests/[\w/]+\.py::\w+)`", row)
        assert named, f"no test in: {row}"
        assert set(named) <= tests, f"no such test: {set(named) - tests}"


def test_every_bad_case_names_the_tests_that_hold_it() -> None:
    """Each row of `when-things-go-wrong.md` ends with the files in which it is tried."""
    lines = (ROOT / "docs/when-things-go-wrong.md").read_text().splitlines()
    rows = [line for line in lines if line.startswith("| ") and not line.endswith("| held by |")]

    without = [row for row in rows if not re.search(r"\| (`tests/[\w/]+\.py`(, )?)+ \|$", row)]

    assert len(rows) >= 30
    assert without == []


def test_the_examples_of_tasks_are_python() -> None:
    """Each indented block of docs/tasks.md that is not a terminal compiles."""
    text = (ROOT / "docs/tasks.md").read_text()
    blocks = re.findall(r"(?:^    .*\n|^\n(?=    ))+", text, flags=re.M)
    sources = [textwrap.dedent(block) for block in blocks if "$ " not in block]

    assert len(sources) >= 4
    for source in sources:
        compile(source, "docs/tasks.md", "exec")


def test_the_six_steps_say_where_they_sit() -> None:
    """The first line of each file of the flow names its step, so that a reader can go from producer to file."""
    steps = re.findall(r"^\| (\d) \w+ \| `([\w/.]+)` \|", (ROOT / "docs/architecture.md").read_text(), flags=re.M)

    assert [number for number, _ in steps] == list("123456")
    for number, path in steps:
        assert f"Step {number} of 6" in (ROOT / path).read_text().splitlines()[0], path


def test_the_index_of_the_docs_leads_to_every_page() -> None:
    """docs/README.md names each page and each decision, with the decision's own title."""
    docs = ROOT / "docs"
    index = (docs / "README.md").read_text()
    links = set(re.findall(r"\]\(([^)#]+)", index))
    pages = {path.name for path in docs.glob("*.md")} - {"README.md"}
    decisions = {f"decisions/{path.name}": path for path in (docs / "decisions").glob("*.md")}
    assert pages | set(decisions) <= links
    for link, path in decisions.items():
        title = path.read_text().splitlines()[0].partition(". ")[2]
        assert f"]({link}) | {title} |" in index


def test_every_module_has_its_place_in_the_drawings() -> None:
    """docs/rooms.md: under the heading of its room, by its file name, or in a list of a folder's names."""
    page = (ROOT / "docs/rooms.md").read_text()
    sections = {
        room: set(re.findall(r"\w+", section.partition("\n")[2]))
        for section in page.split("\n## ")[1:]
        for room in re.findall(r"(?:sheaf|worker|producer)/\w+", section.partition("\n")[0])
    }
    missing = []
    for folder in ("sheaf", "worker/sheaf_worker", "producer/sheaf_producer"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT).parts
            room = "/".join(parts[:2])
            if path.stem != "__init__" and len(parts) > 2 and path.stem not in sections.get(room, ()):
                missing.append("/".join(parts))
    assert missing == []


def test_the_drawings_arrows_are_imports() -> None:
    """Between two files that stand side by side: the first imports the second, or a room's file of that name does."""
    page = (ROOT / "docs/rooms.md").read_text()
    wrong, seen = [], 0
    for section in page.split("\n## ")[1:]:
        title, _, drawing = section.partition("\n")
        imports: dict[str, set[str]] = {}
        for room in re.findall(r"(?:sheaf|worker|producer)/\w+", title):
            for path in (ROOT / room).rglob("*.py"):
                imports.setdefault(path.stem, set()).update(_imported(path))
        for left, arrow, right in re.findall(r"(?=\b(\w+)\.py (──►|◄──) (\w+)\.py)", drawing):
            importer, imported = (left, right) if arrow == "──►" else (right, left)
            seen += 1
            if imported not in imports.get(importer, ()):
                wrong.append(f"{title}: {importer} -> {imported}")
    assert wrong == []
    assert seen > 60


def _imported(path: Path) -> set[str]:
    """The last part of each module, and each name, that a file imports, on whatever line."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            found |= {(node.module or "").rpartition(".")[2], *(alias.name for alias in node.names)}
    return found
