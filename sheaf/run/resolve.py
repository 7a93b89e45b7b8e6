"""From what a person types to the output or the run that is meant."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path, PurePosixPath

from sheaf.core.errors import OutputPathError, RunNotFound
from sheaf.core.files import exists, is_dir
from sheaf.core.terminal import one_line
from sheaf.run.run import Run, list_runs
from sheaf.run.sessions import SESSIONS

#: Folders inside the data folder that are ours.
_OURS = ("runs", "programs", SESSIONS, ".sheaf")


def locate_output(data_dir: Path, text: str) -> str:
    """Return the output's path inside the data folder, as manifests and the lock name it.

    A relative path is meant inside the data folder, unless it leads there from the current folder by itself
    (`sheaf verify data/pages.warc.gz`). Raises OutputPathError for a path that leads out of the data folder.
    """
    if one_line(text) != text:
        raise OutputPathError(
            f"the output's name {text!r} contains control characters or bytes that are not UTF-8; wherever it is shown "
            "they could hide or forge text. Choose a name without them"
        )
    return _inside(data_dir, text, _OURS)


def _inside(data_dir: Path, text: str, ours: Collection[str]) -> str:
    # The data folder is the same volume under another path in a container, hence paths inside it. Its links are
    # followed here once, so that one output has one name.
    root = Path(os.path.realpath(data_dir))
    here = _real(Path.cwd() / text)
    path = here if Path(text).is_absolute() or here.is_relative_to(root) else _real(root / text)
    if not path.is_relative_to(root) or path == root:
        name = PurePosixPath(text).name or "pages.warc.gz"
        raise OutputPathError(
            f"{text} is outside the data folder {root}, the only folder that the workers share; "
            f"use {name} for a file in the data folder, or choose another data folder with --data or SHEAF_DATA_DIR"
        )
    inside = path.relative_to(root)
    if inside.parts[0] in ours:
        raise OutputPathError(
            f"{text} is in {inside.parts[0]}/, where Sheaf keeps its own files; choose another folder"
        )
    if is_dir(path):
        raise OutputPathError(f"{text} is a folder; name a file in it, for example {inside / 'pages.warc.gz'}")
    return inside.as_posix()


def locate_existing_output(data_dir: Path, text: str) -> str:
    """Like locate_output(), for an output that should be there. One whose file is gone but not its index counts."""
    # A program's session may have been kept, to be looked at.
    inside = _inside(data_dir, text, set(_OURS) - {SESSIONS})
    path = data_dir / inside
    if not exists(path) and not exists(path.with_name(f"{path.name}.index")):
        raise OutputPathError(f"there is no output {path.absolute()}; `sheaf status` lists the runs and their outputs")
    return inside


def _real(path: Path) -> Path:
    """The path with its folder's links followed; the file itself may be a link or not exist."""
    normal = Path(os.path.normpath(path))
    return Path(os.path.realpath(normal.parent)) / normal.name


def locate_run(data_dir: Path, text: str | None = None) -> Run:
    """Open the run of that name, or the only one that so begins or ends; None or `last`: the newest.

    Raises RunNotFound if there is none, or more than one.
    """
    names = list_runs(data_dir)
    if not names:
        raise RunNotFound(
            f"the data folder {data_dir.absolute()} holds no runs yet; start one with `sheaf load`, "
            "or name another folder with --data"
        )
    if text is None or text == "last":
        return Run.open(data_dir, names[-1])
    meant = [text] if text in names else [name for name in names if name.startswith(text) or name.endswith(text)]
    if len(meant) == 1:
        return Run.open(data_dir, meant[0])
    if meant:
        raise RunNotFound(f"{text!r} matches {len(meant)} runs: {', '.join(meant[-5:])}; type more of the name")
    raise RunNotFound(f"no run {text!r} in {data_dir.absolute()}; `sheaf status` lists them, the newest is {names[-1]}")
