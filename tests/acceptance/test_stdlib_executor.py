"""The standard library's own tests of executors, run against ours; docs/api.md lists those that do not apply."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
import unittest
from pathlib import Path
from typing import Any

import pytest

from sheaf import Cluster

#: The test package as it is in the tasks folder, where workers find its functions.
PACKAGE = "stdlib_executor_tests"
#: What newer versions of these tests want of `test.support`, and older versions of that do not have.
SHIM = """
from test import support
if not hasattr(support, "Py_GIL_DISABLED"):
    support.Py_GIL_DISABLED = False
support.use_resources = None
"""
#: Module and mixin of the tests that are about executors of any kind.
MIXINS = {
    "executor": "ExecutorTest",
    "test_as_completed": "AsCompletedTests",
    "test_wait": "WaitTests",
    "test_shutdown": "ExecutorShutdownTest",
}
#: Tests that do not apply, and why.
DO_NOT_APPLY = {
    "test_no_stale_references": "calls a bound method of a local object, which no other process can import",
    "test_free_reference": "returns an instance of a class of its own, which JSON cannot hold",
    "test_max_workers_negative": "the executor has no max_workers: the cluster has as many as it has",
    "test_interpreter_shutdown": "starts a program that makes the standard library's executors by their names",
    "test_submit_after_interpreter_shutdown": "starts a program that makes the standard library's executors",
    "test_hang_gh83386": "starts a program that makes the standard library's executors by their names",
}


class Adapted:
    """Tests that apply, but compare with tuples: what travels as JSON comes back as lists."""

    executor: Any
    functions: Any

    def test_submit_keyword(self) -> None:
        assert self.executor.submit(self.functions.mul, 2, y=8).result() == 16
        assert self.executor.submit(self.functions.capture, 1, self=2, fn=3).result() == [[1], {"self": 2, "fn": 3}]
        with pytest.raises(TypeError):
            self.executor.submit(fn=self.functions.capture, arg=1)
        with pytest.raises(TypeError):
            self.executor.submit(arg=1)

    def test_map_exception(self) -> None:
        results = self.executor.map(divmod, [1, 1, 1, 1], [2, 3, 0, 5])
        assert [next(results), next(results)] == [[0, 1], [0, 1]]
        with pytest.raises(ZeroDivisionError):
            next(results)


def stdlib_tests() -> Path | None:
    """The folder of the tests: this Python's, or another's on this machine, since not every Python comes with them."""
    found = importlib.util.find_spec("test")
    here = [Path(place) for place in (found.submodule_search_locations or [] if found else [])]
    others = Path.home().glob(".pyenv/versions/3.1[2-9]*/lib/python3.*/test")
    for folder in (*here, *sorted(others), *Path("/usr/lib").glob("python3.*/test")):
        if (folder / "test_concurrent_futures/executor.py").is_file():
            return folder / "test_concurrent_futures"
    return None


def run_suite(tasks: Path, cluster: Cluster) -> unittest.TestResult:
    """Run every test that applies; each kind under a class of its own, as the library does for its executors."""
    sys.path.insert(0, str(tasks))
    util = importlib.import_module(f"{PACKAGE}.util")

    class ClusterMixin(util.ExecutorMixin):  # type: ignore[misc, name-defined]
        worker_count = 4
        executor_type = staticmethod(lambda max_workers: cluster.executor())

    suite = unittest.TestSuite()
    for module_name, mixin_name in MIXINS.items():
        module = importlib.import_module(f"{PACKAGE}.{module_name}")
        bases: tuple[type, ...] = (getattr(module, mixin_name), ClusterMixin, util.BaseTestCase)
        if module_name == "executor":
            bases = (Adapted, *bases)
        case = type(f"Cluster{mixin_name}", bases, {"functions": module})
        names = unittest.defaultTestLoader.getTestCaseNames(case)
        suite.addTests(case(name) for name in names if name not in DO_NOT_APPLY)
    with open(tasks / "report.txt", "w") as report:
        return unittest.TextTestRunner(stream=report, verbosity=2).run(suite)


def main(tasks: Path) -> int:
    with Cluster.local(workers=2, tasks=tasks) as cluster:
        # The tests give each call a second or two: no time to import a module in every process of the pools.
        for module in ("executor", "test_as_completed", "test_wait"):
            list(cluster.map(f"{PACKAGE}.{module}:mul", range(60), range(60)))
        result = run_suite(tasks, cluster)
    passed = result.testsRun - len(result.failures) - len(result.errors) - len(result.skipped)
    print((tasks / "report.txt").read_text())
    adapted = sum(name.startswith("test") for name in vars(Adapted))
    print(
        f"{result.testsRun} of the standard library's executor tests run, {passed} pass; "
        f"{adapted} of them adapted, {len(DO_NOT_APPLY)} do not apply"
    )
    return 0 if result.testsRun == passed and passed else 1


def test_the_standard_librarys_executor_tests_pass(tmp_path: Path) -> None:
    """Executor.map, submit, shutdown, as_completed, wait: all that make sense across processes and machines."""
    source = stdlib_tests()
    if source is None:
        pytest.skip(
            "no Python here comes with test.test_concurrent_futures (Debian's does not, pyenv's from 3.12.2 on do)"
        )
    package = tmp_path / PACKAGE
    shutil.copytree(source, package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "__init__.py").write_text(SHIM)

    done = subprocess.run([sys.executable, __file__, tmp_path], capture_output=True, text=True, timeout=110)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "executor tests run" in done.stdout


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
