"""A program's process on a worker: waits for what it is to run, becomes part of the program, runs it.

It is started with two arguments: the descriptor by which it learns that, and its worker's pid. What it is to run is on
no command line and in no environment.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import io
import json
import os
import signal
import socket
import sys
import time
from typing import Any, NoReturn

from sheaf.broker.connection import connect
from sheaf.core.settings import Settings, replace_environment
from sheaf.multiprocessing.member import Member
from sheaf.multiprocessing.objects.references import use_codec
from sheaf.multiprocessing.place import Place, main_is_loaded, settle
from sheaf.multiprocessing.program_modules import ProgramModules
from sheaf_worker.child.copies import Lifeline, end_with_parent
from sheaf_worker.child.standing import give_way
from sheaf_worker.hosting.running import load_main, run_target, say_failed

#: What most programs need: imported while there is nothing to do yet.
_WARM = ("sheaf.multiprocessing", "sheaf.multiprocessing.hosted", "queue", "random", "traceback")


def main() -> NoReturn:
    channel, parent = int(sys.argv[1]), int(sys.argv[2])
    end_with_parent(parent)
    give_way()
    lifeline = Lifeline()
    os.register_at_fork(after_in_child=lifeline.hold)
    # It was started by a thread of a worker, which may have them blocked or ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A line is passed on when it is printed, not when the process ends.
            stream.reconfigure(line_buffering=True)
    for name in _WARM:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    received = _wait(channel)
    if received is None:
        sys.exit(0)
    head, payload = received
    sys.exit(_run(head, payload))


def _wait(channel: int) -> tuple[dict[str, Any], bytes] | None:
    """Wait for what is to be run; None if the worker does not need this process any more."""
    with socket.socket(fileno=channel) as source:
        _, descriptors, _, _ = socket.recv_fds(source, 1, 1)
    if not descriptors:
        return None
    with open(descriptors[0], "rb") as file:
        line, _, payload = file.read().partition(b"\n")
    return json.loads(line), payload


def _run(head: dict[str, Any], payload: bytes) -> int:
    name = head["name"]
    try:
        member = _settle(head)
        main_module = load_main(head["main"], head["main_name"])
        main_is_loaded()
        codec = use_codec(member, ProgramModules(main_module, head["modules"]))
        target, args, kwargs = codec.decode(payload)
    except SystemExit:
        raise
    except BaseException as error:  # noqa: BLE001 - the program's own module may raise anything
        return say_failed(name, error)
    return run_target(name, target, args, kwargs)


def _settle(head: dict[str, Any]) -> Member:
    """Be in the program's place: its arguments, environment, folder, modules. Return what its shared objects need."""
    member = Member(connect(Settings.from_env()), head["program"], head["process"])
    # The first that is registered is the last that is done: after what the program itself does at the end.
    atexit.register(member.close)
    replace_environment(head["environment"])
    time.tzset()
    sys.argv[:] = head["argv"]
    os.chdir(head["folder"])
    if head["copied"]:
        # The copy is what was signed; bytecode beside it would be something else.
        sys.dont_write_bytecode = True
        sys.pycache_prefix = os.devnull
    sys.path[:] = [*head["path"], *(entry for entry in sys.path if entry not in head["path"])]
    settle(
        Place(
            program=head["program"],
            process=head["process"],
            name=head["name"],
            parent=head["parent"],
            daemon=head["daemon"],
            key=bytes.fromhex(head["key"]),
            member=member,
        )
    )
    return member


if __name__ == "__main__":
    main()
