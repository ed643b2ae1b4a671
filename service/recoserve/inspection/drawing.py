"""Draws a map as SVG: a circle for each item with its title as tooltip, and a legend at the right. Every text is escaped."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from recoserve.bundle.arrays import Float64Array
from recoserve.inspection.items import readable
from recoserve.inspection.plane import Plane

WIDTH, HEIGHT, SIDE = 960, 760, 660  # of the picture and of the square that the points lie in, in pixels
LEFT, TOP = 44, 62
WIDTH_WITHOUT_LEGEND = LEFT + SIDE + LEFT
MARGIN = 14  # between the square's border and the outermost points
COLOURS = ("#4477aa", "#ee6677", "#228833", "#d5a021", "#66b5dd", "#aa3377", "#ee7733", "#6a4c93")  # of the largest groups
ONLY_COLOUR, OTHER_COLOUR = COLOURS[0], "#b4b8bf"
MAX_LEGEND_CHARACTERS = 22
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#333}"
    ".head{font-size:18px;font-weight:600}.name{font-weight:600}.soft{fill:#666;font-size:12px}"
)


@dataclass(frozen=True)
class Chart:
    """The content of a map: points on a plane, with a title and a group each; groups come from the metadata `column`, if any."""

    heading: str
    description: str
    plane: Plane
    titles: Sequence[str]
    column: str | None
    groups: Sequence[str]


@dataclass(frozen=True)
class LegendEntry:
    """One line of the legend: its colour, its text, and the points of that colour, by their positions in the chart."""

    colour: str
    label: str
    points: Sequence[int]


def svg(chart: Chart) -> str:
    """The map as an SVG document that needs no other file."""
    entries, width = legend(chart), WIDTH if chart.column else WIDTH_WITHOUT_LEGEND
    colours = "".join(f".k{number}{{fill:{entry.colour}}}" for number, entry in enumerate(entries))
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" role="img">',
            f"<title>{escape(chart.heading)}</title>",
            f"<style>{STYLE}{colours}</style>",
            f'<rect width="{width}" height="{HEIGHT}" fill="#fff"/>',
            *_frame_lines(chart),
            *_circle_lines(chart, entries),
            *_legend_lines(chart, entries),
            "</svg>\n",
        ]
    )


def legend(chart: Chart) -> list[LegendEntry]:
    """An entry for each of the largest groups, the largest first, and a grey one for all other points, if there are any."""
    if chart.column is None:
        return [LegendEntry(ONLY_COLOUR, "items", range(len(chart.titles)))]
    sizes = Counter(group for group in chart.groups if group)
    largest = sorted(sizes, key=lambda group: (-sizes[group], group))[: len(COLOURS)]
    ranks = {group: rank for rank, group in enumerate(largest)}
    points: list[list[int]] = [[] for _ in range(len(ranks) + 1)]
    for point, group in enumerate(chart.groups):
        points[ranks.get(group, len(ranks))].append(point)
    entries = [LegendEntry(COLOURS[rank], group, points[rank]) for group, rank in ranks.items()]
    return [*entries, LegendEntry(OTHER_COLOUR, "other", points[-1])] if points[-1] else entries


def _frame_lines(chart: Chart) -> list[str]:
    right, bottom = LEFT + SIDE, TOP + SIDE
    first, second = (f"{share:.1%} of the variance".replace("%", " %") for share in chart.plane.shares)
    return [
        f'<text class="head" x="{LEFT}" y="28">{escape(chart.heading)}</text>',
        f'<text class="soft" x="{LEFT}" y="49">{escape(chart.description)}</text>',
        f'<rect x="{LEFT}" y="{TOP}" width="{SIDE}" height="{SIDE}" fill="#fbfbfa" stroke="#dcdcda"/>',
        f'<text class="soft" x="{right}" y="{bottom + 20}" text-anchor="end">first axis: {first} →</text>',
        f'<text class="soft" text-anchor="end" transform="translate({LEFT - 12} {TOP}) rotate(-90)">second axis: {second} →</text>',
    ]


def _circle_lines(chart: Chart, entries: list[LegendEntry]) -> list[str]:
    pixels = _pixels(chart.plane)
    radius = float(np.clip(90 / np.sqrt(len(pixels)), 2.2, 6))  # smaller for more points, so that they cover a similar area
    entry_of = {point: number for number, entry in enumerate(entries) for point in entry.points}
    # Later circles cover earlier ones. So grey ones come first, and coloured ones in row order, which puts no group behind another.
    order = sorted(entry_of, key=lambda point: (entries[entry_of[point]].colour != OTHER_COLOUR, point))
    lines = ['<g class="dots" fill-opacity=".78">']
    for point in order:
        x, y = pixels[point]
        lines.append(
            f'<circle class="k{entry_of[point]}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}">'
            f"<title>{escape(chart.titles[point])}</title></circle>"
        )
    return [*lines, "</g>"]


def _pixels(plane: Plane) -> Float64Array:
    """The points in pixels, float64 [P, 2], centred in the square, on one scale for both axes; the second axis points up."""
    low, high = plane.points.min(axis=0), plane.points.max(axis=0)
    scale = (SIDE - 2 * MARGIN) / (float((high - low).max()) or 1.0)
    centre = np.array([LEFT + SIDE / 2, TOP + SIDE / 2])
    pixels: Float64Array = centre + (plane.points - (low + high) / 2) * scale * np.array([1, -1])
    return pixels


def _legend_lines(chart: Chart, entries: list[LegendEntry]) -> list[str]:
    if chart.column is None:
        return []
    x, y = LEFT + SIDE + 24, TOP + 14
    lines = [f'<text class="name" x="{x}" y="{y}">{escape(_shortened(chart.column))} (first)</text>']
    for number, entry in enumerate(entries):
        y += 26
        lines.append(
            f'<g class="key" data-key="k{number}"><circle class="k{number}" cx="{x + 6}" cy="{y - 4}" r="6"/>'
            f'<text x="{x + 20}" y="{y}">{escape(_shortened(entry.label))} '
            f'<tspan fill="#888">{len(entry.points):,}</tspan></text></g>'
        )
    return lines


def _shortened(text: str) -> str:
    line = readable(text)
    return line if len(line) <= MAX_LEGEND_CHARACTERS else line[: MAX_LEGEND_CHARACTERS - 1] + "…"
