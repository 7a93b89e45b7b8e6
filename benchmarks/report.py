"""Write docs/performance.md, and its plots, from benchmarks/results/*.json. `make bench` does it at its end.

python -m benchmarks.report             the page and the plots (plots need matplotlib: benchmarks/.venv)
python -m benchmarks.report --text      the page only
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

from benchmarks.common.record import RESULTS, ROOT
from benchmarks.common.runner import Column
from benchmarks.targets import TARGETS

PAGE = ROOT / "docs/performance.md"
PLOTS = ROOT / "docs/performance"
#: Scenarios in the page's order, and the command that measures each anew.
ORDER = {
    "load": "make bench",
    "load_peers": "make bench-peers",
    "map": "make bench",
    "map_peers": "make bench-peers",
    "submit_peers": "make bench-peers",
    "tasks": "make bench",
    "scaling": "make bench",
    "tuning": "make bench-more",
    "stack": "make bench-more",
    "stack_work": "make bench-more",
    "scale": "make bench",
}

#: The highest load before a run under which its wall times are worth quoting.
QUIET = 0.7

HEAD = """# Performance

Written by `python -m benchmarks.report` from what `make bench`, `bench-peers` and `bench-more` measured.
Contenders take turns within one run, numbers are medians, and every repeat is in `benchmarks/results/`. Absolute
numbers belong to the machine, ratios travel. Where a peer is faster, that is in here too. nginx and GNU parallel come
from Debian's packages (`apt-get install nginx-light parallel`); without them the site is `services/site`, and that peer
is left out.
"""


def main() -> None:
    results = read_results()
    if "--text" not in sys.argv:
        from benchmarks.plots import draw

        PLOTS.mkdir(exist_ok=True)
        for stale in set(PLOTS.glob("*.svg")) - {PLOTS / f"{name}.svg" for name in results}:
            stale.unlink()
        for name, result in results.items():
            draw(result, scenario(name), PLOTS / f"{name}.svg")
    # Last: it shows the plots that are there.
    PAGE.write_text(page(results))


def read_results() -> dict[str, dict[str, Any]]:
    return {
        name: json.loads((RESULTS / f"{name}.json").read_text())
        for name in ORDER
        if (RESULTS / f"{name}.json").exists()
    }


def scenario(name: str) -> Any:
    return importlib.import_module(f"benchmarks.scenarios.{name}")


def page(results: dict[str, dict[str, Any]]) -> str:
    """The whole page as text."""
    parts = [HEAD, targets(results)]
    parts += [section(name, result) for name, result in results.items()]
    return "\n".join(parts)


def targets(results: dict[str, dict[str, Any]]) -> str:
    lines = ["## The targets", "", "| what | target | measured | met |", "|---|---|---|---|"]
    for target in TARGETS:
        value = target.measure(results)
        if value is None:
            lines.append(f"| {target.what} | {target.text} | not measured | |")
        else:
            lines.append(f"| {target.what} | {target.text} | {target.form.format(value)} | {said(target.met(value))} |")
    return "\n".join(lines) + "\n"


def said(met: bool) -> str:
    return "yes" if met else "**no**"


def section(name: str, result: dict[str, Any]) -> str:
    module = scenario(name)
    about = module.ABOUT.format(**result, **result["machine"])
    plot = f"\n![{module.TITLE}](performance/{name}.svg)\n" if (PLOTS / f"{name}.svg").exists() else ""
    peers = ", ".join(f"{peer} {version}" for peer, version in result.get("peer_versions", {}).items())
    versions = f"Versions: {peers}.\n\n" if peers else ""
    shown = table(module.COLUMNS, result)
    return f"## {module.TITLE}\n\n{about}\n\n{shown}\n{versions}{provenance(name, result)}\n{plot}"


def table(columns: tuple[Column, ...], result: dict[str, Any]) -> str:
    ratios = result.get("ratios", {})
    rates = {row["name"]: row["median"] for row in result["rows"]}
    shown = [column for column in columns if any(column.name in median for median in rates.values())]
    heads = ["", *(column.title for column in shown), *(["of the bare one"] if ratios else [])]
    lines = [line(heads), line(["---"] * len(heads))]
    for row in result["rows"]:
        note = f" ({row['note']})" if row["note"] else ""
        if row["error"] and not row["median"]:
            cells = ["failed"] + [""] * (len(heads) - 2)
        else:
            cells = [cell(column, row["median"]) for column in shown]
            cells += [ratio(row["name"], ratios, rates)] if ratios else []
        name = f"**{row['name']}**" if row["kind"] == "sheaf" else row["name"]
        lines.append(line([name + note, *cells]))
    return "\n".join(lines) + "\n"


def ratio(name: str, ratios: dict[str, str], medians: dict[str, dict[str, float]]) -> str:
    """By the whole command, in the run, and by CPU seconds (which other work on the machine does not change)."""
    if name not in ratios:
        return ""
    ours, base = medians[name], medians[ratios[name]]
    rates = [ours[key] / base[key] for key in ("per_s", "run_per_s") if key in ours]
    return " / ".join(f"{value:.0%}" for value in [*rates, base["cpu_ms_per_item"] / ours["cpu_ms_per_item"]])


def cell(column: Column, median: dict[str, float]) -> str:
    value = median.get(column.name)
    return "" if value is None else column.form.format(value)


def line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def provenance(name: str, result: dict[str, Any]) -> str:
    """Where and when it was measured, of which code, and how to do it again."""
    code, machine = result["code"], result["machine"]
    changed = f" with {code['changed_files']} changed files" if code["changed_files"] else ""
    quick = " **A quick try with few items: not to be quoted.**" if result["quick"] else ""
    if result["load_before"] > QUIET:
        quick += " **The machine was busy with other work: only CPU figures mean something.**"
    return (
        f"Measured {result['measured']}, commit {code['commit']}{changed}; {machine['cores']} cores of an "
        f"{machine['processor']}, {machine['memory_gb']} GB, Linux {machine['kernel']}, Python {machine['python']}; "
        f"medians of {result['repeats']}; load before it began: {result['load_before']}.{quick} "
        f"Again: `{ORDER[name]} ONLY={name}`.\n"
    )


if __name__ == "__main__":
    main()
