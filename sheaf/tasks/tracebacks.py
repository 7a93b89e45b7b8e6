"""What the user's code raises, in words: class, text, place, and below them the traceback."""

from __future__ import annotations

import errno
import traceback
from pathlib import Path
from types import CodeType, TracebackType
from typing import NamedTuple

from sheaf.core.errors import SheafError
from sheaf.run.items import Failed, Item

#: How much of an exception's text the first line shows.
_TEXT_CHARS = 2000
#: How much of the name of its class.
_NAME_CHARS = 200
#: How much of a traceback is kept: each failed item's is in the index.
_TRACEBACK_CHARS = 4000
_HERE = f"{Path(__file__).parent}/"
_HEADING = "Traceback (most recent call last):"
#: How many different stacks are kept in words.
_FRAMES_KEPT = 256
_frames: dict[tuple[tuple[CodeType, int], ...], str] = {}


class FilesUsedUp(BaseException):
    """This process has as many files open as it may have: only a new process can go on."""


class Fault(NamedTuple):
    """A failure's message in its parts."""

    #: `Class: text`, in one line.
    summary: str
    #: `file:line`, or nothing.
    place: str
    #: The whole traceback, or nothing.
    traceback: str


def failed(item: Item, error: BaseException, folder: Path | None, attempts: int = 1) -> Failed:
    """The item's failure. Raises FilesUsedUp if that is the cause: then it may not be the item's fault."""
    refuse_used_up(error, folder)
    # An error of ours says all there is to say, unless it was raised below the user's own code.
    is_ours = isinstance(error, SheafError) and not any(_is_own(link, folder) for link in _links(error))
    message = str(error) if is_ours else explain(error, folder)
    return Failed(item.index, class_name(error), message, attempts)


def refuse_used_up(error: BaseException, folder: Path | None) -> None:
    """Raise FilesUsedUp if that is the cause of the error."""
    if used_up_files(error):
        raise FilesUsedUp(f"{describe(error, folder)}: this process has all the files open that it may have") from error


def class_name(error: BaseException) -> str:
    """The name of the error's class, in one line and not without end: the user's code may have made it up."""
    return " ".join(type.__dict__["__name__"].__get__(type(error)).split())[:_NAME_CHARS]


def describe(error: BaseException, folder: Path | None) -> str:
    """Say in one line what was raised, and where: the innermost line of the user's own files, if there is one."""
    links = _links(error)
    own = [link for link in links if _is_own(link, folder)]
    where = (own or links)[-1:]
    text = f"{class_name(error)}: {_text(error)}"
    return text + "".join(f" ({link.tb_frame.f_code.co_filename}:{link.tb_lineno})" for link in where)


def explain(error: BaseException, folder: Path | None) -> str:
    """The line that `describe` gives and, below it, the traceback."""
    links = _links(error)
    if not links:
        return describe(error, folder)
    try:
        lines = _rendered(error, links)
    except BaseException as other:  # noqa: BLE001 - an exception's own __str__ may raise anything
        lines = f"{_HEADING}\n{''.join(traceback.format_tb(links[0]))}(not to be shown: {class_name(other)})"
    if len(lines) > _TRACEBACK_CHARS:
        half = _TRACEBACK_CHARS // 2
        lines = f"{lines[:half]}\n  … {len(lines) - 2 * half} characters left out …\n{lines[-half:]}"
    return f"{describe(error, folder)}\n{lines}"


def split(message: str) -> Fault:
    """Take a failure's message apart. Those that are not an exception's have neither place nor traceback."""
    first, _, rest = message.partition("\n")
    summary, _, tail = first.rpartition(" (")
    path, _, line = tail.removesuffix(")").rpartition(":")
    has_place = bool(summary) and tail.endswith(")") and bool(path) and line.isdecimal()
    return Fault(summary, f"{path}:{line}", rest) if has_place else Fault(first, "", rest)


def _text(error: BaseException) -> str:
    try:
        # A `__str__` may give a subclass of str, whose own methods are the user's code, too.
        text = str.__str__(str(error.code if isinstance(error, SystemExit) else error))
    except BaseException as other:  # noqa: BLE001 - an exception's own __str__ may raise anything
        return f"(its text cannot be shown: {class_name(other)})"
    head = text[:_TEXT_CHARS]
    line = (head.splitlines() or [""])[0]
    shown = line + (" …" if len(line) < len(text.rstrip()) else "")
    if isinstance(error, SystemExit):
        return f"{shown} (the code called sys.exit(); raise an error instead)"
    return shown


def _rendered(error: BaseException, links: list[TracebackType]) -> str:
    """As Python shows it. Of a million items that fail at one place, the frames are put into words once."""
    if error.__cause__ is not None or error.__context__ is not None or isinstance(error, BaseExceptionGroup):
        return "".join(traceback.format_exception(type(error), error, links[0])).rstrip()
    key = tuple((link.tb_frame.f_code, link.tb_lasti) for link in links)
    frames = _frames.get(key)
    if frames is None:
        if len(_frames) >= _FRAMES_KEPT:
            _frames.clear()
        frames = _frames[key] = "".join(traceback.format_tb(links[0]))
    return f"{_HEADING}\n{frames}{''.join(traceback.format_exception_only(error))}".rstrip()


def _links(error: BaseException) -> list[TracebackType]:
    """The traceback's links, without those where our own code called the user's."""
    links: list[TracebackType] = []
    trace = error.__traceback__
    while trace is not None:
        if links or not trace.tb_frame.f_code.co_filename.startswith(_HERE):
            links.append(trace)
        trace = trace.tb_next
    return links


def _is_own(link: TracebackType, folder: Path | None) -> bool:
    """Whether that line is in one of the user's own files."""
    return folder is not None and link.tb_frame.f_code.co_filename.startswith(f"{folder}/")


def used_up_files(error: BaseException) -> bool:
    """Whether the error, or one that led to it, is the kernel's "too many open files"."""
    link: BaseException | None = error
    for _ in range(10):
        if link is None:
            return False
        if isinstance(link, OSError) and link.errno == errno.EMFILE:
            return True
        link = link.__cause__ if link.__cause__ is not None else link.__context__
    return False
