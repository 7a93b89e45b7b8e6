"""What a process is to run, as a program signs it and a worker verifies it.

The file is three parts: a line that says what it is, a line with the signature, and what is signed: a line of JSON (the
fields of `Start`) and the function with its arguments, encoded by `sheaf.values`. Nothing of it passes through Redis.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import json
from dataclasses import dataclass, field
from typing import Any

from sheaf.core.errors import ProcessRefused
from sheaf.multiprocessing.code import Code

_MAGIC = b"sheaf start 1\n"


@dataclass(frozen=True, slots=True)
class Start:
    """A process to be started. What a worker checks is what the process gets."""

    program: str
    process: str
    #: For people, as `multiprocessing` names processes.
    name: str
    #: Who started it: another process of the program, or none: the program itself.
    parent: str = ""
    daemon: bool = False
    #: The program's own.
    argv: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    #: The working folder; none: the data folder.
    folder: str | None = None
    code: Code = field(default_factory=Code)

    def signed(self, key: bytes, payload: list[bytes]) -> list[bytes]:
        """The file's content, in parts: `payload` is the function with its arguments.

        `key` is the program's (`ClusterKey.secret_of`).
        """
        line = json.dumps(dataclasses.asdict(self), separators=(",", ":")).encode() + b"\n"
        content = b"".join([line, *payload])
        return [_MAGIC, _signature(key, self.program, self.process, content) + b"\n", content]


def read_start(file: bytes, key: bytes, program: str, process: str) -> tuple[Start, bytes]:
    """Check a file; return what it says and the payload. Raises ProcessRefused if the program did not sign this."""
    magic, given, content = _parts(file)
    if magic != _MAGIC or not hmac.compare_digest(given, _signature(key, program, process, content)):
        raise ProcessRefused(
            f"the start of process {process} was not signed by its program: it was changed or forged, or the program "
            "has another key than this worker; nothing was run. SHEAF_CLUSTER_KEY_FILE has to name the same key for "
            "both"
        )
    line, _, payload = content.partition(b"\n")
    try:
        fields: dict[str, Any] = json.loads(line)
        code = Code(**fields.pop("code"))
        return Start(**{**fields, "argv": tuple(fields["argv"])}, code=code), payload
    except (ValueError, TypeError, LookupError) as error:
        raise ProcessRefused(
            f"the start of process {process} was written by another version of Sheaf than this worker's ({error}); "
            "nothing was run. Use one version for the program and the workers"
        ) from error


def _signature(key: bytes, program: str, process: str, content: bytes) -> bytes:
    """Of this content, for this process of this program, to be started: good for nothing else."""
    signed = "\n".join((program, process, hashlib.sha256(content).hexdigest()))
    return hmac.digest(key, _MAGIC + signed.encode(), "sha256").hex().encode()


def _parts(file: bytes) -> tuple[bytes, bytes, bytes]:
    if not file.startswith(_MAGIC):
        return b"", b"", b""
    end = file.find(b"\n", len(_MAGIC), len(_MAGIC) + 200)
    if end < 0:
        return b"", b"", b""
    return _MAGIC, file[len(_MAGIC) : end], file[end + 1 :]
