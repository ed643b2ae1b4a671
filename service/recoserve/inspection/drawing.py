"""A map as SVG: one circle an item, its title as the tooltip, a legend beside it. Every text is escaped."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from recoserve.inspection.items import readable
from recoserve.inspection.plane import Plane

WIDTH, HEIGHT, SIDE = 960, 760, 660  # of the picture and of the square that the points lie in, in pixels
LEFT, TOP = 44, 62
BARE_WIDTH = LEFT + SIDE + LEFT  # without a legend
MARGIN = 14
KEYS = 8
COLOURS = ("#4477aa", "#ee6677", "#228833", "#d5a021", "#66b5dd", "#aa3377", "#ee7733", "#6a4c93")
REST, ALONE = "#b4b8bf", COLOURS[0]
LEGEND_LETTERS = 22
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#333}"
    ".head{font-size:18px;font-weight:600}.name{font-weight:600}.soft{fill:#666;font-size:12px}"
)


@dataclass(frozen=True)
class Chart:
    """What a map shows: where the items lie, what each is called, and the group of each by the column that colours them, if any."""

    heading: str
    about: str
    plane: Plane
    titles: Sequence[str]
    column: str | None
    groups: Sequence[str]


@dataclass(frozen=True)
class Key:
    """One line of the legend: its colour, its words, and the places of its points."""

    colour: str
    label: str
    places: Sequence[int]


def svg(chart: Chart) -> str:
    """The map as an SVG document that stands on its own."""
    found, width = keys(chart), WIDTH if chart.column else BARE_WIDTH
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" role="img">',
            f"<title>{escape(chart.heading)}</title>",
            f"<style>{STYLE}{''.join(f'.k{number}{{fill:{key.colour}}}' for number, key in enumerate(found))}</style>",
            f'<rect width="{width}" height="{HEIGHT}" fill="#fff"/>',
            *_frame(chart),
            *_points(chart, found),
            *_legend(chart, found),
            "</svg>\n",
        ]
    )


def keys(chart: Chart) -> list[Key]:
    """The legend: the most frequent groups, the largest first, then one grey line for all the rest."""
    if chart.column is None:
        return [Key(ALONE, "items", range(len(chart.titles)))]
    named = Counter(group for group in chart.groups if group)
    ranks = {group: rank for rank, (group, _) in enumerate(sorted(named.items(), key=lambda pair: (-pair[1], pair[0]))[:KEYS])}
    places: list[list[int]] = [[] for _ in range(len(ranks) + 1)]
    for place, group in enumerate(chart.groups):
        places[ranks.get(group, len(ranks))].append(place)
    found = [Key(COLOURS[rank], group, places[rank]) for group, rank in ranks.items()]
    return [*found, Key(REST, "other", places[-1])] if places[-1] else found


def _frame(chart: Chart) -> list[str]:
    right, bottom = LEFT + SIDE, TOP + SIDE
    first, second = (f"{share:.1%} of the variance".replace("%", " %") for share in chart.plane.shares)
    return [
        f'<text class="head" x="{LEFT}" y="28">{escape(chart.heading)}</text>',
        f'<text class="soft" x="{LEFT}" y="49">{escape(chart.about)}</text>',
        f'<rect x="{LEFT}" y="{TOP}" width="{SIDE}" height="{SIDE}" fill="#fbfbfa" stroke="#dcdcda"/>',
        f'<text class="soft" x="{right}" y="{bottom + 20}" text-anchor="end">first axis: {first} →</text>',
        f'<text class="soft" text-anchor="end" transform="translate({LEFT - 12} {TOP}) rotate(-90)">second axis: {second} →</text>',
    ]


def _points(chart: Chart, found: list[Key]) -> list[str]:
    """Circles, the grey ones below: they hide nothing, and among the colours no group lies above another."""
    places = _places(chart.plane)
    radius = float(np.clip(90 / np.sqrt(len(places)), 2.2, 6))
    owner = {place: number for number, key in enumerate(found) for place in key.places}
    lines = ['<g class="dots" fill-opacity=".78">']
    for place in sorted(owner, key=lambda place: (found[owner[place]].colour != REST, place)):
        x, y = places[place]
        lines.append(
            f'<circle class="k{owner[place]}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}">'
            f"<title>{escape(chart.titles[place])}</title></circle>"
        )
    return [*lines, "</g>"]


def _places(plane: Plane) -> np.ndarray:
    """Points as pixels, float64 [P, 2]: one scale for both axes, the cloud in the middle, upwards is up."""
    low, high = plane.points.min(axis=0), plane.points.max(axis=0)
    scale = (SIDE - 2 * MARGIN) / (float((high - low).max()) or 1.0)
    centre = np.array([LEFT + SIDE / 2, TOP + SIDE / 2])
    found: np.ndarray = centre + (plane.points - (low + high) / 2) * scale * np.array([1, -1])
    return found


def _legend(chart: Chart, found: list[Key]) -> list[str]:
    if chart.column is None:
        return []
    x, y = LEFT + SIDE + 24, TOP + 14
    lines = [f'<text class="name" x="{x}" y="{y}">{escape(_short(chart.column))} (first)</text>']
    for number, key in enumerate(found):
        y += 26
        lines.append(
            f'<g class="key" data-key="k{number}"><circle class="k{number}" cx="{x + 6}" cy="{y - 4}" r="6"/>'
            f'<text x="{x + 20}" y="{y}">{escape(_short(key.label))} <tspan fill="#888">{len(key.places):,}</tspan></text></g>'
        )
    return lines


def _short(text: str) -> str:
    line = readable(text)
    return line if len(line) <= LEGEND_LETTERS else line[: LEGEND_LETTERS - 1] + "…"
