"""One value says what is done to an item, from the command line to the pool's child; the manifest keeps its format."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from sheaf.core.errors import RunDamaged
from sheaf.run import manifest as manifests
from sheaf.run.field_rules import whole
from sheaf.run.run import Manifest, Run, RunWriter, run_folder
from sheaf.run.sessions import create_session
from sheaf.run.task_spec import TaskSpec
from sheaf.submission.submit import RunRequest, submit
from sheaf_worker.wire.channel import TaskRun, decode, encode_program

SPEC = TaskSpec("t:f", {"pass": "text", "echo": False}, 2.5, 7, 300, {"t.py": "00ff"})
#: Of the manifests that commit d221cd8 wrote, in their order.
FORMER = (
    *("run", "task", "options", "output", "items", "batch_size", "fingerprint", "created", "source"),
    *("item_timeout_s", "attempts", "memory_mb", "files", "rejected", "duplicates", "numbers"),
    *("list_bytes", "list_sums", "version", "checksum"),
)


def test_everything_about_a_task_reaches_the_child(tmp_path: Path) -> None:
    """From the request through run.json and the message, every field with a value of its own."""
    defaults = TaskSpec("load")
    for field in dataclasses.fields(TaskSpec):
        assert getattr(SPEC, field.name) != getattr(defaults, field.name), f"{field.name} would not be noticed"

    run, _ = submit(tmp_path, RunRequest(SPEC, "o.jsonl", "list"), lambda _: [["a"]])
    found = Run.open(tmp_path, run.manifest.run).manifest.spec
    message = decode(encode_program(TaskRun("run-1", found, "o.jsonl")))

    assert found == SPEC
    assert TaskSpec(**message[2]) == SPEC


@dataclasses.dataclass(frozen=True, slots=True)
class LaterSpec(TaskSpec):
    """A later Sheaf's, which has one more."""

    niceness: int = dataclasses.field(default=3, metadata=whole(0, 19))


def test_a_further_option_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A field of TaskSpec is written, read, checked and sent; where it was not known it has its default."""
    earlier = publish(tmp_path, "20260101-000000-aaaaaa", spec=SPEC)
    fields = {found.name: found for found in dataclasses.fields(LaterSpec)}
    monkeypatch.setattr(manifests, "TaskSpec", LaterSpec)
    monkeypatch.setattr(manifests, "_SPEC_FIELDS", fields)
    monkeypatch.setattr(manifests, "_FIELDS", {**manifests._FIELDS, "niceness": fields["niceness"]})

    spec = LaterSpec(**{name: getattr(SPEC, name) for name in fields if name != "niceness"}, niceness=9)
    later = publish(tmp_path, "20260101-000000-bbbbbb", spec=spec)

    assert Run.open(tmp_path, later.manifest.run).manifest.spec == spec
    assert dataclasses.asdict(Run.open(tmp_path, earlier.manifest.run).manifest.spec)["niceness"] == 3
    assert decode(encode_program(TaskRun("run-1", spec, "o.jsonl")))[2]["niceness"] == 9
    rewrite(later, niceness=20)
    with pytest.raises(RunDamaged, match=r"says niceness is 20, which should be a whole number from 0 to 19"):
        Run.open(tmp_path, later.manifest.run)


def test_a_manifest_of_an_earlier_sheaf_says_whose_run_it_is(tmp_path: Path) -> None:
    """It has neither `session` nor `durable`; both follow from the run's name, and from the manifest from then on."""
    create_session(tmp_path, "session-20260101000000ab")
    names = ("20260101-000000-abcdef", "session-20260101000000ab-7")
    for name in names:
        output = "o.jsonl" if name == names[0] else "sessions/session-20260101000000ab/results-1.jsonl"
        rewrite(publish(tmp_path, name, output=output), session=None, durable=None)
        assert list(json.loads((run_folder(tmp_path, name) / "run.json").read_text())) == list(FORMER)

    person, program = (Run.open(tmp_path, name).manifest for name in names)

    assert (person.session, person.durable, person.party) == (None, True, names[0])
    assert (program.session, program.durable, program.party) == ("session-20260101000000ab", False, names[1][:-2])


def test_a_manifest_of_another_session_is_refused(tmp_path: Path) -> None:
    """What it says of its session has to match its path."""
    run = publish(tmp_path, "20260101-000000-abcdef")
    rewrite(run, session="session-1")
    with pytest.raises(RunDamaged, match="belongs to session 'session-1', but is elsewhere"):
        Run.open(tmp_path, run.manifest.run)


def publish(data: Path, name: str, *, spec: TaskSpec = SPEC, output: str = "o.jsonl") -> Run:
    writer = RunWriter(data, name)
    writer.add("a")
    return writer.publish(Manifest(name, spec, output, 1, 1, "f", "2026-01-01T00:00:00Z"))


def rewrite(run: Run, **changes: Any) -> None:
    """Write the manifest with other values, and a checksum of those; without a field that becomes None."""
    path = run.folder / "run.json"
    known = json.loads(path.read_text()) | changes
    del known["checksum"]
    values = {name: known[name] for name in FORMER if name in known}
    values |= {name: value for name, value in known.items() if name not in FORMER and value is not None}
    path.write_text(json.dumps(values | {"checksum": manifests._checksum(values)}))
