"""The examples with an embedded cluster: each prints what its docstring says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import examples
from tests.console import SHEAF, Console, Site
from tests.examples import EXAMPLES, Example, by_name


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory, redis_program: Path) -> Iterator[dict[str, str]]:
    """One cluster for all examples, which find it as they find the stack's: by SHEAF_REDIS_URL."""
    person = Console(tmp_path_factory.mktemp("examples"), SHEAF_TASKS_DIR=str(EXAMPLES))
    person.run("up", "--workers", "2")
    found = {"SHEAF_REDIS_URL": person.cluster()["redis_url"], "SHEAF_DATA_DIR": str(person.data)}
    programs = f"{SHEAF.parent}:{person.environment['PATH']}"
    yield person.environment | found | {"PATH": programs}
    person.run("down")


def run(example: Example, environment: dict[str, str], folder: Path, site: str = "") -> tuple[str, str]:
    """Run it from an empty folder; return what it printed, and what it should have."""
    arguments, printed = example.at(site)
    program = {"python": sys.executable, "sh": "sh"}[example.program]
    command = [program, str(EXAMPLES / example.script), *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stderr
    assert example.program == "sh" or done.stderr == ""
    return done.stdout, printed


@pytest.mark.parametrize("example", examples.BY_THEMSELVES, ids=lambda example: example.script)
def test_an_example_prints_what_its_docstring_says(
    example: Example, environment: dict[str, str], tmp_path: Path, site: Site
) -> None:
    """On a cluster of two workers that runs already."""
    printed, expected = run(example, environment, tmp_path, site.url)

    assert printed == expected


def test_refused_requests_were_made_again(environment: dict[str, str], tmp_path: Path, site: Site) -> None:
    """api_limit.py: the site says that it was asked three times for what it refused twice, and five times at most."""
    run(by_name("api_limit.py"), environment, tmp_path, site.url)

    with urllib.request.urlopen(f"{site.url}/stats?pages=9005") as answer:
        asked = json.load(answer)["hits"][9001:9005]
    assert min(asked[:3]) >= 3
    assert asked[3] >= 5


def test_an_example_starts_a_cluster_where_there_is_none(tmp_path: Path, redis_program: Path) -> None:
    """Nothing is set and nothing runs: `Cluster.any()` starts workers, which end with the script and leave nothing."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith("SHEAF_")}

    printed, expected = run(by_name("pool_map.py"), bare | {"TMPDIR": str(tmp_path)}, tmp_path)

    assert printed == expected
    assert list(tmp_path.iterdir()) == []


PAGE = (EXAMPLES.parent / "docs/from-multiprocessing.md").read_text()
#: The example's file, the left column, the right one.
PAIRS = re.findall(r"\.\./examples/(\w+\.py)\">.*?```python\n(.*?)```.*?```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize(("script", "left"), [pair[:2] for pair in PAIRS], ids=[pair[0] for pair in PAIRS])
def test_the_multiprocessing_column_is_a_program_that_prints_the_same(
    script: str, left: str, tmp_path: Path, site: Site
) -> None:
    """docs/from-multiprocessing.md: what is on the left runs, and prints the lines of the example beside it."""
    path = tmp_path / "left.py"
    path.write_text(left)
    arguments, printed = by_name(script).at(site.url)

    done = subprocess.run([sys.executable, path, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=60)

    assert (done.returncode, done.stderr) == (0, "")
    match script:
        case "counter.py":
            assert printed.startswith(done.stdout)
        case "names.py":
            assert sorted(line.split()[-1] for line in done.stdout.splitlines()) == ["Abel", "Bea", "Cleo", "Dora"]
        case "url_lock.py":
            assert (tmp_path / "combined.html").read_text().count("<!-- end of page ") == 8
        case _:
            assert done.stdout == printed


@pytest.mark.parametrize(("script", "right"), [pair[::2] for pair in PAIRS], ids=[pair[0] for pair in PAIRS])
def test_the_sheaf_column_is_taken_from_the_example(script: str, right: str) -> None:
    """Each line of the right column is in the example, comments left out, in the same order."""
    lines = iter(re.sub("  # .*", "", line) for line in (EXAMPLES / script).read_text().splitlines())

    assert [line for line in right.splitlines() if line not in lines] == []


def test_every_model_program_is_on_the_page() -> None:
    """Those of the index's first table, no more and no less."""
    index = (EXAMPLES / "README.md").read_text()
    first = index[index.index("| the original |") : index.index("## Typical uses")]

    assert sorted(re.findall(r"\]\((\w+\.py)\)", first)) == sorted(pair[0] for pair in PAIRS)


def test_every_example_is_in_the_index() -> None:
    """examples/README.md names each file of its folder, and no other."""
    index = (EXAMPLES / "README.md").read_text()
    files = {path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".sh", ".txt")}

    assert {name for name in files if f"]({name})" not in index} == set()
