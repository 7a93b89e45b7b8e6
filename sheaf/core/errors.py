"""Every error that Sheaf raises on purpose, in one tree.

SheafError
├── UsageError              what was asked for cannot be done as asked; the command line exits with 2
│   ├── SettingsError       a setting is wrong; names its variable
│   ├── InputError          an input file or list cannot be used
│   ├── OutputPathError     the output's path, folder or suffix cannot be used
│   ├── RunNotFound         no run of that name
│   │   └── RunDamaged      the run's files are not what was written; it alone is set aside
│   ├── ProcessRefused      a process that a program wants started cannot be; nothing was run
│   ├── ValueNotSendable    a value cannot be sent to another process; names the part of it, and what to do instead
│   ├── NotShareable        this cannot be meant across machines; the message says what to use instead
│   └── TaskError           the task cannot be found, imported or called
│       ├── TaskForbidden   the workers are not set up to run it
│       ├── CallForged      a call is not signed with this cluster's key
│       ├── TaskChanged     its files are no longer those that the run was submitted with
│       └── GeneratorMiscounts  a stream's generator gave more or fewer values than it took items
├── ClusterError            Redis, or the cluster behind it, cannot serve now; nothing was lost
│   ├── RedisUnavailable    not reachable, or still loading
│   ├── RedisDenied         wrong password, or a right is missing
│   ├── RedisFull           `maxmemory` is reached
│   ├── RedisReadOnly       a replica, or a Redis that cannot write to its disk
│   └── ProgramEnded        what a program shared is not there any more, or not for this process
├── TaskFailed              an item that a program has sent off failed for good; has its error, message and item
├── ValueUnreadable         data received is not a value that Sheaf encoded, or this side cannot rebuild it
├── RemoteError             an exception from another process whose class is not known here; has its type and text
├── ItemsAbandoned          a process that took values out of a queue ended before they were done
├── RunCancelled            the run was cancelled; what is done stays, and submitting the same again resumes it
├── LockError
│   ├── LockTimeout         another holder kept the lock longer than we were willing to wait
│   └── LockLost            the lease expired before we were done
└── OutputError
    ├── OutputRefused       the output is not what its index says: a person has to decide; nothing was written
    │   ├── IndexMissing    the output exists, its index does not
    │   ├── OutputMissing   the index exists, the output does not
    │   ├── OutputShortened the output is shorter than what was committed
    │   ├── OutputReplaced  the output is another file than the one that was committed to
    │   ├── OutputDamaged   bytes of the output are not those that were committed; none of them is handed out
    │   └── IndexForeign    the index is not one of ours, or belongs to another file or a newer version
    ├── OutputUnwritable    the disk said no (full, read-only, I/O error); nothing was committed, safe to retry
    ├── IndexSpoilt         this process can only read the index, though it may write it: another one has to go on
    └── FenceTimeout        another process holds the index's write transaction; nothing was written, safe to retry

A message says three things: what was found (with its name), why that is a problem, and what to do about it.
"""

import functools
import typing

#: Characters of an item that the message of its failure shows.
_SHOWN_CHARS = 200


class SheafError(Exception):
    """Catch this to catch everything that Sheaf raises on purpose."""


class UsageError(SheafError):
    """Ask differently: the message says how."""


class SettingsError(UsageError):
    """Correct the environment variable that the message names."""


class InputError(UsageError):
    """Correct the input that the message names; nothing was submitted."""


class OutputPathError(UsageError):
    """Choose another output; nothing was written."""


class RunNotFound(UsageError):
    """Look up the run's name with `sheaf status`."""


class RunDamaged(RunNotFound):
    """Bring the file that the message names back as it was; the run goes on by itself then."""


class ProcessRefused(UsageError):
    """Do what the message says, and start the process again; nothing was run."""


class ValueNotSendable(UsageError, TypeError):
    """Replace the part of the value that the message names; nothing was sent."""


class NotShareable(UsageError, NotImplementedError):
    """Use what the message names: processes on several machines have no memory, files or servers in common."""


class TaskError(UsageError):
    """Correct the task that the message names; no item was run."""


class TaskForbidden(TaskError):
    """Have the workers allow it, by the setting that the message names; no item was run."""


class CallForged(TaskError):
    """Submit the call from a program that has the cluster's key; it was not run."""


class TaskChanged(TaskError):
    """Put the task's file back, or have the run go on with what is there now; no item was run."""


class GeneratorMiscounts(TaskError):
    """Have the generator yield one value for each item that it takes: otherwise values cannot be matched to items."""


class ClusterError(SheafError):
    """Wait, or repair Redis; the truth is on the volume, so nothing is lost."""


class RedisUnavailable(ClusterError):
    """Start Redis, or correct SHEAF_REDIS_URL; workers wait and come back by themselves."""


class RedisDenied(ClusterError):
    """Correct the user or the password (SHEAF_REDIS_USER, SHEAF_REDIS_PASSWORD or ..._FILE)."""


class RedisFull(ClusterError):
    """Raise Redis's `maxmemory`, or wait until the queue has drained."""


class RedisReadOnly(ClusterError):
    """Point SHEAF_REDIS_URL at the primary, or give Redis's disk room; reads still work."""


class ProgramEnded(ClusterError):
    """Start the program again: it ended, or was taken for ended, and what it shared was removed."""


class TaskFailed(SheafError):
    """Look at `error`, `message` and `item`; correct the task or the item, and send it off again."""

    def __init__(
        self, *, task: str, error: str, message: str, item: object, attempts: int, traceback: str = ""
    ) -> None:
        shown = repr(item)
        if len(shown) > _SHOWN_CHARS:
            shown = f"{shown[:_SHOWN_CHARS]}…"
        super().__init__(f"{message} — {task} was given {shown} ({attempts} attempt{'s' * (attempts != 1)})")
        #: The name of the task, as `module:function`.
        self.task = task
        #: The class of what was raised, or of what went wrong, by its short name: ValueError, Timeout, …
        self.error = error
        #: What was raised, in one line, and where.
        self.message = message
        #: What the function was called with: its one argument, or [arguments, keywords].
        self.item = item
        #: How often it was tried.
        self.attempts = attempts
        #: The traceback in the worker, if there was an exception.
        self.traceback = traceback

    def __reduce__(self) -> tuple[typing.Any, ...]:
        """Exceptions are copied and sent to other processes by their positional arguments; these have names."""
        return functools.partial(TaskFailed, **vars(self)), ()


class ValueUnreadable(SheafError, ValueError):
    """Run the same version of the program on both sides; if they do, the data was damaged or forged."""


class RemoteError(SheafError):
    """Look at `type_name` and `text`: all that is left of an exception whose class is not known here."""

    def __init__(self, type_name: str, text: str) -> None:
        super().__init__(type_name, text)
        #: The exception's class, with its module.
        self.type_name = type_name
        #: What `str()` said of it.
        self.text = text

    def __str__(self) -> str:
        return f"{self.type_name}: {self.text}" if self.text else self.type_name


class ItemsAbandoned(SheafError):
    """Put the values again that were lost with a process, or look at why it ended."""


class RunCancelled(SheafError):
    """Submit the same again to go on with the run."""


class LockError(SheafError):
    """The lock in Redis could not be had or kept; the output itself is never at risk."""


class LockTimeout(LockError):
    """Another process holds the lock; the message names it. Safe to retry."""


class LockLost(LockError):
    """The lease expired, or Redis forgot it; acquire the lock again."""


class OutputError(SheafError):
    """The output could not be written to or read."""


class OutputRefused(OutputError):
    """Look at the file: it is not what its index says. Nothing was written, nor will be until that is settled."""


class IndexMissing(OutputRefused):
    """The file is not ours, or its index was removed: choose another name, or bring the index back."""


class OutputMissing(OutputRefused):
    """Bring the file back, or have everything loaded again with `sheaf repair`."""


class OutputShortened(OutputRefused):
    """Bring the file back, or have what is lost loaded again with `sheaf repair`."""


class OutputReplaced(OutputRefused):
    """Bring the right file back, or have what is lost loaded again with `sheaf repair`."""


class OutputDamaged(OutputRefused):
    """Bring the file back, or have what is damaged done again with `sheaf repair`."""


class IndexForeign(OutputRefused):
    """The file at the index's path is not this output's index."""


class OutputUnwritable(OutputError):
    """Give the disk room or repair it. Nothing was committed; the same commit may be tried again."""


class IndexSpoilt(OutputError):
    """Go on in another process: SQLite keeps a file of the index open for reading only. Nothing was written."""


class FenceTimeout(OutputError):
    """Another process holds the index's write transaction. Nothing was written; safe to retry."""
