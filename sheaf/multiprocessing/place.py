"""Where this process stands: a program by itself, or a process that a worker runs for one."""

from __future__ import annotations

from dataclasses import dataclass, field

from sheaf.multiprocessing.member import Member


@dataclass(frozen=True, slots=True)
class Place:
    """A process that a worker runs for a program."""

    program: str
    process: str
    name: str
    #: The process that started it; '': the program itself.
    parent: str
    daemon: bool
    #: The program's key: with it this process can have further ones started.
    key: bytes = field(repr=False)
    #: What its shared objects hold on to.
    member: Member = field(repr=False)


_here: Place | None = None
_loading = False


def here() -> Place | None:
    """None in the program itself."""
    return _here


def is_loading_main() -> bool:
    """Whether this process is just loading the program's main module: what is not behind its guard runs now."""
    return _loading


def settle(place: Place) -> None:
    """Say where this process stands, before anything of the program is loaded."""
    global _here, _loading
    _here, _loading = place, True


def main_is_loaded() -> None:
    global _loading  # noqa: PLW0603  as above
    _loading = False
