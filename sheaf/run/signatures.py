"""Signatures of calls: what Redis cannot forge, because it does not have the cluster's key.

    producer                          Redis, volume                       worker
    ClusterKey.sign(call) ──────────► call + signature ──────────────────► ClusterKey.verify(call, signature)

Source that travels with a call would be code from Redis. So the program that submits a call signs it, and the worker
verifies it before any of it reaches a child. Producers and workers hold the key. It is never written to Redis, put into
an environment, or sent to a child.

A signature covers everything that decides what runs: the run and the place in it (so that a signature is worthless in
another place), the direction, the function with its module and a digest of its source, and the arguments.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
import stat
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from sheaf.core import permissions
from sheaf.core.errors import CallForged, SettingsError
from sheaf.core.files import NotReadable, NotThere, open_file
from sheaf.core.settings import Settings

#: Where the key lies if no setting names another file, in the data folder.
FILE = ".sheaf/cluster-key"
#: Bytes of a key that is made here. One that is given may be longer, but not shorter.
_KEY_BYTES = 32
_LONGEST_FILE = 1024
#: A key that is removed between the moment it is created and the moment it is read is created again, but not for ever.
_ATTEMPTS = 3
#: What the signed bytes begin with: so no signature of another kind or version can be taken for one of these.
_CONTEXT = b"sheaf call 1\n"
#: What a program's own key is made of, beside the cluster's.
_PROGRAM_CONTEXT = b"sheaf program 1\n"
_LENGTH = struct.Struct(">Q")

#: What a signature is for: a signed call must not pass for anything else that will be signed one day.
Direction = Literal["call", "cancel"]


@dataclass(frozen=True, slots=True)
class SignedCall:
    """Everything that a signature covers."""

    #: The run or session of the call. A worker takes it from where it found the call, never from the call itself.
    run: str
    #: The item's index, or the call's number, in the run; None: all of the run's items, whose digest is `arguments`.
    index: int | None
    #: The module and the function in it.
    module: str
    function: str
    #: The source that travels with the call; empty if the workers have it already.
    source: bytes
    #: The encoded arguments.
    arguments: bytes
    direction: Direction = "call"

    def signed_bytes(self) -> bytes:
        """The fields with their lengths, so that nothing can move from one of them into the next."""
        fields = (
            self.direction.encode(),
            self.run.encode("utf-8", "surrogatepass"),
            b"all" if self.index is None else b"%d" % self.index,
            self.module.encode("utf-8", "surrogatepass"),
            self.function.encode("utf-8", "surrogatepass"),
            hashlib.sha256(self.source).digest(),
            hashlib.sha256(self.arguments).digest(),
        )
        return _CONTEXT + b"".join(_LENGTH.pack(len(field)) + field for field in fields)


class ClusterKey:
    """The key that the producers and workers of one cluster share."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) < _KEY_BYTES:
            raise SettingsError(
                f"the cluster key has {len(secret)} bytes, which is too short to protect anything; it needs at least "
                f"{_KEY_BYTES}: `openssl rand -hex 32`"
            )
        self._secret = secret

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The key of the cluster that these settings are for. Raises SettingsError if it cannot be used.

        Without a setting it is that of the data folder, which is created once.
        """
        if settings.cluster_key_file is None:
            return cls._of_folder(settings.data_dir)
        path = settings.cluster_key_file
        try:
            return cls(_read(path, stat.S_IRWXO))
        except NotReadable as error:
            raise SettingsError(
                f"SHEAF_CLUSTER_KEY_FILE={str(path)!r} {error}; create it: `openssl rand -hex 32`"
            ) from error

    @classmethod
    def _of_folder(cls, data_dir: Path) -> Self:
        path = data_dir / FILE
        shared = permissions.is_shared(data_dir)
        for _ in range(_ATTEMPTS):
            try:
                return cls(_read(path, stat.S_IRWXO if shared else stat.S_IRWXO | stat.S_IRWXG))
            except NotThere:
                _create(path, shared)
            except NotReadable as error:
                raise SettingsError(f"the cluster key {path} {error}; restore the file or its permissions") from error
        raise SettingsError(f"the cluster key {path} is removed as soon as it is created; find out by what")

    def sign(self, call: SignedCall) -> str:
        return hmac.digest(self._secret, call.signed_bytes(), "sha256").hex()

    def verify(self, call: SignedCall, signature: object) -> None:
        """Raises CallForged unless this very call was signed with this key."""
        expected = self.sign(call).encode()
        given = signature.encode("utf-8", "replace") if isinstance(signature, str) else b""
        if not hmac.compare_digest(expected, given):
            place = "all items" if call.index is None else f"item {call.index}"
            raise CallForged(
                f"{call.module}:{call.function} of run {call.run} ({place}) was not signed with this cluster's key, so "
                "it was not run; submit it from a program that has the key (SHEAF_CLUSTER_KEY_FILE), or find out who "
                "else writes to this Redis"
            )

    def secret_of(self, program: str) -> bytes:
        """A key that is good for one program alone, and that its processes on workers may have.

        Nothing leads back from it to the cluster's, nor does it sign calls.
        """
        return hmac.digest(self._secret, _PROGRAM_CONTEXT + program.encode("utf-8", "surrogatepass"), "sha256")

    def __repr__(self) -> str:
        return "<cluster key>"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("the cluster key is not sent to other processes; each reads it by itself")


def _read(path: Path, forbidden: int) -> bytes:
    """Raises NotReadable, and SettingsError for a file that more people can read than may sign calls."""
    descriptor = open_file(path)
    try:
        mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
        if mode & forbidden:
            raise SettingsError(
                f"the cluster key {path} has mode {mode:04o}, so others can read it and sign calls with it; "
                f"`chmod {mode & ~forbidden:o}` it, or remove it so that a new key is created"
            )
        return os.read(descriptor, _LONGEST_FILE).strip()
    finally:
        os.close(descriptor)


def _create(path: Path, shared: bool) -> None:
    """Write a key under its final name in one step: of several processes that do this at once, one wins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb") as target:
            target.write(secrets.token_hex(_KEY_BYTES).encode() + b"\n")
            target.flush()
            if shared:
                os.fchmod(descriptor, 0o640)
            os.fsync(descriptor)
        with contextlib.suppress(FileExistsError):
            os.link(partial, path)
    finally:
        partial.unlink(missing_ok=True)
