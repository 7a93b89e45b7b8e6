"""Every key that Sheaf uses in Redis, with its type, its content and its life.

RQ's own keys (`rq:…`) are written by RQ's code when batches are queued, and by our scripts where RQ's entry has to
change in one step with ours: when a batch is claimed, finished or put back (`docs/decisions/0003-claiming-a-batch.md`),
and when a worker shows itself.
"""

#: The one queue. list of job ids; RQ's, we push with RQ and take with `claim.lua`.
QUEUE = "sheaf"
RQ_QUEUE = f"rq:queue:{QUEUE}"
#: set of the queues' keys; RQ's.
RQ_QUEUES = "rq:queues"
#: zset of `<job id>:lease`, score +inf; RQ's registry of started jobs, so that `rq info` shows them. RQ's clean-up,
#: which any `rq info` runs, touches only entries whose score has passed, so never ours.
RQ_STARTED = f"rq:wip:{QUEUE}"
#: zset of job ids; RQ's registry of failed jobs: other programs' jobs that were found on our queue.
RQ_FAILED = f"rq:failed:{QUEUE}"
#: hash; RQ's job, 0.6 KB (1.5 KB in a Redis of default settings), deleted when the batch is committed.
RQ_JOB_PREFIX = "rq:job:"
#: hash, one per live worker, and two sets of these hashes' keys: what `rq info` lists. They expire like our entry.
RQ_WORKER_PREFIX = "rq:worker:"
RQ_WORKERS = "rq:workers"
RQ_QUEUE_WORKERS = f"rq:workers:{QUEUE}"

#: zset of batch ids, score = the moment (ms, Redis's clock) at which the lease runs out.
LEASES = "sheaf:leases"
#: hash batch id -> worker id that holds the lease; a field lives as long as its lease.
OWNERS = "sheaf:owners"
#: hash batch id -> how many times it was claimed and not handed back: one more than workers have died with it.
#: A field lives until the batch is finished.
CLAIMS = "sheaf:claims"
#: string, one per batch whose workers died with it: what of it is in hand (sheaf.broker.suspects); lives a day.
IN_HAND_PREFIX = "sheaf:in-hand:"
#: zset of parties (a run, or a program's session, that has batches queued), score = count of turns when one of theirs
#: was last claimed; lists, one per party: the ids of its queued batches; string: how many ids these are together.
#: `lines.lua` says how they follow from RQ's list: they are made anew when they do not agree with it, so they may be
#: deleted at any time.
TURNS = "sheaf:turns"
LINE_PREFIX = "sheaf:line:"
LINED = "sheaf:lined"
#: string, one per worker: its last claim's request and answer, for a claim whose answer was lost; lives half a lease.
CLAIMED_PREFIX = "sheaf:claimed:"
#: pub/sub channel: something was put on the queue; idle workers listen so that they need not poll.
WAKEUP = "sheaf:bell"

#: pub/sub channel, one per session of a program: the runs of that session that were just committed to, by their names.
COMMITTED_PREFIX = "sheaf:committed:"
#: pub/sub channel, one per run: its last item is committed.
FINISHED_PREFIX = "sheaf:finished:"

#: Objects that programs and tasks share, by name; they live until they are deleted, or Redis is emptied.
#: string: a counter's number. hash: a dict's keys and values, as JSON. list: a queue's values, as JSON.
COUNTER_PREFIX = "sheaf:counter:"
DICT_PREFIX = "sheaf:dict:"
QUEUE_PREFIX = "sheaf:queue:"
#: lists of at most 100 calls: something was put, something was taken; live for seconds.
QUEUE_WAKE_SUFFIX = ":wake"
QUEUE_ROOM_SUFFIX = ":room"
#: string, one per thread that shares objects: its last request and answer, for a lost reply; lives a minute.
CLIENT_PREFIX = "sheaf:client:"

#: What `sheaf.multiprocessing` has in Redis. zset of programs, score = the moment (ms, Redis's clock) at which a
#: program's lease runs out: its program renews it, and the worker that finds it expired removes all the program has.
MP_PROGRAMS = "sheaf:mp:programs"
#: Of each program, until it ends: set of the keys that it has beside these; hash client -> its last request and the
#: answer to it; set of processes that have ended; sets, one per process, of the objects that have something of it;
#: strings, large values that are in a queue or pipe.
MP_PREFIX = "sheaf:mp:"
MP_KEYS, MP_CLIENTS, MP_ENDED, MP_HELD, MP_VALUE = "keys", "clients", "ended", "held:", "v:"
#: hash, one per object, and keys that begin with its name; which, is in the files of `lua/` that begin with `mp_`.
MP_OBJECT = "o:"
#: pub/sub channels: one per process, for the keys of objects that it waits for and that have changed; and one for all
#: processes of a program, for `processes` (one has ended) and `ended` (the program has).
MP_WAKE, MP_WAKE_ALL = "wake:", "wake"
#: Of each program that starts processes on workers: hash process -> JSON (name, parent, state: waiting, running or
#: ended, worker, pid, exitcode); list of what they have printed and the program has not read (`process stream`, line
#: feed, text); hash with the number of that list's first entry, its bytes, and the last batch of each worker; and a
#: pub/sub channel on which is said that one of these has changed.
MP_PROCESSES, MP_OUT, MP_OUT_STATE, MP_HOSTING = "processes", "out", "outs", "hosting"
#: list of `program process ms`: processes that wait for a worker, and since when.
MP_STARTS = "sheaf:mp:starts"
#: hash worker -> `ms at which its lease runs out, processes that it hosts, places that are free`; a field lives until
#: the processes of a worker that died are counted as ended.
MP_HOSTS = "sheaf:mp:hosts"
#: set of `program process`, one per worker that hosts some.
MP_HOSTED_PREFIX = "sheaf:mp:hosted:"
#: hash `program process` -> `signal:count`, one per worker; a field lives until that process has ended.
MP_SIGNALS_PREFIX = "sheaf:mp:signals:"
#: pub/sub channel: there is a start or a signal; workers listen.
MP_CALL = "sheaf:mp:call"

#: hash, one per live worker: label, pid, pool, state, batches, items, …; expires two minutes after the last beat.
WORKER_PREFIX = "sheaf:worker:"
#: zset worker id -> ms at which its entry expires; those whose time is over are dropped by the next beat.
WORKERS = "sheaf:workers"

#: hash, one per run: why nothing goes on (problem, since_ms, worker, refused); expires when it is not renewed.
PROBLEM_PREFIX = "sheaf:problem:"

#: hash, one per lock: holder, label, token, since_ms, until_ms, lease_ms. Lives while held; expires with the lease.
LOCK_PREFIX = "sheaf:lock:"
#: string; the counter behind a lock's tokens. Lives for ever (a flushed one is lifted by the index's highest token).
LOCK_TOKEN_SUFFIX = ":token"  # noqa: S105  not a password
#: list of waiters' ids in order of arrival. Lives while there are waiters, and at most a minute longer.
LOCK_WAITERS_SUFFIX = ":waiters"
#: hash waiter id -> ms of its last sign of life; a waiter silent for too long is skipped. Lives as long as the list.
LOCK_SEEN_SUFFIX = ":seen"
#: list of one entry: "your turn"; the waiter blocks on it. Expires after some seconds.
LOCK_WAKE_SUFFIX = ":wake:"

#: The reconciler's and the feeding producer's lock: one at a time looks for batches to put back.
RECONCILER_LOCK = "reconciler"


def shared_lock(name: str) -> str:
    """The name of a lock that programs share, apart from those of outputs."""
    return f"shared:{name}"


def of_program(program: str, name: str) -> str:
    """A key or a channel of a program of `sheaf.multiprocessing`."""
    return f"{MP_PREFIX}{program}:{name}"


def output_lock(path: str) -> str:
    """The lock's name for an output, by its path inside the data folder (the same in every container)."""
    return f"output:{path}"


#: Redis's name for the type of each key that can be had again from the volume, or by the next beat.
_TYPES = {
    RQ_QUEUE: "list",
    RQ_QUEUES: "set",
    RQ_STARTED: "zset",
    RQ_FAILED: "zset",
    RQ_WORKERS: "set",
    RQ_QUEUE_WORKERS: "set",
    LEASES: "zset",
    OWNERS: "hash",
    CLAIMS: "hash",
    TURNS: "zset",
    LINED: "string",
    WORKERS: "zset",
}
#: The same for those that there are many of, by what their names begin with.
_TYPES_BY_PREFIX = {
    RQ_JOB_PREFIX: "hash",
    RQ_WORKER_PREFIX: "hash",
    CLAIMED_PREFIX: "string",
    IN_HAND_PREFIX: "string",
    LINE_PREFIX: "list",
    WORKER_PREFIX: "hash",
    PROBLEM_PREFIX: "hash",
}
_LOCK_TYPES_BY_SUFFIX = {LOCK_TOKEN_SUFFIX: "string", LOCK_WAITERS_SUFFIX: "list", LOCK_SEEN_SUFFIX: "hash"}


def type_of(key: str) -> str | None:
    """The type of a key of ours, as Redis calls it; None for what programs share, and for others' keys."""
    if key.startswith(LOCK_PREFIX):
        if LOCK_WAKE_SUFFIX in key:
            return "list"
        return next((kind for suffix, kind in _LOCK_TYPES_BY_SUFFIX.items() if key.endswith(suffix)), "hash")
    by_prefix = next((kind for prefix, kind in _TYPES_BY_PREFIX.items() if key.startswith(prefix)), None)
    return _TYPES.get(key, by_prefix)
