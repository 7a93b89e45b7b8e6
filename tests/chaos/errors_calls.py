"""System calls that fail: each once and for good, in workers, their pools and the producer.

An undisturbed run is recorded first; what it calls is what can fail. Each kind of call at each place is one site.
"""

from __future__ import annotations

import errno
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from sheaf.chaos import held
from sheaf.chaos.refusals import Refusals, Rule, Site
from tests.chaos.errors_bench import AT_ITS_END, HUNG_S, Bench
from tests.chaos.errors_case import Case

#: What a call may be refused with; the first that is drawn for it represents the others in a short run.
ERRORS = {
    **dict.fromkeys(("read", "readv", "pread64", "preadv", "preadv2"), (errno.EIO,)),
    **dict.fromkeys(("write", "writev", "pwrite64", "pwritev", "pwritev2"), (errno.ENOSPC, errno.EIO)),
    **dict.fromkeys(("fsync", "fdatasync"), (errno.EIO, errno.ENOSPC)),
    **dict.fromkeys(("open", "openat"), (errno.EMFILE, errno.EIO, errno.ENOSPC, errno.EACCES)),
    **dict.fromkeys(("rename", "renameat", "renameat2", "link", "linkat"), (errno.ENOSPC, errno.EIO)),
    **dict.fromkeys(("unlink", "unlinkat", "rmdir"), (errno.EIO, errno.EROFS)),
    **dict.fromkeys(("mkdir", "mkdirat"), (errno.ENOSPC, errno.EACCES)),
    **dict.fromkeys(("ftruncate", "truncate", "fallocate"), (errno.EIO, errno.ENOSPC)),
    **dict.fromkeys(("fork", "vfork", "clone", "clone3"), (errno.EAGAIN, errno.ENOMEM)),
    **dict.fromkeys(("pipe", "pipe2", "socketpair", "socket", "epoll_create1", "eventfd2"), (errno.EMFILE,)),
    **dict.fromkeys(("memfd_create", "pidfd_open"), (errno.EMFILE, errno.ENOMEM)),
    **dict.fromkeys(("newfstatat", "statx", "getdents64"), (errno.EIO,)),
    "mmap": (errno.ENOMEM, errno.EIO),
    "flock": (errno.ENOLCK, errno.EIO),
    "fcntl": (errno.EIO, errno.ENOLCK),
    "connect": (errno.ECONNREFUSED, errno.EMFILE),
    "sendfile": (errno.EIO,),
    "copy_file_range": (errno.EIO,),
}
#: Those of them that this machine has.
CALLS = [call for call in ERRORS if call in held.NUMBERS]
#: Those that Python makes, too, wherever it looks for modules.
BY_PATH = ("newfstatat", "statx", "openat", "open", "getdents64", "read")
#: Processes that are not ours to be tested.
_NOT_OURS = ("tracker", "redis")


class CallErrors:
    """Fails calls of the workers and of the producer, in runs on a bench of its own."""

    means = "calls"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._benches = 0
        self._refusals: Refusals
        self.bench: Bench | None = None
        #: How often each site was called in a run that nothing disturbed.
        self.sites: Counter[Site] = Counter()
        self._starting: set[Site] = set()
        #: What a worker, and its pool, calls while it ends.
        self._ending: set[Site] = set()

    def record(self) -> None:
        """Run once, and note what is called: while workers start, work and end, and by a producer."""
        bench = self._new_bench()
        started = self._refusals.seen()
        for _ in range(2):
            bench.next_run()
            bench.submit()
            assert bench.drive(HUNG_S), "the bench does not work"
        working = self._refusals.seen()
        assert self._produce(bench) == (0, "")
        producing = Counter({site: count for site, count in self._refusals.seen().items() if site.who == "producer"})
        bench.next_run()
        bench.submit()
        assert bench.end_worker(self._forget_seen) == "", "a worker does not end when asked to"
        self._ending = {site for site in self._refusals.seen() if site.who in ("worker", "child") and _is_ours(site)}
        self._starting = set(started) - set(working)
        self.sites = Counter({site: count for site, count in (started | working | producing).items() if _is_ours(site)})

    def cases(self, draw: random.Random, full: bool) -> Iterator[Case]:
        """Each site once and for good; with each error it may have if all is asked for, else with one of them."""
        for site in sorted(self.sites, key=str):
            errors = ERRORS[site.call] if full else (draw.choice(ERRORS[site.call]),)
            for error in errors:
                last = self.sites[site] - 1
                for after in sorted({0, last // 2, last}) if full else (draw.choice((0, last // 2)),):
                    yield self._case(site, error, after, lasting=False)
                yield self._case(site, error, 0, lasting=True)
        for site in sorted(self._ending, key=str):
            for error in ERRORS[site.call] if full else (draw.choice(ERRORS[site.call]),):
                case = self._case(site, error, 0, lasting=False)
                case.where += AT_ITS_END
                yield case

    def _case(self, site: Site, error: int, after: int, *, lasting: bool) -> Case:
        where = f"{site.call} {site.place}".strip() + (f", after {after}" if after else "")
        return Case(self.means, site.who, where, errno.errorcode[error], lasting, group=site.who)

    def run(self, case: Case) -> Case:
        at_its_end = case.where.endswith(AT_ITS_END)
        call, _, rest = case.where.removesuffix(AT_ITS_END).partition(" ")
        place, _, after = rest.partition(", after ")
        rule = Rule(
            getattr(errno, case.fault),
            (call.rstrip(","),),
            place=f"^{escaped(place)}$",
            who=case.who,
            after=int(after or 0),
            times=None if case.lasting else 1,
        )
        bench = self.bench if self.bench is not None and not self.bench.broken else self._new_bench()
        site = Site(case.who, call.rstrip(","), place)
        if case.who == "producer":
            return self._run_producer(bench, case, rule)
        return (bench.try_ending if at_its_end else bench.try_case)(
            case,
            lambda: self._arm(bench, rule, anew=site in self._starting and not at_its_end),
            lambda: rule.refused,
            self._refusals.rule,
        )

    def _forget_seen(self) -> None:
        self._refusals.seen()

    def _arm(self, bench: Bench, rule: Rule, *, anew: bool) -> None:
        self._refusals.rule(rule)
        if anew:
            # What is called at the start only.
            bench.restart_worker(lambda: rule.refused > 0)

    def _run_producer(self, bench: Bench, case: Case, rule: Rule) -> Case:
        """The command works all the same, or says in a sentence why not; run again, it comes to the same."""
        bench.next_run()
        self._refusals.rule(rule)
        status, words = self._produce(bench)
        case.struck = rule.refused
        self._refusals.rule()
        if status == "hung":
            case.hung = 1
        elif status != 0:
            case.said = words
            case.silent = int(not words.startswith("sheaf: ") or "Traceback" in words)
            assert self._produce(bench) == (0, ""), "it does not work without a fault either"
        if not bench.drive(HUNG_S):
            case.hung = 1
        bench.quarantine(case)
        bench.broken |= not case.right
        return case

    def _produce(self, bench: Bench) -> tuple[int | str, str]:
        """Run the producer's command under our eyes; return its status and what it complained of."""
        command = [sys.executable, "-c", "from sheaf.cli.main import main; main()", *bench.command()]
        process = subprocess.Popen(
            self._refusals.command("producer", command),
            cwd=bench.folder, env=bench.cluster.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            words = process.communicate(timeout=2 * HUNG_S)[1]  # it may wait for half of that for a fence
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return "hung", ""
        complaint = words[words.find("sheaf: ") :] if "sheaf: " in words else words
        return process.returncode, complaint.strip()[:2000] if process.returncode else ""

    def _new_bench(self) -> Bench:
        self.close()
        self._benches += 1
        folder = self._folder / f"calls-{self._benches}"
        self._refusals = Refusals(folder, CALLS)
        self.bench = Bench.with_workers(folder, wrap=self._refusals.command)
        return self.bench

    def close(self) -> None:
        if self.bench is not None:
            self._refusals.rule()
            self.bench.close()
            self._refusals.close()
            self.bench = None


def _is_ours(site: Site) -> bool:
    """Not other programs; not where Python looks for its modules; not what the command says on its way out."""
    says = site.who == "producer" and site.place == "pipe"
    looks_for_modules = site.call in BY_PATH and not site.place.startswith(("data", "tasks"))
    return site.who not in _NOT_OURS and not looks_for_modules and not says


def escaped(place: str) -> str:
    return "".join(f"\\{letter}" if letter in r".*+?()[]{}^$|\-" else letter for letter in place)
