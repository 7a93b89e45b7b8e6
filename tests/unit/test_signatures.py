"""What Redis cannot forge: calls are signed with a key that only producers and workers hold."""

from __future__ import annotations

import copy
import dataclasses
import importlib.util
import os
import pickle
import stat
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from sheaf.core.errors import CallForged, SettingsError
from sheaf.core.settings import Settings
from sheaf.run.signatures import FILE, ClusterKey, SignedCall

KEY = ClusterKey(b"k" * 32)
CALL = SignedCall("20260101-000000-abcdef", 7, "program", "work", b"def work(): ...", b"SV1J[1]")
ROOT = Path(__file__).parents[2]


def test_what_was_signed_is_verified() -> None:
    KEY.verify(CALL, KEY.sign(CALL))
    for index in (0, None, 2**70):
        call = dataclasses.replace(CALL, index=index)
        KEY.verify(call, KEY.sign(call))


@pytest.mark.parametrize(
    "change",
    [
        {"run": "20260101-000000-abcdee"},
        {"index": 8},
        {"index": 0},
        {"index": None},
        {"module": "program2"},
        {"function": "works"},
        {"source": b"def work(): ..;"},
        {"source": b""},
        {"arguments": b"SV1J[2]"},
        {"arguments": b""},
        {"direction": "cancel"},
    ],
    ids=str,
)
def test_a_signature_is_worth_nothing_for_any_other_call(change: dict[str, Any]) -> None:
    """Replayed in another run or place, or with anything else to run."""
    with pytest.raises(CallForged, match="was not signed with this cluster's key"):
        KEY.verify(dataclasses.replace(CALL, **change), KEY.sign(CALL))


def test_nothing_can_move_from_one_field_into_the_next() -> None:
    """Fields that read the same one after another are not the same."""
    one = dataclasses.replace(CALL, module="ab", function="c")
    other = dataclasses.replace(CALL, module="a", function="bc")
    assert one.signed_bytes() != other.signed_bytes()
    odd = dataclasses.replace(CALL, run="a\0b\ud800", index=-1)
    KEY.verify(odd, KEY.sign(odd))


@pytest.mark.parametrize(
    "signature",
    [None, "", "0" * 64, b"", 5, [], "ü" * 64, "\ud800", KEY.sign(CALL)[:-1], KEY.sign(CALL) + "0"],
    ids=repr,
)
def test_what_is_no_signature_is_refused(signature: Any) -> None:
    with pytest.raises(CallForged):
        KEY.verify(CALL, signature)
    with pytest.raises(CallForged):
        ClusterKey(b"l" * 32).verify(CALL, KEY.sign(CALL))


def test_the_key_of_a_folder_is_created_once_for_its_owner_only(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    signed = ClusterKey.of(settings).sign(CALL)
    path = tmp_path / FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and len(path.read_bytes().strip()) == 64
    assert ClusterKey.of(settings).sign(CALL) == signed
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    assert ClusterKey.of(Settings(data_dir=tmp_path / "other")).sign(CALL) != signed


def test_processes_that_create_the_key_at_once_agree(tmp_path: Path) -> None:
    """They wait for the same moment, and then all of them have the key that one of them has made."""
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom sheaf.core.settings import Settings\n"
        "from sheaf.run.signatures import ClusterKey, SignedCall\n"
        "time.sleep(max(0, float(sys.argv[2]) - time.time()))\n"
        "key = ClusterKey.of(Settings(data_dir=Path(sys.argv[1])))\n"
        "print(key.sign(SignedCall('r', 1, 'm', 'f', b'', b'')))"
    )
    moment = str(time.time() + 3)
    command = [sys.executable, "-c", code, str(tmp_path), moment]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    signed = {process.communicate()[0] for process in started}
    assert len(signed) == 1 and len(signed.pop()) == 65


def test_a_folder_that_a_group_shares_shares_its_key(tmp_path: Path) -> None:
    tmp_path.chmod(0o2770)
    signed = ClusterKey.of(Settings(data_dir=tmp_path)).sign(CALL)
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o640
    assert ClusterKey.of(Settings(data_dir=tmp_path)).sign(CALL) == signed
    tmp_path.chmod(0o700)
    with pytest.raises(SettingsError, match="has mode 0640, so others can read it"):
        ClusterKey.of(Settings(data_dir=tmp_path))


def test_a_key_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("x" * 64)
    for mode in (0o644, 0o604, 0o646):
        path.chmod(mode)
        with pytest.raises(SettingsError, match=r"others can read it and sign calls with it; `chmod [46][04]0`"):
            ClusterKey.of(Settings(cluster_key_file=path))
    for mode in (0o600, 0o440, 0o400):
        path.chmod(mode)
        ClusterKey.of(Settings(cluster_key_file=path)).sign(CALL)


def test_a_key_that_is_no_key_is_refused(tmp_path: Path) -> None:
    """Missing, a folder, a fifo that would be waited for, too short."""
    with pytest.raises(SettingsError, match=r"SHEAF_CLUSTER_KEY_FILE=.*is gone; create it"):
        ClusterKey.of(Settings(cluster_key_file=tmp_path / "none"))
    with pytest.raises(SettingsError, match="is not a regular file"):
        ClusterKey.of(Settings(cluster_key_file=tmp_path))
    os.mkfifo(tmp_path / "fifo", 0o600)
    with pytest.raises(SettingsError, match="is not a regular file"):
        ClusterKey.of(Settings(cluster_key_file=tmp_path / "fifo"))
    short = tmp_path / "short"
    short.write_text("secret\n")
    short.chmod(0o600)
    with pytest.raises(SettingsError, match="6 bytes, which is too short"):
        ClusterKey.of(Settings(cluster_key_file=short))


def test_the_key_goes_nowhere() -> None:
    """Not into a log, a message, another process."""
    assert "k" * 8 not in repr(KEY) + str(KEY) + str(vars(type(KEY)))
    for send in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError, match="not sent to other processes"):
            send(KEY)


def test_the_key_cannot_be_given_in_the_environment() -> None:
    """A pool's children get that."""
    assert Settings.from_env({"SHEAF_CLUSTER_KEY": "x" * 64}) == Settings()
    assert Settings.from_env({"SHEAF_CLUSTER_KEY_FILE": "/k"}).cluster_key_file == Path("/k")


def creds(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[ModuleType, dict[str, tuple[int, int]]]:
    """The stack's one-shot, with another folder; and whom it gives its files to, which takes root otherwise."""
    spec = importlib.util.spec_from_file_location("creds", ROOT / "services/creds/creds.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    given: dict[str, tuple[int, int]] = {}
    monkeypatch.setattr(module, "CREDS", folder)
    monkeypatch.setattr(os, "chown", lambda path, uid, gid: given.update({Path(path).name.lstrip("."): (uid, gid)}))
    return module, given


def test_the_stack_has_a_key_for_workers_and_producers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their common group reads it; it is made once, so that a running stack goes on."""
    module, given = creds(tmp_path, monkeypatch)
    module.main()
    path = tmp_path / "cluster-key"
    before = path.read_bytes()
    assert given["cluster-key"] == (0, 10001) and stat.S_IMODE(path.stat().st_mode) == 0o440
    assert given["worker"] == (10001, 10001) and given["producer"] == (10002, 10002)
    ClusterKey.of(Settings(cluster_key_file=path)).sign(CALL)
    given.clear()
    module.main()
    assert path.read_bytes() == before and "cluster-key" not in given
