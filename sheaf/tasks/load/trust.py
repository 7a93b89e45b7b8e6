"""Whose certificates are accepted: the public authorities, those that a worker's operator names, and the run's own."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Self

import certifi

from sheaf.core.errors import TaskError
from sheaf.core.files import is_dir
from sheaf.tasks.load.options import LoadOptions


class Trust:
    """The file and the folder that libcurl reads authorities from, as long as this is open.

    Raises TaskError if what the worker was configured to read cannot be read: that is no page's fault.
    """

    def __init__(self, options: LoadOptions) -> None:
        self._descriptor: int | None = None
        # libcurl's built-in path to the public ones exists on Red Hat's systems only.
        bundle = Path(options.ca_bundle or certifi.where())
        self.folder = options.ca_folder
        if is_dir(bundle):
            # As other programs take it, whose variables these are.
            self.folder, bundle = str(bundle), Path(certifi.where())
        try:
            with bundle.open("rb") as opened:
                known = opened.read() if options.ca_certificates else b""
        except OSError as error:
            raise TaskError(
                f"the CA certificates in {bundle} cannot be read: {error.strerror}; correct "
                "SHEAF_CA_BUNDLE (or CURL_CA_BUNDLE, SSL_CERT_FILE, REQUESTS_CA_BUNDLE) where the worker was started"
            ) from error
        self.file = self._joined(known, options.ca_certificates) if options.ca_certificates else str(bundle)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)

    def _joined(self, known: bytes, own: str) -> str:
        """A file in memory: libcurl keeps what it has read of a file for all connections, of a text for one only."""
        self._descriptor = os.memfd_create("sheaf-certificates", os.MFD_CLOEXEC)
        with open(self._descriptor, "wb", closefd=False) as joined:
            joined.write(known + b"\n" + own.encode() + b"\n")
        return f"/proc/self/fd/{self._descriptor}"
