# SPDX-License-Identifier: LGPL-3.0-only
"""What the benchmarks show: the table in Markdown, the verdicts, the plots."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from dev.shared import read_toml, say

NATIVE, ADDON_SIDE = "native", "addon"
COLOURS = {
    NATIVE: "#8c8c8c",
    ADDON_SIDE: "#1b7f5c",
    "mail_multicompany": "#d98c3f",
    "mail_outbound_static": "#5b7db1",
}
VERDICTS = {True: "yes", False: "**no**", None: "?"}
FIGURES = read_toml(Path(__file__).with_name("figures.toml"))


class Report:
    """Collects rows of the table, and values by side for each panel of the plot."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, Mapping[str, str], str, str]] = []
        self.notes: list[str] = []
        self.missed: list[str] = []
        self.plotted: dict[str, Mapping[str, float]] = {}

    def tell(
        self,
        name: str,
        values: Mapping[str, float],
        *,
        cells: Mapping[str, str] | None = None,
        most: float | None = None,
        decided: bool = True,
        **words: object,
    ) -> None:
        """Add a row of ``figures.toml``.

        :param values: by side; a side that is absent was not measured
        :param cells: what to write instead of the values
        :param most: what the addon is to reach, where that is known here only
        :param decided: whether it can be said that it did
        :param words: of the row's title
        """
        figure = FIGURES[name]
        digits, unit = figure.get("digits", 2), figure.get("unit", "")
        title = figure["title"].format(**words)
        goal, verdict = "–", "–"
        if most is None and "beyond_native" in figure:
            most = values[NATIVE] + figure["beyond_native"]
        if most is None:
            most = figure.get("at_most")
        if most is not None or "equal" in figure:
            goal = "equal" if most is None else f"at most {most:.4g}{unit}"
            ours = values[ADDON_SIDE]
            reached = ours == values[NATIVE] if most is None else ours <= most
            verdict = VERDICTS[reached if decided else None]
            if not decided:
                self.missed.append(f"NOT DECIDED, too busy a machine: {title}")
            elif not reached:
                self.missed.append(f"NOT REACHED: {title}")
        if cells is None:
            cells = {side: f"{value:.{digits}f}{unit}" for side, value in values.items()}
        self.rows.append((title, cells, goal, verdict))
        if "plot" in figure:
            self.plotted.setdefault(figure["plot"], values)

    def show(self) -> int:
        """Print the table, the notes and what was missed; return 1 if anything was."""
        if self.rows:
            say(f"\n{self._table()}\n")
        for line in (*(f"- {note}" for note in self.notes), *self.missed):
            say(line)
        return 1 if self.missed else 0

    def _table(self) -> str:
        """Give the table in Markdown, with a column for each side."""
        sides = list(dict.fromkeys(side for _title, cells, *_goal in self.rows for side in cells))
        lines = [["figure", *sides, "to reach", "reached"]]
        for title, cells, goal, verdict in self.rows:
            lines.append([title, *(cells.get(side, "–") for side in sides), goal, verdict])
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        lines.insert(1, ["-" * width for width in widths])
        padded = (
            " | ".join(text.ljust(width) for text, width in zip(line, widths, strict=True))
            for line in lines
        )
        return "\n".join(f"| {line} |" for line in padded)


@contextmanager
def _panels(
    titles: Sequence[str], columns: int, size: tuple[float, float], target: Path
) -> Iterator:
    """Give a panel for each title, and write them as a PNG at the end.

    :param size: of a panel, width and height in inches
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    lines = -(-len(titles) // columns)
    figure, axes = pyplot.subplots(
        lines, columns, figsize=(size[0] * columns, size[1] * lines), squeeze=False
    )
    for axis in axes.flat[len(titles) :]:
        axis.set_visible(False)
    for axis, title in zip(axes.flat, titles, strict=False):
        axis.set_title(title, fontsize=10, loc="left")
        axis.spines[["top", "right"]].set_visible(False)
    yield axes.flat
    figure.tight_layout()
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=110)
    pyplot.close(figure)
    say(f"Plot: {target}")


def draw_bars(panels: Mapping[str, Mapping[str, float]], target: Path) -> None:
    """Draw a panel of bars for each of ``panels`` (title to value by side) as a PNG."""
    with _panels(list(panels), min(3, len(panels)), (4, 2.5), target) as axes:
        for axis, values in zip(axes, panels.values(), strict=False):
            shown = [side for side in COLOURS if side in values]
            bars = axis.barh(
                shown, [values[side] for side in shown], color=[COLOURS[side] for side in shown]
            )
            largest = max(values[side] for side in shown)
            axis.bar_label(bars, fmt="%.2f" if largest < 10 else "%.0f", padding=3, fontsize=9)
            axis.set_xlim(0, largest * 1.2)
            axis.invert_yaxis()
            axis.xaxis.set_visible(False)
            axis.tick_params(axis="y", length=0, labelsize=9)
            axis.spines["bottom"].set_visible(False)


def draw_lines(
    panels: Mapping[str, Mapping[str, Mapping[float, float]]], target: Path, label: str
) -> None:
    """Draw a panel of lines for each of ``panels`` (title to x to y by side) as a PNG.

    :param label: of the y axes
    """
    with _panels(list(panels), len(panels), (5, 3.2), target) as axes:
        for axis, sides in zip(axes, panels.values(), strict=False):
            for side, points in sides.items():
                axis.plot(
                    list(points), list(points.values()), marker="o", label=side, color=COLOURS[side]
                )
            axis.set_ylabel(label, fontsize=9)
            axis.set_ylim(bottom=0)
            axis.legend(frameon=False, fontsize=9)
