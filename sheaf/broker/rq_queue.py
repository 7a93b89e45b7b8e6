"""RQ's own queue class, provided that it uses the keys that `keys.py`, the Lua files and the list of users name.

RQ 3 lets an environment variable, RQ_KEY_PREFIX, put another word in place of `rq` in all of its keys. It would move
the jobs that RQ writes and leave what our scripts write where it was (docs/decisions/0046-key-prefix.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sheaf.broker import keys
from sheaf.core.errors import SettingsError

if TYPE_CHECKING:
    from rq import Queue


def import_rq_queue() -> type[Queue]:
    """Return `rq.Queue`. Raises SettingsError if RQ_KEY_PREFIX gives its keys other names.

    Imported here and not at the top: RQ reads the variable when it is imported, and an unusable value ends that.
    """
    try:
        from rq import Queue
    except ValueError as error:
        raise _refusal(str(error)) from error
    prefix = Queue.redis_queue_namespace_prefix
    if prefix + keys.QUEUE != keys.RQ_QUEUE:
        raise _refusal(f"RQ_KEY_PREFIX={prefix.removesuffix(':queue:')}")
    return Queue


def _refusal(found: str) -> SettingsError:
    return SettingsError(
        f"{found}: with this setting RQ uses key names that Sheaf's workers and Redis's access list do "
        f"not know; the queue is always {keys.RQ_QUEUE}. Unset RQ_KEY_PREFIX for Sheaf (env -u RQ_KEY_PREFIX sheaf …); "
        "a program that needs it for its own RQ should call Sheaf from another process"
    )
