"""One-shot: make a password for each role, and the cluster's key, in a volume that belongs to this stack alone.

`/creds/<role>` holds the password, readable by the uid of that role's container only; `/creds/<role>.sha256` is what
Redis needs to check it. Runs at every `up`; what exists is kept, so that a running stack is not locked out. To change a
password, remove its file and restart the stack.

`/creds/cluster-key` is what programs sign calls with (`sheaf/run/signatures.py`). Workers and producers, who share a
group, can read it; Redis and the viewer cannot.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path

CREDS = Path("/creds")
#: Who may read each role's password. `admin` is for a person: `docker compose run --rm creds cat /creds/admin`.
READERS = {"admin": 0, "worker": 10001, "producer": 10002, "viewer": 10003}

#: The group of workers and producers.
SIGNERS = 10001


def put(name: str, text: str, reader: int, mode: int, group: int | None = None) -> None:
    """Write a file that is either absent or whole, and survives a power cut."""
    partial = CREDS / f".{name}"
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with open(descriptor, "w", encoding="utf-8") as target:
        target.write(text)
        target.flush()
        os.fchmod(descriptor, mode)  # before the file is given away: afterwards it takes one right more
        os.fsync(descriptor)
    os.chown(partial, reader, reader if group is None else group)
    partial.rename(CREDS / name)


def main() -> None:
    for role, reader in READERS.items():
        if not (CREDS / role).exists():
            put(role, secrets.token_hex(24) + "\n", reader, 0o400)
        password = (CREDS / role).read_text(encoding="utf-8").strip()
        # 192 random bits: their hash gives nothing away, and no salt is needed.
        put(f"{role}.sha256", hashlib.sha256(password.encode()).hexdigest() + "\n", 0, 0o444)
    if not (CREDS / "cluster-key").exists():
        put("cluster-key", secrets.token_hex(32) + "\n", 0, 0o440, SIGNERS)
    CREDS.chmod(0o755)


if __name__ == "__main__":
    main()
