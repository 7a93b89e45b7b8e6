"""What a program forgets is reported: results that are never read, calls that are never awaited, no main guard."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from sheaf import Cluster
from tests.integration.bench import Bench

TASKS = Path(__file__).parent


def test_a_map_that_nobody_reads_says_so_where_it_was_called(cluster: Cluster) -> None:
    """Nothing would be done, without anyone knowing."""
    with pytest.warns(RuntimeWarning, match=r"map\(api_tasks:square\) were never read.*list\(") as caught:
        cluster.map("api_tasks:square", range(8))

    assert caught[0].filename == __file__


def test_results_say_what_they_are(cluster: Cluster) -> None:
    """`print(cluster.map(…))` is what everybody types first."""
    results = cluster.map("api_tasks:square", range(3))
    assert repr(results) == "<results of map(api_tasks:square), not read yet: list() or a loop gives them>"

    assert next(results) == 0
    assert repr(results) == "<results of map(api_tasks:square)>"
    assert list(results) == [1, 4]
    assert repr(results) == "<results of map(api_tasks:square)>"


def test_what_is_left_at_the_end_of_with_is_named(bench: Bench) -> None:
    """Once each: unread results, and calls without a result; nothing of those that were read, or closed."""
    settings = bench.serve(SHEAF_TASKS_DIR=str(TASKS))

    with pytest.warns(RuntimeWarning) as caught, Cluster(settings, data=bench.person.data) as cluster:
        unread = cluster.map("api_tasks:nap", range(100))
        given_up = cluster.map("api_tasks:nap", range(100))
        given_up.close()
        assert cluster.submit("api_tasks:square", 3).result() == 9
        list(cluster.map("api_tasks:square", range(3)))
        slow = cluster.submit("api_tasks:wait_for", str(bench.person.folder / "never"))

    said = [str(warning.message) for warning in caught]
    assert len(said) == 2, said
    assert "map(api_tasks:nap) were never read" in said[0]
    assert "1 call of api_tasks:wait_for had no result yet" in said[1]
    assert slow.done()
    del unread


def test_a_program_that_fails_hears_of_its_own_error_only(bench: Bench) -> None:
    """What it left behind is of no interest then."""
    settings = bench.serve(SHEAF_TASKS_DIR=str(TASKS))

    with (
        warnings.catch_warnings(),
        pytest.raises(ZeroDivisionError),
        Cluster(settings, data=bench.person.data) as cluster,
    ):
        warnings.simplefilter("error")
        results = cluster.map("api_tasks:nap", range(100))
        1 / 0  # noqa: B018
    results.close()


def test_a_script_without_a_main_guard_is_told_the_line_at_once(tmp_path: Path) -> None:
    """Workers import the script: what starts a cluster in it would start another one in each import."""
    script = tmp_path / "square.py"
    script.write_text(
        "from sheaf import Cluster\n\n\ndef square(n):\n    return n * n\n\n\n"
        "with Cluster.any(1) as pool:\n    print(list(pool.map(square, range(10))))\n"
    )

    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120, cwd=tmp_path)

    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert f"{script}, line 8, calls Cluster.any() whenever the file is imported" in last
    assert 'if __name__ == "__main__":' in last
