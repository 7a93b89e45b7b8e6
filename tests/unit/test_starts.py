"""What a process is to run: signed by its program for that process alone, with the digests of its files."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from types import ModuleType

import pytest

from sheaf.core.errors import ProcessRefused
from sheaf.multiprocessing import code
from sheaf.multiprocessing.code import Code, copied, in_place
from sheaf.multiprocessing.program_modules import ProgramModules
from sheaf.multiprocessing.starts import Start, read_start
from sheaf.run.signatures import ClusterKey

CLUSTER = ClusterKey(b"k" * 32)
PROGRAM, PROCESS = "0123456789abcdef", "00000000000000aa"
KEY = CLUSTER.secret_of(PROGRAM)
START = Start(
    program=PROGRAM,
    process=PROCESS,
    name="Process-1",
    argv=("word-count.py", "\udcff"),
    environment={"MODE": "fast"},
    folder="/here",
    code=Code(main="/here/word-count.py", digests={"/here/word-count.py": "ab"}, path=["/here"]),
)


def signed(key: bytes = KEY, payload: bytes = b"SV1J[]\n\x00") -> bytes:
    return b"".join(START.signed(key, [payload[:3], payload[3:]]))


def test_what_was_signed_is_what_is_read() -> None:
    """Arguments that are no text, and a payload of any bytes, included."""
    assert read_start(signed(), KEY, PROGRAM, PROCESS) == (START, b"SV1J[]\n\x00")


@pytest.mark.parametrize(
    ("program", "process"), [("fedcba9876543210", PROCESS), (PROGRAM, "00000000000000ab"), (PROCESS, PROGRAM)]
)
def test_a_start_is_good_for_its_own_process_only(program: str, process: str) -> None:
    """Neither another process of the program, nor one of another program, with whichever key."""
    for key in (KEY, CLUSTER.secret_of(program)):
        with pytest.raises(ProcessRefused, match="not signed by its program"):
            read_start(signed(), key, program, process)


def test_any_change_is_noticed() -> None:
    """Of each byte of the file."""
    file = signed()
    for place in range(len(file)):
        changed = file[:place] + bytes([file[place] ^ 1]) + file[place + 1 :]
        with pytest.raises(ProcessRefused):
            read_start(changed, KEY, PROGRAM, PROCESS)


@pytest.mark.parametrize(
    "file", [b"", b"sheaf start 1\n", b"sheaf start 1\n" + b"0" * 64 + b"\n{}", b"x" * 5000, b"\xff" * 99]
)
def test_what_is_no_start_is_refused(file: bytes) -> None:
    """Whatever is in its place."""
    with pytest.raises(ProcessRefused, match="not signed"):
        read_start(file, KEY, PROGRAM, PROCESS)


def test_another_programs_key_signs_nothing_here() -> None:
    """So a process that has its program's key can have nothing run for another program."""
    other = CLUSTER.secret_of("fedcba9876543210")
    assert other not in (KEY, b"k" * 32)
    with pytest.raises(ProcessRefused):
        read_start(signed(other), KEY, PROGRAM, PROCESS)


def test_a_start_of_a_newer_version_says_so() -> None:
    """It was signed, and still cannot be understood."""

    @dataclasses.dataclass(frozen=True)
    class Newer(Start):
        more: str = "?"

    file = b"".join(Newer(program=PROGRAM, process=PROCESS, name="n").signed(KEY, [b""]))
    with pytest.raises(ProcessRefused, match="another version of Sheaf"):
        read_start(file, KEY, PROGRAM, PROCESS)


def write_program(folder: Path) -> dict[str, ModuleType]:
    """A script with a dash in its name, a module beside it, and a package."""
    (folder / "pack").mkdir(parents=True)
    (folder / "word-count.py").write_text("import helper\n")
    (folder / "helper.py").write_text("def help(): ...\n")
    (folder / "pack/__init__.py").write_text("")
    (folder / "pack/late.py").write_text("")
    modules = {}
    for name, file in (("__main__", "word-count.py"), ("helper", "helper.py")):
        modules[name] = ModuleType(name)
        modules[name].__file__ = str(folder / file)
    return modules


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "program"
    for name, module in write_program(folder).items():
        monkeypatch.setitem(sys.modules, name, module)
    return folder


def test_code_in_its_place_is_named_with_its_digests(program: Path, tmp_path: Path) -> None:
    """The main file and the program's loaded modules; a worker notices a change of any."""
    found = in_place()
    assert found.main == str(program / "word-count.py")
    assert found.modules["helper"] == str(program / "helper.py")
    assert {str(program / "word-count.py"), str(program / "helper.py")} <= set(found.digests)
    assert not any("site-packages" in file for file in found.digests)
    code.check(found, tmp_path)

    (program / "helper.py").write_text("def help(): return 1\n")
    with pytest.raises(ProcessRefused, match=r"helper\.py is no longer what it was"):
        code.check(found, tmp_path)
    (program / "helper.py").unlink()
    with pytest.raises(ProcessRefused, match=r"cannot read .*helper\.py"):
        code.check(found, tmp_path)


def test_a_copy_has_what_a_process_may_import(program: Path, tmp_path: Path) -> None:
    """Also what is not loaded yet; it is written once, and checked as a whole."""
    copies = tmp_path / "code"
    copies.mkdir()
    found = copied(copies)
    assert found.copy is not None
    root = copies / found.copy
    assert found.main == "word-count.py"
    assert found.modules["helper"] == "helper.py"
    assert {"word-count.py", "helper.py", "pack/__init__.py", "pack/late.py"} <= {
        str(path.relative_to(root)) for path in root.rglob("*.py")
    }
    assert found.path == []
    assert copied(copies) == found
    assert [path.name for path in copies.iterdir()] == [found.copy]
    code.check(found, copies)
    for spoil in (
        lambda: (root / "helper.py").write_text("changed"),
        lambda: (root / "more.py").write_text(""),
        (root / "pack/late.py").unlink,
    ):
        before = {path: path.read_bytes() for path in root.rglob("*.py")}
        spoil()
        with pytest.raises(ProcessRefused, match="is not what the program has signed"):
            code.check(found, copies)
        for path in set(root.rglob("*.py")) - set(before):
            path.unlink()
        for path, content in before.items():
            path.write_bytes(content)
        code.check(found, copies)


def test_names_lead_to_the_programs_own_modules_only(program: Path) -> None:
    """Neither to the library's, nor to installed ones, nor to Sheaf's; and only signed names are imported."""
    main = sys.modules["__main__"]
    exec("class Own: ...\ndef work(): ...\nfrom os import system", main.__dict__)
    modules = ProgramModules(main)
    assert modules.find("__main__", "work") is main.__dict__["work"]
    assert modules.name_of(main.__dict__["Own"]) == ("__main__", "Own")
    for module, name in (
        ("__main__", "system"),
        ("os", "system"),
        ("pytest", "main"),
        ("sheaf.multiprocessing.folder", "sweep"),
        ("pack.late", "x"),
        ("nowhere", "x"),
    ):
        with pytest.raises(LookupError):
            modules.find(module, name)
    assert modules.name_of(len) is None
    assert "pack.late" not in sys.modules
