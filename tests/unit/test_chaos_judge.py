"""The chaos kit's judge can say no, for every format and kind of damage; and its plans are what they should be."""

from __future__ import annotations

import gzip
import importlib
import json
import operator
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from sheaf.chaos.checker import check, check_values
from sheaf.chaos.errors import ERRORS, PLACES
from sheaf.chaos.faults import FAULTS
from sheaf.chaos.pages import page, page_url
from sheaf.chaos.plan import (
    AT_MOST,
    AT_SUBMISSION,
    ERROR_WEIGHTS,
    IN_THE_END,
    IN_THE_WORK,
    LEASES,
    POISONS,
    SUFFIXES,
    VALUE_SUFFIXES,
    WEIGHTS,
    make_plan,
)
from sheaf.chaos.report import MEANINGS, read_results, summarize, write_report
from sheaf.chaos.sabotage import SABOTAGE
from sheaf.chaos.tiny import TinyOutcome
from tests.chaos.errors_case import Case

EXPECTED = {page_url("http://127.0.0.1:1", "site", number, 0): page("site", number) for number in range(4)}


def json_record(url: str, body: bytes) -> bytes:
    return json.dumps({"url": url, "text": body.decode()}).encode() + b"\n"


def warc_record(kind: str, url: str, block: bytes) -> bytes:
    head = f"WARC/1.1\r\nWARC-Type: {kind}\r\nWARC-Record-ID: <urn:uuid:{kind}>\r\nWARC-Date: 2026-01-01T00:00:00Z\r\n"
    head += f"WARC-Target-URI: {url}\r\n" if url else ""
    media = "application/warc-fields" if kind == "warcinfo" else f"application/http; msgtype={kind}"
    return f"{head}Content-Type: {media}\r\nContent-Length: {len(block)}\r\n\r\n".encode() + block + b"\r\n\r\n"


def warc_pair(url: str, body: bytes) -> tuple[bytes, bytes]:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    return warc_record("request", url, b"GET / HTTP/1.1\r\n\r\n"), warc_record("response", url, answer)


#: Per suffix: what the file begins with, and how a page is written.
FORMATS: dict[str, tuple[bytes, Callable[[str, bytes], bytes]]] = {
    ".jsonl": (b"", json_record),
    ".jsonl.gz": (b"", lambda url, body: gzip.compress(json_record(url, body))),
    ".html": (b"<!-- sheaf separator 5f -->\n", lambda url, body: f"<!-- sheaf 5f 0 {url} -->\n".encode() + body),
    ".txt": (b"# sheaf separator 5f\n", lambda url, body: f"# 5f 0 {url}\n".encode() + body),
    ".warc": (warc_record("warcinfo", "", b"software: x\r\n"), lambda url, body: b"".join(warc_pair(url, body))),
    ".warc.gz": (
        gzip.compress(warc_record("warcinfo", "", b"software: x\r\n")),
        lambda url, body: b"".join(map(gzip.compress, warc_pair(url, body))),
    ),
}


def written(folder: Path, suffix: str, pages: list[tuple[str, bytes]], *, cut: int = 0, twist: bool = False) -> Path:
    header, record = FORMATS[suffix]
    data = header + b"".join(record(url, body) for url, body in pages)
    if twist:
        middle = len(data) // 2
        data = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
    path = folder / f"pages{suffix}"
    path.write_bytes(data[: len(data) - cut])
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_right_file_is_right(tmp_path: Path, suffix: str) -> None:
    """Every page once and whole, in any order."""
    verdict = check(written(tmp_path, suffix, list(reversed(EXPECTED.items()))), EXPECTED)

    assert verdict.ok, verdict
    assert verdict.pages == 4


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_lost_page_is_noticed(tmp_path: Path, suffix: str) -> None:
    """One that was asked for is not there."""
    verdict = check(written(tmp_path, suffix, list(EXPECTED.items())[1:]), EXPECTED)

    assert (len(verdict.lost), verdict.doubled, verdict.torn) == (1, [], [])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_doubled_page_is_noticed(tmp_path: Path, suffix: str) -> None:
    """The same page twice."""
    pages = list(EXPECTED.items())

    verdict = check(written(tmp_path, suffix, [*pages, pages[0]]), EXPECTED)

    assert (verdict.lost, len(verdict.doubled), verdict.torn) == ([], 1, [])


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("damage", ["cut", "twist", "swap", "stranger"])
def test_damage_is_noticed(tmp_path: Path, suffix: str, damage: str) -> None:
    """A record without its end, a byte that changed, another page's bytes, a page that was not asked for."""
    pages = list(EXPECTED.items())
    if damage == "swap":
        pages[0], pages[1] = (pages[0][0], pages[1][1]), (pages[1][0], pages[0][1])
    if damage == "stranger":
        pages.append(("http://127.0.0.1:1/other/1", b"<p>\n"))

    output = written(tmp_path, suffix, pages, cut=10 * (damage == "cut"), twist=damage == "twist")

    assert check(output, EXPECTED).torn


def test_a_missing_output_is_noticed(tmp_path: Path) -> None:
    """No file: everything is lost."""
    verdict = check(tmp_path / "pages.jsonl", EXPECTED)

    assert not verdict.ok
    assert len(verdict.lost) == 4


def values(count: int) -> list[bytes]:
    return [
        json.dumps({"index": index, "item": str(index), "value": index**2}).encode() + b"\n" for index in range(count)
    ]


@pytest.mark.parametrize(
    ("damage", "lost", "doubled", "torn"),
    [
        (lambda lines: lines[::-1], 0, 0, 0),
        (lambda lines: lines[1:], 1, 0, 0),
        (lambda lines: [*lines, lines[3]], 0, 1, 0),
        (lambda lines: [*lines[:-1], lines[-1][:-1]], 1, 0, 1),
        (lambda lines: [lines[0][:9], *lines[1:]], 2, 0, 1),
        (lambda lines: [lines[0].replace(b'"value": 0', b'"value": 1'), *lines[1:]], 1, 0, 1),
        (lambda lines: [*lines, b'{"index": 9, "value": 81}\n'], 0, 0, 1),
        (lambda lines: [*lines, b'{"index": "1", "value": 1}\n', b"[]\n"], 0, 0, 2),
    ],
)
def test_values_are_judged_line_by_line(
    tmp_path: Path, damage: Callable[[list[bytes]], list[bytes]], lost: int, doubled: int, torn: int
) -> None:
    """A function's values: in any order; one lost, doubled, without its end, cut into the next, wrong, or no item's."""
    path = tmp_path / "values.jsonl"
    path.write_bytes(b"".join(damage(values(5))))

    verdict = check_values(path, 5, lambda index: index**2)

    assert (len(verdict.lost), len(verdict.doubled), len(verdict.torn)) == (lost, doubled, torn), verdict


def test_packed_values_are_judged_like_plain_ones(tmp_path: Path) -> None:
    """One line a gzip member, or several; a member that is cut short tears what it holds."""
    path = tmp_path / "values.jsonl.gz"
    lines = values(5)
    path.write_bytes(gzip.compress(lines[0]) + gzip.compress(b"".join(lines[1:])))
    assert check_values(path, 5, lambda index: index**2).ok

    path.write_bytes(path.read_bytes()[:-3])

    verdict = check_values(path, 5, lambda index: index**2)
    assert (len(verdict.lost), len(verdict.torn)) == (4, 1)


def test_without_an_output_all_values_are_lost(tmp_path: Path) -> None:
    """No file: said, and everything is lost."""
    verdict = check_values(tmp_path / "values.jsonl", 3, lambda index: index)

    assert (len(verdict.lost), verdict.torn) == (3, ["there is no output"])


def test_every_class_of_faults_is_drawn_explained_and_made() -> None:
    """Within five hundred seeds each class comes up, never more often than allowed."""
    plans = [make_plan(seed, LEASES["quick"]) for seed in range(500)]
    drawn = Counter(strike.name for plan in plans for strike in plan.strikes)

    assert drawn.keys() == WEIGHTS.keys() | ERROR_WEIGHTS.keys() == MEANINGS.keys()
    assert WEIGHTS.keys() == FAULTS.keys() | set(AT_SUBMISSION)
    assert ERROR_WEIGHTS.keys() == ERRORS.keys() | {*IN_THE_WORK, *IN_THE_END}
    assert {how for plan in plans for _, how in plan.poison} == set(POISONS)
    assert {(plan.task, plan.suffix) for plan in plans} == {
        *(("load", suffix) for suffix in SUFFIXES),
        *(("map", suffix) for suffix in VALUE_SUFFIXES),
    }
    for name, most in AT_MOST.items():
        assert max(sum(strike.name == name for strike in plan.strikes) for plan in plans) <= most


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place[1])
def test_every_function_that_is_to_raise_is_there(place: tuple[str, str]) -> None:
    """One that was renamed would leave the fault without effect."""
    module, _, name = place[1].partition(":")

    assert callable(operator.attrgetter(name)(importlib.import_module(module)))


def outcome(seed: int, **changes: object) -> dict[str, object]:
    fields = {"seed": seed, "ok": True, "sabotage": "", "leases": "quick", "suffix": ".html", "pages": 60, "lost": 0}
    fields |= {"doubled": 0, "torn": 0, "failed": 0, "stalled": False, "faults": {"kill-worker": 2}, "stall_s": 1.5}
    fields |= {"reruns_s": [0.5, 2.5], "fetched_again": 3, "problems": [], "unexpected_exits": [], "code": "abc"}
    return fields | {"campaign": "x", "found_after_s": None} | changes


def test_the_report_adds_up(tmp_path: Path) -> None:
    """Counts by class, sabotaged runs apart; a line that a crash has cut short is passed over."""
    sabotaged = outcome(1, sabotage="fence", ok=False, lost=4, problems=["lost: x"], found_after_s=12.0)
    lines = [json.dumps(each) for each in (outcome(1), outcome(2, lost=1, ok=False), sabotaged)]
    (tmp_path / "results").write_text("\n".join([*lines, lines[0][:20]]))

    results = read_results(tmp_path / "results")
    summary = summarize(results)
    write_report(results, tmp_path / "proof.md")

    assert (summary["runs"], summary["pages"], summary["lost"], summary["not_ok"]) == (2, 120, 1, [2])
    assert summary["faults"]["kill-worker"] == {"injected": 4, "runs": 2}
    assert summary["quick_leases"]["longest_rerun_s"] == 2.5
    text = (tmp_path / "proof.md").read_text()
    assert "| 2 | 120 | **1** | **0** | **0** | 0 | 0 | 0 | 0 |" in text
    assert "| `fence` | 1 | 1 | 12.0 s | lost |" in text
    assert "Seeds with a problem: 2." in text
    assert json.loads((tmp_path / "proof.json").read_text()) == summary


def test_the_report_tells_states_of_the_code_apart(tmp_path: Path) -> None:
    """A state of the code has a row of its own, with what ran then and what was wrong; the newest state comes last."""
    before = [outcome(1, code="old", at="2026-01-01 10:00"), outcome(2, code="old", ok=False, doubled=1)]
    after = [outcome(3, code="new", at="2026-01-02 10:00", returns_s=[["redis-flush", 0.5], ["redis-flush", 2.5]])]

    write_report([*before, *after], tmp_path / "proof.md")

    text = (tmp_path / "proof.md").read_text()
    assert "| `old` | 2026-01-01 10:00 to 2026-01-01 10:00 | 2 | 4 | 120 | 0 | 1 | 0 | 0 | 2 |" in text
    assert "| `new` | 2026-01-02 10:00 to 2026-01-02 10:00 | 1 | 2 | 60 | 0 | 0 | 0 | 0 | none |" in text
    assert "| short | `redis-flush` | 2 | 2.5 s |" in text
    assert text.count("| none was run |") == 4
    assert text.index("`old`") < text.index("`new`")


def test_a_new_page_keeps_what_the_one_before_showed_of_other_states(tmp_path: Path) -> None:
    """The results of old runs may be gone; what the page said of them stays, and what was run anew replaces it."""
    page = tmp_path / "proof.md"
    write_report([outcome(1, code="old"), outcome(2, code="both", lost=1, ok=False)], page)
    write_report([outcome(3, code="both"), outcome(4, code="new")], page)

    text = page.read_text()
    rows = [line for line in text.splitlines() if line.startswith(("| `old`", "| `both`", "| `new`"))]
    assert [row.split("|")[1].strip(" `") for row in rows] == ["old", "both", "new"]
    assert "| `both` |  | 1 | 2 | 60 | 0 | 0 | 0 | 0 | none |" in rows
    assert "| 2 | 120 | **0** |" in text


def test_the_report_shows_what_was_made_to_fail(tmp_path: Path) -> None:
    """By who was hit and by which means, of the newest state of the code; what did not strike is not counted."""
    case = Case("calls", "worker", "fdatasync data/out", "EIO", lasting=False, struck=1, code="new", at="2026-01-02")
    cases = [
        replace(case, code="old", at="2026-01-01", lost=7),
        case,
        replace(case, where="fdatasync data/out, after 2"),
        replace(case, fault="ENOSPC", hung=1),
        replace(case, where="fsync data", struck=0, silent=1),
        replace(case, means="threads", group="supervisor", failed=2),
    ]

    write_report([asdict(each) for each in cases], tmp_path / "proof.md")

    text = (tmp_path / "proof.md").read_text()
    assert "| calls, worker | 1 | 3 | 3 | 3 | 0 | **0** | **0** | **0** | **1** | **0** |" in text
    assert "| threads, supervisor | 1 | 1 | 1 | 1 | 2 | **0** | **0** | **0** | **0** | **0** |" in text


def test_the_report_shows_runs_that_have_no_seed(tmp_path: Path) -> None:
    """Tiny items, a paused container, the long form of a test (of which only the last one counts)."""
    tiny = asdict(
        TinyOutcome(1_000_000, 3, 5.0, "product", finished=True, kills=7, seconds=31.5, reruns_s=[15.25, 3.5])
    )
    part = {"name": "paused", "seconds": 60.0, "pages": 0, "pages_per_s": 0.0, "bytes": 0}
    pause = {"kind": "pause", "at": "2026-01-01 10:00", "code": "abc", "workers": 4, "pages": 5000, "output": "p.warc"}
    pause |= {"pause_s": 60, "paused": "w1", "parts": [part], "lock_wait_s": 0.5, "fence_wait_s": 61.0, "lost": 0}
    pause |= {"doubled": 0, "torn": 0, "resumed_after_s": 1.5, "said": [{"where": "status", "text": "blocked  w1"}]}
    test = {"kind": "long-test", "test": "tests/chaos/x.py", "at": "", "code": "", "seconds": 9.0, "problems": 0}

    write_report(
        [tiny, pause, test | {"counts": {"kills": 1}}, test | {"counts": {"kills": 2500}}], tmp_path / "proof.md"
    )

    text = (tmp_path / "proof.md").read_text()
    assert "| 1,000,000 | 3 | default | 5 s | 7 | 31.5 s | yes | **0** | **0** | **0** | 2 | 15.2 s |" in text
    assert "| paused | 60.0 s | 0 | 0 | 0.0 MB |" in text
    assert "    status: blocked  w1" in text
    assert "| `tests/chaos/x.py` |  | `` | 2,500 kills | 9.0 s | 0 |" in text


@pytest.mark.parametrize("kind", SABOTAGE)
def test_every_sabotage_still_finds_what_it_replaces(kind: str) -> None:
    """A safeguard that was renamed would leave the sabotage without effect."""
    program = f"from sheaf.chaos.sabotage import SABOTAGE; SABOTAGE[{kind!r}]()"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
