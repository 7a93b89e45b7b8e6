"""The commit protocol against a model: crashes at every step, full disks, strangers, copies; in any order.

A crash is an exception that nothing handles: connection and descriptors go, as they go with a process, and what was
written stays. `tests/integration/test_output_processes.py` does it with real processes and SIGKILL.
"""

import errno
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sheaf.core.errors import OutputUnwritable
from sheaf.output.commit import data_file
from sheaf.output.output import Output
from sheaf.output.repair.verify import verify
from sheaf.run.items import Batch, Done, Failed, Result

RUNS = {"run-a": (23, 5), "run-b": (9, 20)}
STEPS = ["begin", "look", "seal", "cut", "plan", "note", "append", "sync", "entries", "commit"]
HEADER = b"#header\n"

ITEMS = st.lists(st.tuples(st.sampled_from(sorted(RUNS)), st.integers(0, 22), st.sampled_from("dddef")), max_size=12)


class Crash(BaseException):
    """As if the process had been killed here."""


def result_for(run: str, index: int, kind: str, serial: int) -> Result:
    if kind == "f":
        return Failed(index, "Error", f"{serial}", 1)
    return Done(
        index, b"" if kind == "e" else b"%s %d %d " % (run.encode(), index, serial) + b"x" * (serial % 90) + b"\n"
    )


class CommitProtocol(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="sheaf-crash-"))
        self.path = self.folder / "out.txt"
        self.patch = pytest.MonkeyPatch()
        # Few buffers a call: appends are torn in their middle.
        self.patch.setattr(data_file, "BUFFERS", 1)
        self.patch.setattr("sheaf.output.commit.plan._JOIN_BELOW", 0)
        self.serial = 0
        self.crash: tuple[str, int] | None = None
        #: What the model knows: the file up to L, each item's outcome, and what strangers have written.
        self.content = b""
        self.outcomes: dict[tuple[str, int], Result] = {}
        self.stray = b""
        self.pending_stray = b""

    def step(self, name: str) -> None:
        if self.crash and name == self.crash[0]:
            self.crash = (name, self.crash[1] - 1)
            if self.crash[1] < 0:
                raise Crash

    @initialize()
    def create(self) -> None:
        Output.create(self.path, header=HEADER).close()
        self.writers = [Output(self.path, steps=self.step) for _ in range(2)]
        self.reader = Output(self.path)
        for run, (items, batch_size) in RUNS.items():
            self.reader.register_run(run, items, batch_size)

    def make_groups(self, items: list[tuple[str, int, str]]) -> dict[str, list[Result]]:
        groups: dict[str, list[Result]] = {}
        for run, index, kind in items:
            self.serial += 1
            groups.setdefault(run, []).append(result_for(run, index % RUNS[run][0], kind, self.serial))
        return groups

    def expect(self, groups: dict[str, list[Result]]) -> bool:
        """Let the model commit; return whether anything changed."""
        new = b""
        before = len(self.outcomes)
        for run, results in groups.items():
            fresh: dict[int, Result] = {}
            for result in results:
                if (run, result.index) not in self.outcomes:
                    fresh.setdefault(result.index, result)
            for index in sorted(fresh):
                outcome = self.outcomes[run, index] = fresh[index]
                if isinstance(outcome, Done):
                    new += outcome.record
        if len(self.outcomes) > before:
            self.content += (b"" if self.content else HEADER) + new
            return True
        return False

    def expect_reopened(self, run: str, errors: tuple[str, ...]) -> int:
        """Let the model reopen; return how many items that were."""
        failed = [
            key
            for key, result in self.outcomes.items()
            if key[0] == run and isinstance(result, Failed) and (not errors or result.error in errors)
        ]
        for key in failed:
            del self.outcomes[key]
        return len(failed)

    @rule(
        run=st.sampled_from(sorted(RUNS)),
        errors=st.sampled_from([(), ("Error",), ("Other",)]),
        writer=st.integers(0, 1),
    )
    def reopen_failures(self, run: str, errors: tuple[str, ...], writer: int) -> None:
        reopened = self.writers[writer].reopen_failures(run, errors)
        self.absorb_stray()
        assert reopened == self.expect_reopened(run, errors)

    @rule(run=st.sampled_from(sorted(RUNS)), writer=st.integers(0, 1), step=st.sampled_from(["entries", "commit"]))
    def crash_in_reopening(self, run: str, writer: int, step: str) -> None:
        """Before the COMMIT nothing is reopened; after it everything is."""
        self.crash = (step, 0)
        with pytest.raises(Crash):
            self.writers[writer].reopen_failures(run)
        self.crash = None
        self.absorb_stray()
        if step == "commit":
            self.expect_reopened(run, ())

    def absorb_stray(self) -> None:
        """The next turn at the output moves a stranger's bytes aside."""
        self.stray += self.pending_stray
        self.pending_stray = b""

    @rule(items=ITEMS, writer=st.integers(0, 1))
    def commit(self, items: list[tuple[str, int, str]], writer: int) -> None:
        groups = self.make_groups(items)
        receipt = self.writers[writer].commit(groups, worker=f"w{writer}", token=self.serial)
        self.absorb_stray()
        self.expect(groups)
        assert receipt.length == len(self.content)

    @rule(
        items=ITEMS,
        writer=st.integers(0, 1),
        step=st.sampled_from(STEPS),
        times=st.integers(0, 3),
        kept=st.floats(0, 1),
    )
    def crash_in_commit(
        self, items: list[tuple[str, int, str]], writer: int, step: str, times: int, kept: float
    ) -> None:
        groups = self.make_groups(items)
        size = self.path.stat().st_size
        self.crash = (step, times if step == "append" else 0)
        try:
            self.writers[writer].commit(groups, worker=f"w{writer}", token=self.serial)
        except Crash:
            if step not in ("begin", "look", "seal"):
                self.absorb_stray()
            if step == "commit":
                self.expect(groups)
            elif step in ("append", "note"):
                # The last write may itself be torn, anywhere.
                end = self.path.stat().st_size
                if not self.pending_stray:
                    os.truncate(self.path, len(self.content) + int(kept * (end - len(self.content))))
            assert self.path.stat().st_size >= min(size, len(self.content))
        else:
            self.absorb_stray()
            self.expect(groups)
        finally:
            self.crash = None

    @rule(
        items=ITEMS,
        writer=st.integers(0, 1),
        call=st.sampled_from(["pwritev", "fdatasync"]),
        code=st.sampled_from([errno.ENOSPC, errno.EIO]),
        after=st.integers(0, 3),
    )
    def disk_says_no(self, items: list[tuple[str, int, str]], writer: int, call: str, code: int, after: int) -> None:
        groups = self.make_groups(items)
        real: Callable[..., int] = getattr(os, call)
        calls = iter(range(100))

        def refuse(*arguments: object) -> int:
            if next(calls) >= after:
                raise OSError(code, os.strerror(code))
            return real(*arguments)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, call, refuse)
            try:
                self.writers[writer].commit(groups, worker=f"w{writer}", token=self.serial)
            except OutputUnwritable:
                if self.path.stat().st_size == len(self.content):
                    self.absorb_stray()
                return
        self.absorb_stray()
        self.expect(groups)

    @rule(text=st.binary(min_size=1, max_size=100))
    def stranger_appends(self, text: bytes) -> None:
        if self.path.stat().st_size == len(self.content) + len(self.pending_stray):
            with open(self.path, "ab") as stranger:
                stranger.write(b"stray" + text)
            self.pending_stray += b"stray" + text

    @precondition(lambda self: self.content)
    @rule()
    def volume_is_restored(self) -> None:
        shutil.copyfile(self.path, self.folder / "copy")
        (self.folder / "copy").rename(self.path)

    @rule(writer=st.integers(0, 1))
    def process_restarts(self, writer: int) -> None:
        self.writers[writer].close()

    @rule()
    def everybody_restarts(self) -> None:
        for output in (*self.writers, self.reader):
            output.close()

    @invariant()
    def the_file_up_to_l_is_the_committed_groups(self) -> None:
        if not hasattr(self, "reader"):
            return
        assert self.path.read_bytes()[: len(self.content)] == self.content

    @invariant()
    def the_index_says_what_the_model_says(self) -> None:
        if not hasattr(self, "reader"):
            return
        for run, (items, batch_size) in RUNS.items():
            settled = {index: result for (name, index), result in self.outcomes.items() if name == run}
            done = {index: result.record for index, result in settled.items() if isinstance(result, Done)}
            progress = self.reader.reader.run(run)
            assert (progress.done, progress.failed) == (len(done), len(settled) - len(done))
            assert dict(self.reader.records.all(run)) == done
            assert {failure.index for failure in self.reader.reader.failures(run)} == settled.keys() - done.keys()
            left = {
                index
                for number in self.reader.reader.unfinished_batches(run)
                for index in self.reader.reader.remaining(
                    run, Batch(run, number, number * batch_size, min(batch_size, items - number * batch_size))
                )
            }
            assert left == set(range(items)) - settled.keys()

    @invariant()
    def verify_finds_nothing_but_what_lies_beyond_l(self) -> None:
        if not hasattr(self, "reader"):
            return
        report = verify(self.folder, self.path)
        beyond = self.path.stat().st_size - len(self.content)
        assert report.length == len(self.content)
        assert (report.stray_bytes, len(report.problems)) == (beyond, 1 if beyond else 0)

    @invariant()
    def strangers_bytes_are_kept_and_ours_are_not_among_them(self) -> None:
        kept = self.folder / "out.txt.stray-1"
        assert (kept.read_bytes() if kept.exists() else b"") in (self.stray, self.stray + self.pending_stray)

    def teardown(self) -> None:
        try:
            if hasattr(self, "reader"):
                everything: dict[str, list[Result]] = {
                    run: [Done(index, b"last\n") for index in range(items)] for run, (items, _) in RUNS.items()
                }
                receipt = self.writers[0].commit(everything, worker="last", token=0)
                assert set(receipt.finished_runs) == set(RUNS)
                self.absorb_stray()
                self.expect(everything)
                assert self.path.read_bytes() == self.content
                assert verify(self.folder, self.path).ok
        finally:
            for output in (*getattr(self, "writers", ()), *([self.reader] if hasattr(self, "reader") else [])):
                output.close()
            self.patch.undo()
            shutil.rmtree(self.folder)


TestCommitProtocol = CommitProtocol.TestCase
TestCommitProtocol.settings = settings(max_examples=60, stateful_step_count=14, deadline=None)
TestCommitProtocol.__doc__ = "Whatever happens in whatever order, each item is settled once and nothing is torn."
