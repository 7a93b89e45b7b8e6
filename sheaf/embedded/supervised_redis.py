"""Keeps the embedded Redis serving: running, answering, and on a file that it can read.

died ─────────────────────────► started again
died twice before it answered ► what it kept is put aside, started empty: the truth is on the volume
its socket is gone ───────────► started again, at the same place
does not answer for 20 s ─────► killed, started again
"""

from __future__ import annotations

import enum
import errno
import logging
import os
import shutil
import socket
import stat
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from sheaf.core.errors import RedisUnavailable
from sheaf.core.files import exists
from sheaf.core.settings import child_environment
from sheaf.embedded.process import Child, Command, status_text, stop_children
from sheaf.embedded.redis_server import find_redis_server, redis_command
from sheaf.embedded.state import SOCKET_FOLDER_PREFIX, Places, tail

logger = logging.getLogger(__name__)

#: Seconds that Redis may take to load what it kept.
REDIS_START_S = 60.0
#: Seconds that it gets to end in order.
STOP_S = 10.0
#: Seconds for which it may leave everybody without an answer; and for one question.
HUNG_S, ANSWER_S = 20.0, 2.0
#: Consecutive ends before an answer after which its file is the suspected cause.
_VAIN_STARTS = 2
#: Consecutive checks at which nothing listens at its socket.
_NOT_LISTENING_LOOKS = 2
#: Words of Redis that say that no other file would help; it holds the programs' counters and dicts, so it is kept.
_NOT_ITS_FILE = tuple(
    os.strerror(number)
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.EACCES)
)
#: A unix socket's path holds at most 107 bytes; ours adds "/redis.sock" to the folder's.
_FOLDER_PATH_LIMIT = 90


class Answer(enum.Enum):
    WELL = "answers"
    LOADING = "loads its data"
    SILENT = "takes a question and gives no answer"
    NOT_LISTENING = "nothing listens at its socket"
    UNKNOWN = "it cannot be asked now"


class SupervisedRedis:
    """`note` is called with what was done about it, for people."""

    def __init__(self, places: Places, note: Callable[[str], None]) -> None:
        self._places = places
        self._note = note
        #: The private folder of its socket, and of whatever else must not be on the data's disk.
        self.folder = _private_folder()
        self._socket = self.folder / "redis.sock"
        self.url = f"unix://{self._socket}"
        command = redis_command(find_redis_server(), self._socket, places.redis)
        self.child = Child("redis", Command(command, child_environment({}), places.log("redis"), places.redis))
        #: Whether it has answered since its last start, and its consecutive ends without an answer.
        self.answered = False
        self._vain = 0
        #: Its file was put aside, and it has not answered since: the file was not the cause.
        self._emptied = False
        self._not_listening = 0
        #: When it last answered, or was started.
        self._heard = 0.0

    def start(self, given_up: Callable[[], bool]) -> None:
        """Start it and wait until it answers. Raises RedisUnavailable if it never does."""
        deadline = time.monotonic() + REDIS_START_S
        while not self.answered and not given_up():
            self.look()
            if (self._emptied and self._vain) or self._vain > _VAIN_STARTS or time.monotonic() > deadline:
                why = self.child.trouble or "it does not answer"
                raise RedisUnavailable(
                    f"redis-server does not start: {why}; the end of its log:\n{tail(self._places.log('redis'), 6)}"
                )
            time.sleep(0.02)

    def look(self) -> None:
        """Do what has to be done now."""
        self._keep_folder()
        if self.child.reap():
            self._after_end()
        lived = self.child.running
        self.child.keep_running()
        if lived:
            self._judge(self._ask())
        elif self.child.running:
            self.answered, self._not_listening, self._heard = False, 0, time.monotonic()

    def forgive(self) -> None:
        """The supervisor was itself held up: what it did not hear does not count."""
        self._heard = time.monotonic()

    def end(self) -> None:
        stop_children([self.child], STOP_S)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _after_end(self) -> None:
        how = status_text(self.child.status)
        if self.answered or self.child.killed:
            if not self.child.killed:
                self._note(f"Redis ended with {how}; restarting it")
            return
        # Killed from outside while it was loading, it says nothing about its file.
        self._vain += self.child.status >= 0
        # Without the process, time and level before it.
        last = tail(self._places.log("redis"), 1).split(" # ")[-1]
        self.child.trouble = f"Redis does not start ({how}): {last}"
        if self._vain >= _VAIN_STARTS and not self._emptied and not any(sign in last for sign in _NOT_ITS_FILE):
            self._put_aside(how, last)

    def _put_aside(self, how: str, last: str) -> None:
        aside = _free_name(self._places.redis)
        self._places.redis.rename(aside)
        self._places.redis.mkdir()
        self._vain, self._emptied = 0, True
        self._note(
            f"Redis cannot start from its file ({how}: {last}); the file was moved aside as {aside}, and Redis starts "
            "empty: no run loses anything, as the queue is refilled from the volume; what programs shared is gone"
        )
        self.child.start_soon()

    def _judge(self, answer: Answer) -> None:
        now = time.monotonic()
        if answer in (Answer.WELL, Answer.LOADING):
            self._heard, self._not_listening = now, 0
            if answer is Answer.WELL:
                self.answered, self._vain, self._emptied = True, 0, False
                self.child.trouble = None
            return
        if answer is Answer.UNKNOWN:
            return
        self._not_listening = self._not_listening + 1 if answer is Answer.NOT_LISTENING and self.answered else 0
        silent_s = now - self._heard
        limit_s = HUNG_S if self.answered else REDIS_START_S
        self.child.trouble = f"Redis (pid {self.child.pid}) {answer.value}" if silent_s > ANSWER_S else None
        if self._not_listening >= _NOT_LISTENING_LOOKS or (self._not_listening and not exists(self._socket)):
            self._note(f"Redis is alive, but its socket {self._socket} is gone; restarting it")
            self.child.kill(STOP_S)
        elif silent_s > limit_s:
            self._note(f"Redis is alive, but {answer.value} for {silent_s:.0f} s; killing and restarting it")
            self.child.kill()

    def _ask(self) -> Answer:
        try:
            with socket.socket(socket.AF_UNIX) as question:
                question.settimeout(ANSWER_S)
                question.connect(str(self._socket))
                question.sendall(b"PING\r\n")
                # Any answer will do: that it is full, say, is a life sign as well.
                answer = question.recv(64)
        except (FileNotFoundError, ConnectionRefusedError):
            return Answer.NOT_LISTENING
        except (TimeoutError, BlockingIOError, BrokenPipeError, ConnectionResetError):
            return Answer.SILENT
        except OSError:
            return Answer.UNKNOWN  # we have no descriptor left, say
        if not answer:
            return Answer.SILENT
        return Answer.LOADING if answer.startswith(b"-LOADING") else Answer.WELL

    def _keep_folder(self) -> None:
        """Cleaners of /tmp take what is old; what is gone all the same is made anew, unless its name is taken."""
        try:
            os.utime(self.folder)
            if exists(self._socket):
                os.utime(self._socket)
        except FileNotFoundError:
            if not exists(self.folder):
                self.folder.mkdir(mode=0o700)
        found = self.folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise PermissionError(f"{self.folder}, the folder of Redis's socket, now belongs to another user")


def _private_folder() -> Path:
    """A new folder that only this user can enter, with a path short enough for a socket in it."""
    folder = tempfile.mkdtemp(prefix=SOCKET_FOLDER_PREFIX)
    if len(os.fsencode(folder)) > _FOLDER_PATH_LIMIT:
        Path(folder).rmdir()
        folder = tempfile.mkdtemp(prefix=SOCKET_FOLDER_PREFIX, dir="/tmp")
    return Path(folder)


def _free_name(path: Path) -> Path:
    number = 1
    while exists(aside := path.with_name(f"{path.name}.unreadable-{number}")):
        number += 1
    return aside
