"""An output that holds something: nothing is added to it, or put in its place, unasked."""

from __future__ import annotations

from pathlib import Path

import pytest

from sheaf.core.errors import OutputMissing, UsageError
from sheaf.output.output import Output
from sheaf.output.repair.verify import verify
from sheaf.output.replace import set_aside
from sheaf.run.items import Done, Failed
from sheaf.run.run import Run, list_runs
from sheaf.run.task_spec import TaskSpec
from sheaf.submission.occupied import Onto, chosen, holding
from sheaf.submission.submit import Outcome, RunRequest, check_unoccupied, submit
from sheaf.tasks.versions import record_version
from tests.requests import submitted_as, with_spec

REQUEST = RunRequest(TaskSpec("shop:price"), "prices.jsonl", "prices.csv")
ITEMS = ["1", "2", "3"]
OTHER = with_spec(REQUEST, options={"columns": ["a"]})


def submitted(data: Path, request: RunRequest = REQUEST) -> tuple[Run, Outcome]:
    return submit(data, request, lambda _: [ITEMS])


def finish(data: Path, run: Run, *, failed: bool = False) -> None:
    name, output = run.manifest.run, Output(data / run.manifest.output)
    results = [Failed(n, "E", "", 1) if failed else Done(n, b'{"index": %d}\n' % n) for n in range(len(ITEMS))]
    output.commit({name: results}, worker="worker-1", token=1)
    output.close()
    run.mark_finished()


def test_another_run_is_refused_and_the_message_says_what_is_there_and_what_to_type(tmp_path: Path) -> None:
    """The same list with another option would double the file: nothing is submitted."""
    first, _ = submitted(tmp_path)
    finish(tmp_path, first)

    with pytest.raises(UsageError, match=r"prices\.jsonl already holds 3 records \(run .*--append.*--replace.*-o"):
        submitted(tmp_path, OTHER)

    assert list_runs(tmp_path) == [first.manifest.run]
    assert submitted(tmp_path)[1] is Outcome.FINISHED


def test_what_was_typed_is_one_of_both_or_a_question() -> None:
    """To add to an output and to begin it anew at once is neither."""
    assert chosen(append=False, replace=False) is Onto.ASK
    assert chosen(append=True, replace=False) is Onto.APPEND
    assert chosen(append=False, replace=True) is Onto.REPLACE
    with pytest.raises(UsageError, match="give one of them"):
        chosen(append=True, replace=True)


def test_a_run_that_still_writes_counts_and_one_that_nobody_will_do_does_not(tmp_path: Path) -> None:
    """What matters is what the file will hold in the end."""
    first, _ = submitted(tmp_path)
    with pytest.raises(UsageError, match="already is being written to"):
        submitted(tmp_path, OTHER)

    first.cancel()
    assert submitted(tmp_path, OTHER)[1] is Outcome.NEW


def test_failures_alone_are_no_records(tmp_path: Path) -> None:
    """A run of which nothing came to the file blocks nothing."""
    first, _ = submitted(tmp_path)
    finish(tmp_path, first, failed=True)

    assert submitted(tmp_path, OTHER)[1] is Outcome.NEW


@pytest.mark.parametrize("wanted", [submitted_as(OTHER, onto=Onto.APPEND), submitted_as(REQUEST, again=True)])
def test_a_run_is_added_if_a_person_says_so(tmp_path: Path, wanted: RunRequest) -> None:
    """By --append; or by --again, which asks for the same once more."""
    first, _ = submitted(tmp_path)
    finish(tmp_path, first)

    assert submitted(tmp_path, wanted)[1] is Outcome.NEW
    assert not list(tmp_path.glob("*.replaced-*"))


def test_a_replaced_output_is_whole_in_its_folder(tmp_path: Path) -> None:
    """Nothing is destroyed, and the new run is the only one in the file."""
    first, _ = submitted(tmp_path)
    finish(tmp_path, first)

    second, outcome = submitted(tmp_path, submitted_as(OTHER, onto=Onto.REPLACE))
    finish(tmp_path, second)

    assert outcome is Outcome.NEW
    found = holding(tmp_path, REQUEST.output)
    assert found is not None
    assert (found.records, found.runs) == (3, (second.manifest.run,))
    moved = Run.open(tmp_path, first.manifest.run).manifest.output
    assert moved == "prices.jsonl.replaced-1/prices.jsonl"
    kept = Output(tmp_path / moved)
    assert [index for index, _ in kept.records.all(first.manifest.run)] == [0, 1, 2]
    kept.close()
    for path in (REQUEST.output, moved):
        report = verify(tmp_path, path)
        assert report.ok, report


def test_the_same_list_again_is_not_taken_for_done_once_its_output_was_replaced(tmp_path: Path) -> None:
    """What was put aside is not at the place that was asked for."""
    for options in ({}, {"columns": ["a"]}):
        run, _ = submitted(tmp_path, submitted_as(with_spec(REQUEST, options=options), onto=Onto.REPLACE))
        finish(tmp_path, run)

    assert submitted(tmp_path, submitted_as(REQUEST, onto=Onto.REPLACE))[1] is Outcome.NEW


def test_a_run_that_went_on_with_a_corrected_function_is_the_same_as_that_functions(tmp_path: Path) -> None:
    """After `sheaf retry` the run is whole by the new version: the same command again has nothing to do."""
    old, new = {"shop.py": "0" * 64}, {"shop.py": "1" * 64}
    run, _ = submitted(tmp_path, with_spec(REQUEST, files=old))
    record_version(run, new)
    finish(tmp_path, run)

    assert submitted(tmp_path, with_spec(REQUEST, files=new))[1] is Outcome.FINISHED
    with pytest.raises(UsageError, match="already holds"):
        submitted(tmp_path, with_spec(REQUEST, files={"shop.py": "2" * 64}))


def test_an_output_is_not_replaced_under_a_run_that_writes_into_it(tmp_path: Path) -> None:
    """That run would never end."""
    first, _ = submitted(tmp_path)

    with pytest.raises(UsageError, match=f"sheaf cancel {first.manifest.run}"):
        submitted(tmp_path, submitted_as(OTHER, onto=Onto.REPLACE))

    assert (tmp_path / "prices.jsonl").exists()


@pytest.mark.parametrize("step", ["manifests", "prices.jsonl", "prices.jsonl.intent", "prices.jsonl.index"])
def test_a_killed_replacement_is_ended_by_the_next_one(tmp_path: Path, step: str) -> None:
    """Killed after any of its steps: nothing begins beside half an output, and the same command carries on."""
    first, _ = submitted(tmp_path)
    finish(tmp_path, first)

    class Killed(BaseException):
        pass

    def kill(done: str) -> None:
        if done == step:
            raise Killed

    with pytest.raises(Killed):
        set_aside(tmp_path, "prices.jsonl", kill)
    if step in ("prices.jsonl", "prices.jsonl.intent"):
        with pytest.raises(OutputMissing):
            submitted(tmp_path, OTHER)

    second, _ = submitted(tmp_path, submitted_as(OTHER, onto=Onto.REPLACE))
    finish(tmp_path, second)

    kept = Output(tmp_path / "prices.jsonl.replaced-1" / "prices.jsonl")
    assert [index for index, _ in kept.records.all(first.manifest.run)] == [0, 1, 2]
    kept.close()
    assert not verify(tmp_path, tmp_path / REQUEST.output).problems


def test_a_writer_that_has_the_replaced_output_open_does_not_harm_the_new_one(tmp_path: Path) -> None:
    """A worker's old connection, closed late, takes away neither the new index's log nor the old one's."""
    first, _ = submitted(tmp_path)
    stale = Output(tmp_path / "prices.jsonl")
    stale.reader.run(first.manifest.run)
    finish(tmp_path, first)

    second, _ = submitted(tmp_path, submitted_as(OTHER, onto=Onto.REPLACE))
    fresh = Output(tmp_path / "prices.jsonl")
    fresh.commit({second.manifest.run: [Done(0, b'{"index": 0}\n')]}, worker="w", token=1)
    stale.close()
    fresh.commit({second.manifest.run: [Done(1, b'{"index": 1}\n')]}, worker="w", token=2)
    fresh.close()

    seen = Output(tmp_path / "prices.jsonl")
    assert seen.reader.run(second.manifest.run).done == 2
    seen.close()
    kept = Output(tmp_path / "prices.jsonl.replaced-1" / "prices.jsonl")
    assert [index for index, _ in kept.records.all(first.manifest.run)] == [0, 1, 2]
    kept.close()
    assert not verify(tmp_path, tmp_path / REQUEST.output).problems


def test_what_is_certain_is_said_before_the_list_is_read(tmp_path: Path) -> None:
    """Another task's run in the output can never be the same submission; one of the same task may be."""
    first, _ = submitted(tmp_path)
    finish(tmp_path, first)

    with pytest.raises(UsageError, match="already holds 3 records"):
        check_unoccupied(tmp_path, with_spec(REQUEST, task="shop:other"))
    held = check_unoccupied(tmp_path, OTHER)
    assert held is not None
    assert held.records == 3
