"""Which functions the chaos kit makes raise: ours, wherever our folder is."""

from __future__ import annotations

from pathlib import Path
from types import CodeType

import sheaf
from sheaf.chaos import raising
from sheaf.core.ranges import to_ranges
from sheaf_worker.pool.prefetch import Prefetch

ROOT = Path(sheaf.__file__).parent


def code_of(path: Path) -> CodeType:
    """The code of a function that is in such a file."""
    scope: dict[str, object] = {}
    exec(compile("def function():\n    pass\n", str(path), "exec"), scope)
    return scope["function"].__code__  # type: ignore[attr-defined, no-any-return]


def test_a_function_of_ours_has_the_name_by_which_it_is_imported() -> None:
    assert raising._name(to_ranges.__code__) == "sheaf.core.ranges:to_ranges"
    assert raising._name(Prefetch.learn.__code__) == "sheaf_worker.pool.prefetch:Prefetch.learn"
    assert raising._name(code_of(ROOT / "core/new.py")) == "sheaf.core.new:function"


def test_functions_of_others_have_none() -> None:
    """Also in a clone that is called `sheaf`, whose environment is in it, or that is in a folder `chaos`."""
    assert raising._name(code_of(Path("/home/me/sheaf/.venv/lib/python3.11/site-packages/redis/utils.py"))) == ""
    assert raising._name(code_of(ROOT.parent / "tests/test_something.py")) == ""
    assert raising._name(code_of(ROOT / "chaos/checker.py")) == ""
    assert raising._name(raising.main.__code__) == ""
