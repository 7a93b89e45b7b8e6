"""`sheaf load` and what follows it, as a person does it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.console import SHEAF, Console, Site, interrupt, wait_until
from tests.webserver import WebServer, answer, tls_context

#: The local site is on the loopback network, which is refused otherwise.
ALLOWED = ("--allow-net", "127.0.0.0/8")


def test_a_list_becomes_one_file_that_others_can_read(cluster: Console, site: Site) -> None:
    """Load, verify, status, get: the whole of the main job, with the file checked by a program that is not ours."""
    pages = site.pages(300)
    cluster.list_file("urls.txt", "# pages", *pages, "[http://www.wikipedia.org", pages[0])

    loaded = cluster.run("load", "urls.txt", "-o", "main.warc.gz", *ALLOWED)

    assert "300 URLs from urls.txt (1 duplicate left out, 1 line rejected)" in loaded.stderr
    assert "rejected: line 302 of urls.txt: '[http://www.wikipedia.org'" in loaded.stderr
    assert "Done: 300 pages in data/main.warc.gz" in loaded.stdout
    checked = subprocess.run([Path(sys.executable).with_name("warcio"), "check", cluster.data / "main.warc.gz"])
    assert checked.returncode == 0
    verified = cluster.run("verify", "data/main.warc.gz").stdout
    assert "300 items: 300 done, 0 failed, 0 missing, 0 duplicate, 0 torn" in verified
    overview, detail = cluster.run("status").stdout, cluster.run("status", "last").stdout
    assert "worker-1" in overview
    assert "worker-2" in overview
    assert "300 done, 0 failed" in detail
    assert "worker-" in detail
    record = cluster.run("get", "main.warc.gz", pages[7]).stdout
    assert "<title>Page 7</title>" in record
    assert record.startswith("WARC/1.1\r\n")


def test_what_was_chosen_can_be_asked_for(cluster: Console, site: Site) -> None:
    """--explain names batches, processes, how far they work ahead, connections, commits; each with its reason."""
    name = cluster.list_file("explained.txt", *site.pages(60, first=9000, latency=50))

    loaded = cluster.run("load", name, "-o", "explained.txt", "--connections", "3", "--explain", *ALLOWED).stdout

    assert "items per batch: 1 (60 batches; " in loaded
    assert "Chosen by worker-1:" in loaded
    parts = (
        "processes: 1 (SHEAF_POOL_SIZE says so)",
        "items ahead of a process: 9 (as the task load wants it)",
        "connections: 3 (as asked for)",
        "commit: ",
    )
    wait_until(
        lambda: all(part in cluster.run("status", "last", "--explain").stdout for part in parts),
        60,
        "the workers' entries say all of it",
    )


def test_the_same_again_is_not_loaded_again(cluster: Console, site: Site) -> None:
    """Until `--again` says so, or the output was removed."""
    given = "\n".join(site.pages(20, first=1000))
    load = ("load", "-", "-o", "again.jsonl", *ALLOWED)
    cluster.run(*load, given=given)

    second = cluster.run(*load, given=given)

    lines = (cluster.data / "again.jsonl").read_text().splitlines()
    assert "already" in second.stderr
    assert "Done: 20 pages" in second.stdout
    assert len(lines) == 20
    cluster.run(*load, "--again", given=given)
    assert len((cluster.data / "again.jsonl").read_text().splitlines()) == 40
    for name in ("again.jsonl", "again.jsonl.index", "again.jsonl.index-wal", "again.jsonl.index-shm"):
        (cluster.data / name).unlink(missing_ok=True)
    third = cluster.run(*load, given=given)
    assert "already" not in third.stderr
    assert len((cluster.data / "again.jsonl").read_text().splitlines()) == 20


def test_failures_are_told_and_can_be_loaded_again(cluster: Console, site: Site) -> None:
    """A failed page costs nothing but itself: exit status 0, a count by reason, and a list for another try."""
    given = [*site.pages(10, first=2000), *site.pages(2, first=2100, status=404)]

    loaded = cluster.run("load", "-", "-o", "some.jsonl", *ALLOWED, given="\n".join(given))

    run = cluster.runs()[-1]
    assert "10 pages in data/some.jsonl" in loaded.stdout
    assert "2 failed" in loaded.stdout
    assert "HttpStatus: 404 Not Found" in loaded.stdout
    assert f"sheaf failures {run}" in loaded.stdout
    shown = cluster.run("failures", run[-6:]).stdout
    assert "404" in shown
    assert given[10] in shown
    said = [json.loads(line) for line in cluster.run("failures", "--json").stdout.splitlines()]
    assert sorted(entry["item"] for entry in said) == sorted(given[10:])
    assert {entry["error"] for entry in said} == {"HttpStatus"}
    assert sorted(cluster.run("failures", "--items").stdout.split()) == sorted(given[10:])
    assert "HttpStatus: 404 Not Found" in cluster.refused("get", "some.jsonl", given[10])
    assert json.loads(cluster.run("get", "some.jsonl", "3").stdout)["url"] == given[3]


def test_a_run_of_which_everything_failed_says_why_and_ends_with_1(cluster: Console, site: Site) -> None:
    """The summary has the reason, with its cure; nothing is offered to look at, as there is nothing."""
    pages = site.pages(5, first=2200)

    refused = cluster.run("load", "-", "-o", "none.jsonl", given="\n".join(pages), status=1)

    assert "0 pages in data/none.jsonl" in refused.stdout
    assert "5  AddressRefused: " in refused.stdout
    assert "--allow-net" in refused.stdout
    assert "sheaf get" not in refused.stdout
    first_works = "\n".join((site.pages(1, first=2300, status=404)[0], *site.pages(1, first=2301)))
    partly = cluster.run("load", "-", "-o", "half.jsonl", *ALLOWED, given=first_works).stdout
    assert f"sheaf get data/half.jsonl {site.pages(1, first=2301)[0]}" in partly


def test_detached_it_returns_at_once_and_can_be_watched(cluster: Console, site: Site) -> None:
    """Standard output is the run's name alone, for scripts; `watch` follows it to the end."""
    name = cluster.list_file("slow.txt", *site.pages(60, first=3000, latency=500))

    detached = cluster.run("load", name, "-o", "detached.html", "--detach", "--connections", "8", *ALLOWED)

    run = detached.stdout.strip()
    assert run == cluster.runs()[-1]
    assert "Done: 60 pages" in cluster.run("watch", run[:-1]).stdout
    assert (cluster.data / "detached.html").read_text().count("<title>Page 30") == 60


def test_ctrl_c_stops_watching_and_not_the_run(cluster: Console, site: Site) -> None:
    """It says how to watch again, and the run goes on without the producer."""
    name = cluster.list_file("long.txt", *site.pages(60, first=4000, latency=500))
    before = len(cluster.runs())
    watching = cluster.start("load", name, "-o", "long.warc", "--connections", "8", *ALLOWED)
    wait_until(lambda: len(cluster.runs()) > before and (cluster.data / "long.warc").exists(), 60, "the run began")
    wait_until(lambda: (cluster.data / "long.warc").stat().st_size > 0, 60, "something is loaded")

    _, said = interrupt(watching)

    run = cluster.runs()[-1]
    assert watching.returncode == 130
    assert f"sheaf watch {run}" in said
    assert "Done: 60 pages" in cluster.run("watch").stdout


def test_a_cancelled_run_stops_and_the_same_command_takes_it_up(cluster: Console, site: Site) -> None:
    """What was loaded stays; what was not is loaded when the same is submitted again, into the same run."""
    name = cluster.list_file("cancelled.txt", *site.pages(100, first=5000, latency=300))
    load = ("load", name, "-o", "cancelled.jsonl", "--connections", "4", "--batch-size", "10", *ALLOWED)
    watching = cluster.start(*load)
    output = cluster.data / "cancelled.jsonl"
    wait_until(lambda: output.exists() and output.stat().st_size > 0, 60, "something is loaded")

    with site.paused():
        cluster.run("cancel", "last")

    _, said = watching.communicate(timeout=60)
    runs = cluster.runs()
    assert watching.returncode == 1
    assert "was cancelled with" in said
    assert "cancelled" in cluster.run("status", "last").stdout
    resumed = cluster.run(*load)
    assert f"Run {runs[-1]} has the same URLs" in resumed.stderr
    assert cluster.runs() == runs
    loaded = [json.loads(line)["url"] for line in output.read_text().splitlines()]
    assert sorted(loaded) == sorted(site.pages(100, first=5000, latency=300))


def test_the_producer_may_be_killed_at_any_time(cluster: Console, site: Site) -> None:
    """kill -9 while it watches: the workers finish the run. kill -9 while it reads: there never was a run."""
    name = cluster.list_file("killed.txt", *site.pages(40, first=6000, latency=300))
    before = cluster.runs()
    watching = cluster.start("load", name, "-o", "killed.txt", "--connections", "8", *ALLOWED)
    wait_until(lambda: [run for run in cluster.runs() if run not in before and run[0] != "."], 60, "the run began")
    watching.kill()
    watching.communicate()

    assert "Done: 40 pages" in cluster.run("watch").stdout

    runs = cluster.runs()
    reading = subprocess.Popen(
        [SHEAF, "load", "-", *ALLOWED], cwd=cluster.folder, env=cluster.environment, stdin=subprocess.PIPE
    )
    wait_until(lambda: len(cluster.runs()) > len(runs), 60, "the draft is there")
    reading.kill()
    reading.communicate()
    cluster.run("load", name, "-o", "killed.txt", "--connections", "8", *ALLOWED)
    assert cluster.runs() == runs


def test_a_terminal_shows_a_picture_that_leaves_only_the_summary(cluster: Console, site: Site) -> None:
    """A bar, speeds, workers; Ctrl-C there has the same effect, and says the same."""
    name = cluster.list_file("terminal.txt", *site.pages(40, first=7000, latency=400))
    load = ("load", name, "-o", "terminal.warc.gz", "--connections", "4", *ALLOWED)

    status, drawn = cluster.on_terminal(*load, until="pages/s")

    assert status == 130
    for part in (
        "40 pages into data/terminal.warc.gz",
        "pages/s",
        "%",
        "worker-1",
        "Stopped watching; the run goes on",
    ):
        assert part in drawn
    status, drawn = cluster.on_terminal(*load)
    assert status == 0
    assert "Done: 40 pages" in drawn


def test_an_intranet_s_certificate_is_named_with_the_command(cluster: Console, tmp_path: Path) -> None:
    """Refused with what to type; loaded with it, though the workers have no such file. A proxy variable is named."""
    context, certificate = tls_context(tmp_path)
    with WebServer(tls=context) as server:
        server.routes["/"] = answer(b"inside")
        name = cluster.list_file("inside.txt", server.url)
        refused = cluster.run("load", name, "-o", "refused.jsonl", *ALLOWED, status=1)
        load = ("load", name, "-o", "inside.jsonl", *ALLOWED, "--ca-bundle", str(certificate))
        loaded = behind_a_proxy(cluster).run(*load)

    assert "--ca-bundle FILE" in refused.stdout
    assert "Done: 1 page in data/inside.jsonl" in loaded.stdout
    assert loaded.stderr.count("HTTPS_PROXY: ignored.") == 1
    assert "ca_certificates=-----BEGIN CERTIFICATE-----" in cluster.run("status", "last").stdout
    assert "-----END" not in cluster.run("status", "last").stdout


def behind_a_proxy(person: Console) -> Console:
    other = Console(person.folder)
    other.environment = person.environment | {"HTTPS_PROXY": "http://127.0.0.1:1"}
    return other
