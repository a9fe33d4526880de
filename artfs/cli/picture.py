"""A lineage as an SVG picture: versions as boxes, runs as rounded ones, time from left to right."""

from __future__ import annotations

import itertools
import unicodedata
from xml.sax.saxutils import escape, quoteattr

from artfs.cli.graphs import DASHED, Graph, Shown
from artfs.cli.layout import place

_MARGIN = 24.0
_FONT, _SMALL = 14, 11
#: Widths of a character in these sizes, of the sans-serif fonts that viewers have, and how many of
#: them one of Chinese, Japanese or Korean takes.
_WIDE, _NARROW, _SQUARE = 8.0, 6.3, 1.75
_HEIGHT = 46.0
_COLOURS = {
    "version": ("#e8f0fe", "#3367d6"), "start": ("#3367d6", "#1f3f8a"),
    "run": ("#f1f3f4", "#5f6368"), "failed": ("#fce8e6", "#c5221f"), "gone": ("#ffffff", "#9aa0a6"),
}  # fmt: skip
_STYLE = f"""text{{font-family:Helvetica,Arial,'DejaVu Sans',sans-serif;text-anchor:middle}}
text{{fill:#202124}}
.name{{font-size:{_FONT}px;font-weight:bold}}.note{{font-size:{_SMALL}px;fill:#5f6368}}
.start .name,.start .note{{fill:#ffffff}}
path{{fill:none;stroke:#80868b;stroke-width:1.5}}.dashed{{stroke-dasharray:5 4}}"""


def svg(graph: Graph) -> str:
    """The picture."""
    sizes = {key: (_width(shown), _HEIGHT) for key, shown in graph.nodes.items()}
    placed = place(sizes, [(edge.source, edge.target) for edge in graph.edges])
    width, height = placed.width + 2 * _MARGIN, placed.height + 2 * _MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}"'
        f' viewBox="0 0 {width:.0f} {height:.0f}" role="img">',
        f"<title>{escape(graph.title)}</title>",
        f"<style>{_STYLE}</style>",
        '<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8"'
        ' markerHeight="8" orient="auto"><polygon points="0,1 10,5 0,9" fill="#80868b"/>'
        "</marker></defs>",
        f'<rect width="{width:.0f}" height="{height:.0f}" fill="#ffffff"/>',
        f'<g transform="translate({_MARGIN:.0f} {_MARGIN:.0f})">',
    ]
    for edge in graph.edges:
        points = placed.lines[edge.source, edge.target]
        kind = ' class="dashed"' if edge.kind in DASHED else ""
        way = _way(points, sizes[edge.source][0] / 2, sizes[edge.target][0] / 2)
        lines.append(f'<path{kind} d="{way}" marker-end="url(#tip)"/>')
    lines += [_box(shown, *placed.at[key], sizes[key][0]) for key, shown in graph.nodes.items()]
    return "\n".join([*lines, "</g>", "</svg>"])


def _width(shown: Shown) -> float:
    text = max(_length(shown.name) * _WIDE * 1.1, _length(shown.note) * _NARROW)
    return max(90.0, text + 28)


def _length(text: str) -> float:
    return sum(_SQUARE if unicodedata.east_asian_width(c) in "WF" else 1.0 for c in text)


def _way(points: list[tuple[float, float]], start: float, end: float) -> str:
    """A smooth line through points, from the edge of a box to that of another."""
    (x, y), (second, _), *_ = points
    *_, (before, _), (to_x, to_y) = points
    start, end = (start if second >= x else -start), (end if before <= to_x else -end)
    points = [(x + start, y), *points[1:-1], (to_x - end, to_y)]
    way = f"M{points[0][0]:.1f} {points[0][1]:.1f}"
    for (x, y), (to_x, to_y) in itertools.pairwise(points):
        bend = (to_x - x) / 2
        way += f" C{x + bend:.1f} {y:.1f} {to_x - bend:.1f} {to_y:.1f} {to_x:.1f} {to_y:.1f}"
    return way


def _box(shown: Shown, x: float, y: float, width: float) -> str:
    fill, stroke = _COLOURS[shown.look]
    radius = _HEIGHT / 2 if shown.is_run else 6
    return (
        f'<g class="{shown.look}"><title>{escape(shown.detail)}</title>'
        f'<rect x="{x - width / 2:.1f}" y="{y - _HEIGHT / 2:.1f}" width="{width:.1f}"'
        f' height="{_HEIGHT:.0f}" rx="{radius:.0f}" fill={quoteattr(fill)}'
        f' stroke={quoteattr(stroke)} stroke-width="1.5"/>'
        f'<text class="name" x="{x:.1f}" y="{y - 2:.1f}">{escape(shown.name)}</text>'
        f'<text class="note" x="{x:.1f}" y="{y + 14:.1f}">{escape(shown.note)}</text></g>'
    )
