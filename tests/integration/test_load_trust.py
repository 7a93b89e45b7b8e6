"""Whose certificates `load` accepts, and what it does about proxies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from sheaf.core.errors import InputError, TaskError
from sheaf.core.settings import Settings, proxy_variables
from sheaf.run.items import Done, Failed
from sheaf.tasks.load.options import LoadOptions
from sheaf.tasks.registry import limited
from sheaf_producer.submit.load import read_certificates, warn_of_proxies
from tests.loading import load_one, page
from tests.webserver import WebServer, answer, tls_context


@pytest.fixture
def signed(tmp_path: Path) -> Iterator[tuple[WebServer, Path]]:
    """A server whose certificate is its own authority, and that certificate."""
    context, certificate = tls_context(tmp_path)
    with WebServer(tls=context) as server:
        server.routes["/"] = answer(b"inside", content_type="text/plain")
        yield server, certificate


def test_a_run_brings_the_certificates_that_it_trusts(signed: tuple[WebServer, Path]) -> None:
    """Beside the public ones: the page loads; without them it says how to name them."""
    server, certificate = signed
    refused = load_one(server.url)
    assert isinstance(refused, Failed)
    assert (refused.error, "--ca-bundle" in refused.message) == ("Tls", True)
    assert page(load_one(server.url, ca_certificates=read_certificates(str(certificate))))["text"] == "inside"


@pytest.mark.parametrize(
    "variable", ["SHEAF_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "SSL_CERT_DIR"]
)
def test_a_worker_trusts_whom_the_usual_variables_name(signed: tuple[WebServer, Path], variable: str) -> None:
    """As curl, OpenSSL and requests have them; what a run says of a worker's files does not count."""
    server, certificate = signed
    place = certificate
    if variable == "SSL_CERT_DIR":
        place = certificate.parent / "folder"
        place.mkdir()
        (place / f"{subject_hash(certificate)}.0").write_bytes(certificate.read_bytes())
    settings = Settings.from_env({variable: str(place)})
    said = {"ca_bundle": "/nowhere", "ca_folder": "/nowhere"}
    options = limited("load", said, settings.networks, settings.ca_bundle, settings.ca_folder)
    assert page(load_one(server.url, **options))["text"] == "inside"
    options = limited("load", said, settings.networks)
    assert isinstance(load_one(server.url, **options), Failed)


def subject_hash(certificate: Path) -> str:
    import subprocess

    command = ["openssl", "x509", "-hash", "-noout", "-in", str(certificate)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_a_bundle_that_is_a_folder_is_read_as_one(signed: tuple[WebServer, Path]) -> None:
    """REQUESTS_CA_BUNDLE may name either."""
    server, certificate = signed
    folder = certificate.parent / "folder"
    folder.mkdir()
    (folder / f"{subject_hash(certificate)}.0").write_bytes(certificate.read_bytes())
    assert isinstance(load_one(server.url, ca_bundle=str(folder)), Done)


def test_a_bundle_that_is_not_there_is_no_pages_fault(tmp_path: Path) -> None:
    """The run is refused, and the message names file and variables."""
    with pytest.raises(TaskError, match=r"missing.pem cannot be read.*SSL_CERT_FILE"):
        load_one("https://localhost/", ca_bundle=str(tmp_path / "missing.pem"))


def test_certificates_are_looked_at_before_anything_is_submitted(tmp_path: Path) -> None:
    """A file that is not there, or is no certificate; what is between the certificates is left out."""
    with pytest.raises(InputError, match="cannot be read"):
        read_certificates(str(tmp_path / "none.pem"))
    (tmp_path / "key.pem").write_text("-----BEGIN CERTIFICATE-----\nbm9uc2Vuc2U=\n-----END CERTIFICATE-----\n")
    (tmp_path / "empty.pem").touch()
    for name in ("key.pem", "empty.pem"):
        with pytest.raises(InputError, match="contains no usable certificates"):
            read_certificates(str(tmp_path / name))
    _, certificate = tls_context(tmp_path)
    wordy = tmp_path / "wordy.pem"
    wordy.write_bytes("# Die Behörde\n".encode() + certificate.read_bytes() + b"-----BEGIN EC PRIVATE KEY-----\nsecret")
    text = read_certificates(str(wordy))
    assert (text.strip(), "secret" in text) == (certificate.read_text().strip(), False)
    assert json.loads(json.dumps(text)) == LoadOptions.from_mapping({"ca_certificates": text}).ca_certificates
    with pytest.raises(TaskError, match="PEM"):
        LoadOptions.from_mapping({"ca_certificates": "nothing"})


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({}, []),
        ({"HTTPS_PROXY": "http://proxy:3128"}, ["HTTPS_PROXY"]),
        ({"http_proxy": "http://proxy:3128", "ALL_PROXY": "socks5://proxy"}, ["http_proxy", "ALL_PROXY"]),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "*"}, []),
        ({"HTTPS_PROXY": "", "NO_PROXY": "example.org"}, []),
    ],
)
def test_a_proxy_is_not_passed_over_in_silence(
    variables: dict[str, str], named: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The submitter is informed, once, that the variables are not obeyed, and why."""
    assert proxy_variables(variables) == named
    monkeypatch.setattr("sheaf_producer.submit.load.proxy_variables", lambda: named)
    warn_of_proxies()
    said = capsys.readouterr().err
    assert all(name in said for name in named)
    assert ("bypassing its check of addresses" in said) == bool(named)
