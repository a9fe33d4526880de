"""Where the boxes of a picture of a graph stand: in layers, from left to right.

The method is that of Sugiyama, Tagawa and Toda (1981): break cycles, put each box behind all that
lead to it, let lines over several layers pass through points of these, order each layer by the
means of its neighbours to have few crossings, then pull boxes to the height of their neighbours.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from typing import Generic, TypeAlias, TypeVar

import msgspec

N = TypeVar("N", bound=Hashable)
_Point: TypeAlias = tuple[float, float]

_GAP_X, _GAP_Y = 70.0, 18.0
#: What would be wider goes on in another row below, to which lines lead around its ends.
_WIDEST, _GAP_ROWS, _AROUND = 3000.0, 60.0, 12.0
_SWEEPS = 12


class Placed(Generic[N]):
    """`at`: (x, y) of the middle of each box; `lines`: for each edge the points that it passes, the
    middles of its boxes among them; `width` and `height` of all boxes, beside which lines may pass
    by a few units."""

    def __init__(self) -> None:
        self.at: dict[N, tuple[float, float]] = {}
        self.lines: dict[tuple[N, N], list[tuple[float, float]]] = {}
        self.width = self.height = 0.0


class _Spot(msgspec.Struct, eq=False):
    """A box, or where a line passes a layer (`size` has no height)."""

    layer: int
    size: tuple[float, float]
    before: list[_Spot] = []
    after: list[_Spot] = []
    row: int = 0
    x: float = 0.0
    y: float = 0.0


def place(sizes: Mapping[N, tuple[float, float]], edges: Sequence[tuple[N, N]]) -> Placed[N]:
    """Place boxes of given (width, height), one at least, so that edges lead from left to right,
    and on in the next row, where they can. No edge leads from a box to itself."""
    forward = _without_cycles(list(sizes), edges)
    layers_of = _layers(list(sizes), forward)
    spots = {node: _Spot(layers_of[node], size) for node, size in sizes.items()}
    layers: list[list[_Spot]] = [[] for _ in range(1 + max(layers_of.values(), default=0))]
    for spot in spots.values():
        layers[spot.layer].append(spot)
    chains = {
        edge: _chain(spots[edge[0]], spots[edge[1]], layers) for edge in dict.fromkeys(forward)
    }
    _order(layers)
    placed: Placed[N] = Placed()
    rows, placed.width = _set_x(layers)
    _set_y(layers)
    tops, placed.height = _fold(rows)
    placed.at = {node: (spot.x, spot.y) for node, spot in spots.items()}
    for edge in dict.fromkeys(edges):
        if edge in chains:
            placed.lines[edge] = _line(chains[edge], tops, placed.width)
        else:
            placed.lines[edge] = _line(chains[edge[1], edge[0]], tops, placed.width)[::-1]
    return placed


def _line(chain: list[_Spot], tops: Sequence[float], width: float) -> list[_Point]:
    """The points of a line along its spots, layer by layer. It passes a layer on one height, so
    that it does not cut the boxes beside it, and between two rows on the way to the next one."""
    points = [(chain[0].x, chain[0].y)]
    for before, spot in itertools.pairwise(chain):
        if spot.row != before.row:
            between = tops[spot.row] - _GAP_ROWS / 2
            right, left = width + _AROUND, -_AROUND
            points += [(right, before.y), (right, between), (left, between), (left, spot.y)]
        half = spot.size[0] / 2 if spot is not chain[-1] else 0.0
        points += [(spot.x - half, spot.y), (spot.x + half, spot.y)] if half else []
    return [*points, (chain[-1].x, chain[-1].y)]


def _without_cycles(nodes: list[N], edges: Sequence[tuple[N, N]]) -> list[tuple[N, N]]:
    """The edges, those that close a cycle turned round."""
    targets: dict[N, list[N]] = defaultdict(list)
    for source, target in edges:
        targets[source].append(target)
    state: dict[N, int] = {}
    forward: list[tuple[N, N]] = []
    for root in nodes:
        stack = [(root, iter(targets[root]))] if root not in state else []
        state.setdefault(root, 1)
        while stack:
            node, rest = stack[-1]
            try:
                target = next(rest)
            except StopIteration:
                state[node] = 2
                stack.pop()
                continue
            back = state.get(target) == 1
            forward.append((target, node) if back else (node, target))
            if target not in state:
                state[target] = 1
                stack.append((target, iter(targets[target])))
    return forward


def _layers(nodes: list[N], edges: Sequence[tuple[N, N]]) -> dict[N, int]:
    """Each node behind all that lead to it; then those without any, as near to theirs as can be."""
    targets: dict[N, list[N]] = defaultdict(list)
    missing = dict.fromkeys(nodes, 0)
    for source, target in edges:
        targets[source].append(target)
        missing[target] += 1
    layer = dict.fromkeys(nodes, 0)
    ready = [node for node in nodes if not missing[node]]
    first = list(ready)
    for node in ready:  # grows meanwhile
        for target in targets[node]:
            layer[target] = max(layer[target], layer[node] + 1)
            missing[target] -= 1
            if not missing[target]:
                ready.append(target)
    for node in first:
        if targets[node]:
            layer[node] = min(layer[target] for target in targets[node]) - 1
    return layer


def _chain(source: _Spot, target: _Spot, layers: list[list[_Spot]]) -> list[_Spot]:
    chain = [source]
    for layer in range(source.layer + 1, target.layer):
        spot = _Spot(layer, (0.0, 0.0))
        layers[layer].append(spot)
        chain.append(spot)
    chain.append(target)
    for one, other in itertools.pairwise(chain):
        one.after.append(other)
        other.before.append(one)
    return chain


def _order(layers: list[list[_Spot]]) -> None:
    for layer in layers:
        _number(layer)
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        for layer in layers if down else reversed(layers):
            layer.sort(key=_mean_before if down else _mean_after)
            _number(layer)


def _number(layer: list[_Spot]) -> None:
    for position, spot in enumerate(layer):
        spot.y = position / max(1, len(layer) - 1) if len(layer) > 1 else 0.5


def _mean_before(spot: _Spot) -> float:
    return _mean(spot.before, spot)


def _mean_after(spot: _Spot) -> float:
    return _mean(spot.after, spot)


def _mean(neighbours: list[_Spot], spot: _Spot) -> float:
    return sum(one.y for one in neighbours) / len(neighbours) if neighbours else spot.y


def _set_x(layers: list[list[_Spot]]) -> tuple[list[list[_Spot]], float]:
    """What is in each row, and the width of the widest."""
    rows: list[list[_Spot]] = [[]]
    x = widest = 0.0
    for layer in layers:
        width = max((spot.size[0] for spot in layer), default=0.0)
        if x and x + width > _WIDEST:
            rows.append([])
            x = 0.0
        for spot in layer:
            spot.x, spot.row = x + width / 2, len(rows) - 1
            if not spot.size[1]:
                spot.size = (width, 0.0)
        rows[-1] += layer
        widest = max(widest, x + width)
        x += width + _GAP_X
    return rows, widest


def _fold(rows: list[list[_Spot]]) -> tuple[list[float], float]:
    """Put each row below the one before; the top of each, and the bottom of the last."""
    tops: list[float] = []
    bottom = -_GAP_ROWS
    for row in rows:
        tops.append(bottom + _GAP_ROWS)
        top = min(spot.y - spot.size[1] / 2 for spot in row)
        for spot in row:
            spot.y += tops[-1] - top
        bottom = max(spot.y + spot.size[1] / 2 for spot in row)
    return tops, bottom


def _set_y(layers: list[list[_Spot]]) -> None:
    for layer in layers:
        y = 0.0
        for spot in layer:
            spot.y = y + spot.size[1] / 2
            y += spot.size[1] + _GAP_Y
    for sweep in range(_SWEEPS):
        for layer in layers if sweep % 2 == 0 else reversed(layers):
            _settle(layer)


def _settle(layer: list[_Spot]) -> None:
    """Move boxes to the means of their neighbours, their order and the gaps kept."""
    wanted = [_mean(spot.before + spot.after, spot) for spot in layer]
    low: list[float] = []
    for i, spot in enumerate(layer):
        least = low[-1] + _apart(layer[i - 1], spot) if low else wanted[i]
        low.append(max(wanted[i], least))
    high = list(wanted)
    for i in range(len(layer) - 2, -1, -1):
        high[i] = min(wanted[i], high[i + 1] - _apart(layer[i], layer[i + 1]))
    for spot, one, other in zip(layer, low, high, strict=True):
        spot.y = (one + other) / 2


def _apart(one: _Spot, other: _Spot) -> float:
    return (one.size[1] + other.size[1]) / 2 + _GAP_Y
