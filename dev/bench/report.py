# SPDX-License-Identifier: LGPL-3.0-only
"""What ``make bench`` shows: the table in Markdown, and the plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

NATIVE, ADDON_SIDE = "native", "addon"
SIDES = (NATIVE, ADDON_SIDE, "mail_multicompany", "mail_outbound_static")
_COLOURS = {
    NATIVE: "#8c8c8c",
    ADDON_SIDE: "#1b7f5c",
    "mail_multicompany": "#d98c3f",
    "mail_outbound_static": "#5b7db1",
}


@dataclass(frozen=True)
class Figure:
    """A row of the table.

    :param cells: text by side; a side that is absent was not measured
    :param goal: what the addon is to reach, empty where it is only information
    :param reached: whether it did; None without a goal, or where that could not be decided
    """

    title: str
    cells: Mapping[str, str]
    goal: str = ""
    reached: bool | None = None


def table(figures: Sequence[Figure], sides: Sequence[str] = SIDES) -> str:
    """Give the table in Markdown, with a column for each of ``sides``."""
    rows = [["figure", *sides, "to reach", "reached"]]
    for figure in figures:
        verdict = {True: "yes", False: "**no**", None: "?" if figure.goal else "–"}[figure.reached]
        cells = [figure.cells.get(side, "–") for side in sides]
        rows.append([figure.title, *cells, figure.goal or "–", verdict])
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def draw(panels: Mapping[str, Mapping[str, float]], target: Path) -> None:
    """Draw a panel of bars for each of ``panels`` (title to value by side) as a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    sides = [side for side in SIDES if any(side in values for values in panels.values())]
    columns = min(3, len(panels))
    lines = -(-len(panels) // columns)
    figure, axes = pyplot.subplots(
        lines, columns, figsize=(4 * columns, 2.4 * lines + 0.3), squeeze=False
    )
    for axis, (title, values) in zip(axes.flat, panels.items(), strict=False):
        shown = [side for side in sides if side in values]
        bars = axis.barh(
            shown, [values[side] for side in shown], color=[_COLOURS[side] for side in shown]
        )
        largest = max(values.values())
        labels = [f"{values[side]:.2f}" if largest < 10 else f"{values[side]:.0f}"
                  for side in shown]  # fmt: skip
        axis.bar_label(bars, labels=labels, padding=3, fontsize=9)
        axis.set_title(title, fontsize=10, loc="left")
        axis.set_xlim(0, largest * 1.2)
        axis.invert_yaxis()
        axis.xaxis.set_visible(False)
        axis.tick_params(axis="y", length=0, labelsize=9)
        for edge in ("top", "right", "bottom"):
            axis.spines[edge].set_visible(False)
    for axis in list(axes.flat)[len(panels) :]:
        axis.set_visible(False)
    figure.tight_layout()
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=110)
    pyplot.close(figure)


def draw_lines(
    panels: Mapping[str, Mapping[str, Mapping[float, float]]], target: Path, label: str
) -> None:
    """Draw a panel of lines for each of ``panels`` (title to x to y by side) as a PNG.

    :param label: of the y axes
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(panels), figsize=(5 * len(panels), 3.2), squeeze=False)
    for axis, (title, sides) in zip(axes.flat, panels.items(), strict=True):
        for side, points in sides.items():
            axis.plot(
                list(points), list(points.values()), marker="o", label=side, color=_COLOURS[side]
            )
        axis.set_title(title, fontsize=10, loc="left")
        axis.set_ylabel(label, fontsize=9)
        axis.set_ylim(bottom=0)
        axis.legend(frameon=False, fontsize=9)
        for edge in ("top", "right"):
            axis.spines[edge].set_visible(False)
    figure.tight_layout()
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=110)
    pyplot.close(figure)
