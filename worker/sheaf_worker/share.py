"""Workers of one host share its cores: each takes its part, which changes as workers come and go."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from sheaf.broker.worker_registry import WorkerInfo

#: The same in all containers of a host, and another after its next boot.
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def host_name(given: str | None) -> str:
    """What tells this host from others: the setting, or the kernel's own name for its present life."""
    if given:
        return given
    try:
        return _BOOT_ID.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def fair_share(cores: Mapping[str, int], worker: str, fixed: int = 0) -> int:
    """Return how many processes `worker` should run: one at least, and no more than the cores it may use.

    `cores`: how many each worker of the host may use that shares; `fixed`: processes of those that do not. Whoever may
    use the most is taken to see the whole host. All workers come to the same parts, without talking.
    """
    shares = dict.fromkeys(sorted(cores), 1)
    spare = max(cores.values()) - fixed - len(shares)
    while spare > 0:
        hungry = [name for name, share in shares.items() if share < cores[name]]
        if not hungry:
            break
        for name in hungry[:spare]:
            shares[name] += 1
        spare -= len(hungry[:spare])
    return shares[worker]


def share_among(cards: Collection[WorkerInfo], worker: str, host: str, own_cores: int) -> tuple[int, int]:
    """Return this worker's part of the host's cores, and how many live workers of the host there are."""
    here = [card for card in cards if card.fields.get("machine") == host and not card.silent and card.id != worker]
    cores = {card.id: card.few("cores") for card in here if card.few("cores")}
    fixed = sum(card.few("pool") for card in here if not card.few("cores"))
    return fair_share(cores | {worker: own_cores}, worker, fixed), len(here) + 1
