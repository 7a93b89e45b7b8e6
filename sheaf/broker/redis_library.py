"""The atomic steps in Redis, made of the files in `lua/`: each as a script, all of them as a library of functions.

`python -m sheaf.broker.redis_library` prints the library. The stack's Redis loads it when it starts, and no other user
may load anything (docs/decisions/0029-functions-instead-of-scripts.md). Imports nothing: that image's build has no
packages.
"""

from __future__ import annotations

import functools
import hashlib
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files

#: Whatever a full Redis says, the step goes on: it takes or lets go, and what it adds is small. As a script the same
#: holds because its first write is one that Redis never refuses.
_WHEN_FULL = ("allow-oom",)
_READS = ("no-writes",)


@dataclass(frozen=True, slots=True)
class Step:
    """One atomic step: the files that make it, and the flags that its function is registered with."""

    files: tuple[str, ...]
    flags: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The step as a script."""
        folder = files("sheaf.broker") / "lua"
        return "\n".join((folder / f"{name}.lua").read_text(encoding="utf-8") for name in self.files)


STEPS = {
    "announce": Step(("announce",), _WHEN_FULL),
    "claim": Step(("lines", "claim"), _WHEN_FULL),
    "finish": Step(("lines", "finish"), _WHEN_FULL),
    "lock_acquire": Step(("lock_waiters", "lock_acquire"), _WHEN_FULL),
    "lock_release": Step(("lock_waiters", "lock_release"), _WHEN_FULL),
    "lock_renew": Step(("lock_renew",), _WHEN_FULL),
    "mp_barrier": Step(("mp_step", "mp_anyway", "mp_wake", "mp_barriers", "mp_barrier"), _WHEN_FULL),
    "mp_condition": Step(("mp_step", "mp_anyway", "mp_wake", "mp_locks", "mp_condition"), _WHEN_FULL),
    "mp_delete": Step(("mp_step", "mp_anyway", "mp_delete"), _WHEN_FULL),
    "mp_dict_set": Step(("mp_step", "mp_dict_set")),
    "mp_dict_take": Step(("mp_step", "mp_anyway", "mp_dict_take"), _WHEN_FULL),
    "mp_ended": Step(
        ("mp_process", "mp_anyway", "mp_wake", "mp_locks", "mp_barriers", "mp_pipe", "mp_ended"), _WHEN_FULL
    ),
    "mp_event": Step(("mp_step", "mp_anyway", "mp_wake", "mp_event"), _WHEN_FULL),
    "mp_host": Step(("mp_entry", "mp_host"), _WHEN_FULL),
    "mp_lease": Step(("mp_lease",), _WHEN_FULL),
    "mp_list_set": Step(("mp_step", "mp_list_set")),
    "mp_list_take": Step(("mp_step", "mp_anyway", "mp_list_take"), _WHEN_FULL),
    "mp_lock": Step(("mp_step", "mp_anyway", "mp_wake", "mp_locks", "mp_lock"), _WHEN_FULL),
    "mp_lost": Step(("mp_lost",), _WHEN_FULL),
    "mp_make": Step(("mp_step", "mp_make")),
    "mp_memory": Step(("mp_step", "mp_anyway", "mp_wake", "mp_locks", "mp_memory"), _WHEN_FULL),
    "mp_print": Step(("mp_print",)),
    "mp_printed": Step(("mp_printed",), _WHEN_FULL),
    "mp_put": Step(("mp_step", "mp_wake", "mp_put")),
    "mp_receive": Step(("mp_step", "mp_anyway", "mp_wake", "mp_pipe", "mp_receive"), _WHEN_FULL),
    "mp_report": Step(("mp_entry", "mp_report"), _WHEN_FULL),
    "mp_room": Step(("mp_step", "mp_room")),
    "mp_send": Step(("mp_step", "mp_wake", "mp_pipe", "mp_send")),
    "mp_signal": Step(("shared_request", "mp_entry", "mp_signal"), _WHEN_FULL),
    "mp_start": Step(("shared_request", "mp_start")),
    "mp_take": Step(("mp_step", "mp_anyway", "mp_wake", "mp_take"), _WHEN_FULL),
    "problem": Step(("problem",), _WHEN_FULL),
    "put_back": Step(("lines", "put_back"), _WHEN_FULL),
    "renew": Step(("lines", "renew"), _WHEN_FULL),
    "shared_put": Step(("shared_request", "shared_wake", "shared_put")),
    "shared_remove": Step(("shared_request", "shared_remove"), _WHEN_FULL),
    "shared_take": Step(("shared_request", "shared_wake", "shared_take"), _WHEN_FULL),
    "shared_value": Step(("shared_request", "shared_value")),
    "snapshot": Step(("snapshot",), _READS),
}


@functools.cache
def version() -> str:
    """What tells this library from those of other versions of Sheaf; two may be in one Redis during an update."""
    # 48 bits are enough to tell a few versions apart.
    return hashlib.sha256(_register("").encode()).hexdigest()[:12]


def library_name() -> str:
    return f"sheaf_{version()}"


def function_name(step: str) -> str:
    """Functions of all libraries share one space of names, so that each carries the version, too."""
    return _function_name(step, version())


def library() -> str:
    """The library's text, for FUNCTION LOAD."""
    return f"#!lua name={library_name()}\n{_register(version())}"


def _function_name(step: str, of_version: str) -> str:
    return f"sheaf_{step}_{of_version}"


def _register(of_version: str) -> str:
    return "\n".join(_registration(step, _function_name(step, of_version)) for step in STEPS)


def _registration(step: str, name: str) -> str:
    return (
        f"redis.register_function{{function_name='{name}', flags={_lua_list(STEPS[step].flags)},\n"
        f"callback=function(KEYS, ARGV)\n{STEPS[step].text}\nend}}\n"
    )


def _lua_list(words: Iterable[str]) -> str:
    return "{" + ", ".join(f"'{word}'" for word in words) + "}"


if __name__ == "__main__":
    sys.stdout.write(library())
