"""From docs/benchmarks/*.json to the tables and the picture of docs/benchmarks.md.

    python benchmarks/report.py

What stands between <!-- NAME --> and <!-- end --> on the page is replaced by the tables of
NAME.json, where there is one.
"""

import json
import re
from pathlib import Path

import harness
from matplotlib.figure import Figure

PAGE = harness.ROOT / "docs" / "benchmarks.md"
RESULTS = PAGE.with_suffix("")
SLOT = re.compile(r"(<!-- (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
PICTURE = "growth.png"


def main() -> None:
    results = {path.stem: json.loads(path.read_text()) for path in RESULTS.glob("*.json")}
    if "growth" in results:
        draw_growth(results["growth"]["tables"], RESULTS / PICTURE)

    def filled(slot: re.Match) -> str:
        name = slot[2]
        return f"{slot[1]}{section(name, results[name])}\n{slot[3]}" if name in results else slot[0]

    PAGE.write_text(SLOT.sub(filled, PAGE.read_text()))


def section(name: str, result: dict) -> str:
    tables = result["tables"]
    parts = [f"*{harness.machine_line(result['machine'])}*"]
    if name == "growth":
        parts.append(f"![time and memory against batch, side and width]({RESULTS.name}/{PICTURE})")
    for caption, rows in tables.items():
        parts += [f"**{caption}**"] if len(tables) > 1 else []
        parts.append(harness.table(rows))
    return "\n\n".join(parts)


def draw_growth(tables: dict[str, list[dict]], path: Path) -> None:
    """A column for each size that grows: time above, memory below, both axes logarithmic."""
    sweeps = {title: rows for title, rows in tables.items() if "thread" in title}
    names = list(dict.fromkeys(title.partition(",")[0] for title in sweeps))
    figure = Figure(figsize=(4 * len(names), 7), layout="constrained")
    grid = figure.subplots(2, len(names), squeeze=False, sharex="col")
    for title, rows in sweeps.items():
        name, _, threads = title.partition(", ")
        above, below = grid[:, names.index(name)]
        points = [row[name] for row in rows]
        style = "--" if threads.startswith("1 ") else "-"
        for side, colour in (("tinydiff", "C0"), ("PyTorch", "C7")):
            times = [row[f"{side}, ms"][1] for row in rows]
            above.plot(points, times, style, marker=".", color=colour, label=f"{side}, {threads}")
        peaks = [row["peak, MB"] for row in rows]
        below.plot(points, peaks, style, marker=".", color="C0", label=f"tinydiff, {threads}")
        above.set(title=name, ylabel="ms a step")
        below.set(xlabel=name, ylabel="peak, MB")
    for axes in grid.flat:
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter("{x:.0f}")
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(lambda y, _: f"{y:g}" if f"{y:g}"[0] in "25" else "")
        axes.grid(alpha=0.3, which="both")
        axes.legend()
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    main()
