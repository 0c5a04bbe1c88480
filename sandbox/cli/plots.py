"""What a sandbox used over time, as pictures: SVG that stands in a page, takes the page's colours, and needs nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import pygal  # type: ignore[import-untyped]
from pygal.style import Style  # type: ignore[import-untyped]

from sandbox.quantities import size
from sandbox.runtime.report import Report, Samples

WIDTH, HEIGHT = 560, 260

# The colours are the page's, which has them for a light and for a dark surrounding.
_STYLE = Style(
    background="transparent",
    plot_background="transparent",
    foreground="var(--soft)",
    foreground_strong="var(--ink)",
    foreground_subtle="var(--line)",
    guide_stroke_color="var(--line)",
    major_guide_stroke_color="var(--line)",
    guide_stroke_dasharray="none",
    major_guide_stroke_dasharray="none",
    colors=("var(--first)", "var(--second)"),
    opacity=".15",
    stroke_opacity="1",
    stroke_width="2",
    transition="0s",
    font_family="inherit",
    label_font_size=12,
    major_label_font_size=12,
    legend_font_size=13,
)

Point = tuple[float, float]


class Series(NamedTuple):
    """A line; a limit is one that is dashed, and has nothing below it."""

    title: str
    points: list[Point]
    is_limit: bool = False


class Plot(NamedTuple):
    """A picture, or why there is none."""

    name: str  # a word for the page's own use
    title: str
    controller: str  # without which there is nothing to be seen
    series: list[Series]
    unit: Callable[[float], str]
    binary: bool = False  # its unit goes by powers of two


def plots(report: Report) -> list[Plot]:
    """Return what is shown of a run, whether or not there is something."""
    samples, cgroup = report.samples or Samples(), report.cgroup
    memory = _points(samples.time, samples.memory)
    limit = cgroup.memory.limit if cgroup else None
    pids = _points(samples.time, samples.pids)
    most = cgroup.pids.limit if cgroup else None
    read, written = _rates(samples.time, samples.read), _rates(samples.time, samples.written)
    return [
        Plot(
            "memory",
            "Memory",
            "memory",
            _series("in use", memory, limit),
            lambda value: size(round(value)),
            binary=True,
        ),
        Plot("cpu", "Processors in use", "cpu", _series("", _rates(samples.time, samples.cpu)), "{:g}".format),
        Plot(
            "io", "Input and output", "io", [*_series("read", read), *_series("written", written)], _rate, binary=True
        ),
        Plot("pids", "Processes and threads", "pids", _series("running", pids, most), "{:g}".format),
    ]


def _rate(value: float) -> str:
    return f"{size(round(value))}/s"


def _series(title: str, points: list[Point], limit: int | None = None) -> list[Series]:
    if not points:
        return []
    found = [Series(title, points)]
    if limit is not None:
        found.append(Series("limit", [(points[0][0], limit), (points[-1][0], limit)], is_limit=True))
    return found


def _points(times: Sequence[float], values: Sequence[float | None]) -> list[Point]:
    return [(time, value) for time, value in zip(times, values, strict=True) if value is not None]


def _rates(times: Sequence[float], values: Sequence[float | None]) -> list[Point]:
    """Return how much was added in each second.

    The last sample is taken when all has ended, and may be next to the one before: what was added in a moment says little.
    """
    points = _points(times, values)
    if len(points) < 2:
        return []
    shortest = (points[-1][0] - points[0][0]) / len(points) / 2
    found: list[Point] = []
    time, value = points[0]
    for later, more in points[1:]:
        if later - time > shortest:
            rate = max(0.0, more - value) / (later - time)
            found += [(time, rate), (later, rate)] if not found else [(later, rate)]
            time, value = later, more
    return found


# --- drawing ---


def svg(plot: Plot) -> str:
    """Return the picture; there is something to be seen."""
    times = [time for series in plot.series for time, _ in series.points]
    values = [value for series in plot.series for _, value in series.points]
    chart = pygal.XY(
        style=_STYLE,
        js=[],
        disable_xml_declaration=True,
        width=WIDTH,
        height=HEIGHT,
        margin=6,
        margin_right=30,  # half of the last label is there
        show_dots=False,
        show_legend=len(plot.series) > 1,
        legend_at_bottom=True,
        legend_at_bottom_columns=2,
        legend_box_size=10,
        include_x_axis=True,
        x_value_formatter=_seconds,
        value_formatter=plot.unit,
        x_labels=_ticks(max(times), binary=False),
        y_labels=_ticks(max(values), binary=plot.binary),
    )
    chart.uuid = plot.name
    chart.title = None
    for series in plot.series:
        style = {"width": 2, "dasharray": "6, 5"} if series.is_limit else {"width": 2}
        chart.add(series.title, series.points, fill=not series.is_limit, stroke_style=style)
    chart.add_xml_filter(_without_scripts)
    return str(chart.render(is_unicode=True))


def _without_scripts(root: pygal.etree.etree.Element) -> pygal.etree.etree.Element:
    """Take out what would make it move, and what would be said of it in a tooltip: the page says that."""
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in ("script", "title") or "tooltip" in child.get("class", ""):
                parent.remove(child)
    return root


def _seconds(value: float) -> str:
    if value < 120:
        return f"{value:g} s"
    return f"{value / 60:g} min" if value < 7200 else f"{value / 3600:g} h"


_STEPS = (1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)


def _ticks(most: float, *, binary: bool) -> list[float]:
    """Return from 0 on up to eight numbers that are round, the last of them not below `most`."""
    if most <= 0:
        return [0, 1]
    step = 1.0
    if binary:
        while step * 4 < most:
            step *= 2
    elif most < 5:
        step = next(step for step in (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1) if most / step <= 6)
    else:
        step = next((step for step in _STEPS if most / step <= 6), 86400.0 * (1 + most // (86400 * 6)))
    count = int(-(-most // step))
    return [round(step * number, 6) for number in range(count + 1)]
