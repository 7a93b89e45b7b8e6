"""Workers of one host share its cores: each takes a fair share, which changes as workers come and go."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from sheaf.broker.worker_registry import WorkerInfo

#: The same in all containers of a host, and another after its next boot.
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def host_name(given: str | None) -> str:
    """What identifies this host: the setting, or the kernel's id of the current boot."""
    if given:
        return given
    try:
        return _BOOT_ID.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def fair_share(cores: Mapping[str, int], worker: str, fixed: int = 0) -> int:
    """Return how many processes `worker` should run: one at least, and no more than the cores it may use.

    `cores`: how many cores each sharing worker of the host may use; `fixed`: processes of those that do not share. The
    largest number is taken for the host's. All workers arrive at the same shares without communicating.
    """
    shares = dict.fromkeys(sorted(cores), 1)
    spare = max(cores.values()) - fixed - len(shares)
    while spare > 0:
        short = [name for name, share in shares.items() if share < cores[name]]
        if not short:
            break
        for name in short[:spare]:
            shares[name] += 1
        spare -= len(short[:spare])
    return shares[worker]


def share_among(entries: Collection[WorkerInfo], worker: str, host: str, own_cores: int) -> tuple[int, int]:
    """Return this worker's share of the host's cores, and the number of live workers on the host."""
    here = [
        entry for entry in entries if entry.fields.get("machine") == host and not entry.silent and entry.id != worker
    ]
    cores = {entry.id: entry.few("cores") for entry in here if entry.few("cores")}
    fixed = sum(entry.few("pool") for entry in here if not entry.few("cores"))
    return fair_share(cores | {worker: own_cores}, worker, fixed), len(here) + 1
