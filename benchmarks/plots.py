"""Draw a scenario's result as a small SVG: a bar for each contender."""

from __future__ import annotations

from pathlib import Path
from typing import Any

COLOURS = {"sheaf": "#d9822b", "bare": "#8a9ba8", "peer": "#2b95d6"}
#: Beyond this span between the slowest and the fastest, bars are on a logarithmic axis.
SPAN = 50


def draw(result: dict[str, Any], scenario: Any, path: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    # Text stays text: small files. No date and a fixed salt: the same results give the same bytes.
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "sheaf", "font.size": 9})
    from matplotlib import pyplot

    column = scenario.COLUMNS[0]
    rows = [row for row in result["rows"] if row["median"].get(column.name)][::-1]
    if not rows:
        return
    values = [row["median"][column.name] for row in rows]
    figure, axes = pyplot.subplots(figsize=(8, 0.6 + 0.26 * len(rows)))
    bars = axes.barh([row["name"] for row in rows], values, color=[COLOURS[row["kind"]] for row in rows])
    axes.bar_label(bars, [column.form.format(value) for value in values], padding=3, fontsize=8)
    if max(values) / min(values) > SPAN:
        axes.set_xscale("log")
        axes.set_xlim(min(values) / 3, max(values) * 6)
    else:
        axes.set_xlim(0, max(values) * 1.12)
    axes.set_xlabel(column.title)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, format="svg", bbox_inches="tight", metadata={"Date": None})
    pyplot.close(figure)
