"""Where the boxes of a dependency graph go. Pure arithmetic, no drawing.

A layered layout: a node's column is one more than the largest column of what
it needs. An edge that skips columns gets a way-point in each column between,
so that it runs past boxes instead of through them. A few median sweeps order the
rows, which keeps most edges from crossing; then rows settle close to the rows
of their neighbours, which makes most edges straight.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

ORDER_SWEEPS = 8
SETTLE_SWEEPS = 12


@dataclass(frozen=True)
class Spot:
    """A place in the grid: column from the left, row from the top."""

    column: int
    row: float


@dataclass(frozen=True)
class Edge:
    """An edge from a node to one that needs it; ``path`` goes through the way-points."""

    start: str
    end: str
    path: tuple[Spot, ...]


@dataclass(frozen=True)
class Layout:
    """Spots of all nodes, routed edges, and the size of the grid in columns and rows."""

    spots: dict[str, Spot]
    edges: tuple[Edge, ...]
    columns: int
    rows: float


def arrange(needs: Mapping[str, Sequence[str]]) -> Layout:
    """Lay out a graph given as node -> nodes it needs. Needs of unknown nodes are left out.

    Edges that follow from others (a needs b, b needs c, a needs c) are not drawn.
    """
    known = {node: [need for need in wanted if need in needs] for node, wanted in needs.items()}
    reduced = _without_implied(known)
    column = _columns(reduced)
    chains = [_chain(start, end, column) for end, starts in reduced.items() for start in starts]
    grid = _ordered_grid(_grid(needs, chains, column), chains)
    rows = _settled_rows(grid, chains)
    spots = {key: Spot(index, rows[key]) for index, keys in enumerate(grid) for key in keys}
    return Layout(
        spots={node: spots[node] for node in needs},
        edges=tuple(Edge(chain[0], chain[-1], tuple(spots[key] for key in chain)) for chain in chains),
        columns=len(grid),
        rows=1 + max(rows.values(), default=-1.0),
    )


def _without_implied(needs: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    reach: dict[str, set[str]] = {}

    def below(node: str) -> set[str]:
        if node not in reach:
            reach[node] = set().union(*({need} | below(need) for need in needs[node]))
        return reach[node]

    return {
        node: [n for n in wanted if not any(n in below(other) for other in wanted if other != n)]
        for node, wanted in needs.items()
    }


def _columns(needs: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """The length of the longest path of needs below each node."""
    column: dict[str, int] = {}

    def earliest(node: str) -> int:
        if node not in column:
            column[node] = 1 + max((earliest(need) for need in needs[node]), default=-1)
        return column[node]

    for node in needs:
        earliest(node)
    return column


def _chain(start: str, end: str, column: Mapping[str, int]) -> list[str]:
    """The nodes an edge passes: its start, a way-point in each skipped column, its end."""
    between = range(column[start] + 1, column[end])
    return [start, *(f"{start}>{end}@{index}" for index in between), end]


def _grid(nodes: Mapping[str, object], chains: Sequence[Sequence[str]], column: Mapping[str, int]) -> list[list[str]]:
    grid: list[list[str]] = [[] for _ in range(1 + max(column.values(), default=-1))]
    for node in nodes:
        grid[column[node]].append(node)
    for chain in chains:
        for offset, key in enumerate(chain[1:-1], start=1):
            grid[column[chain[0]] + offset].append(key)
    return grid


def _ordered_grid(grid: list[list[str]], chains: Sequence[Sequence[str]]) -> list[list[str]]:
    """The grid with each column reordered so that few edges cross."""
    before, after = _neighbours(chains)
    best, fewest = grid, _crossings(grid, after)
    for sweep in range(ORDER_SWEEPS):
        forward = sweep % 2 == 0
        step, neighbours = (1, before) if forward else (-1, after)
        grid = [list(keys) for keys in grid]
        for index in range(1, len(grid)) if forward else range(len(grid) - 2, -1, -1):
            position = {key: row for row, key in _centred(grid[index - step], grid)}
            grid[index] = _ordered(grid[index], neighbours, position)
        crossings = _crossings(grid, after)
        if crossings < fewest:
            best, fewest = grid, crossings
    return best


def _neighbours(chains: Sequence[Sequence[str]]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """For each key the keys one column before it, and the keys one column after it."""
    before: dict[str, list[str]] = {}
    after: dict[str, list[str]] = {}
    for chain in chains:
        for left, right in pairwise(chain):
            before.setdefault(right, []).append(left)
            after.setdefault(left, []).append(right)
    return before, after


def _settled_rows(grid: Sequence[Sequence[str]], chains: Sequence[Sequence[str]]) -> dict[str, float]:
    """Rows that keep the order of each column, at least one apart, near those of the neighbours."""
    before, after = _neighbours(chains)
    rows = {key: row for keys in grid for row, key in _centred(keys, grid)}
    for sweep in range(SETTLE_SWEEPS):
        for keys in grid if sweep % 2 == 0 else reversed(grid):
            wishes = [_wish(key, before, after, rows) for key in keys]
            rows.update(zip(keys, _spread(wishes), strict=True))
    top = min(rows.values(), default=0.0)
    # Halves only: two rows that differ by a hair would look like a mistake. Rounding this
    # way keeps rows that are one apart at least one apart.
    return {key: math.floor(2 * (row - top) + 0.5) / 2 for key, row in rows.items()}


def _wish(
    key: str, before: Mapping[str, list[str]], after: Mapping[str, list[str]], rows: Mapping[str, float]
) -> float:
    near = [rows[other] for other in (*before.get(key, ()), *after.get(key, ()))]
    return sum(near) / len(near) if near else rows[key]


def _spread(wishes: Sequence[float]) -> list[float]:
    """The rows closest to the wishes (least squares) that are at least one apart, in order.

    Pool adjacent violators: neighbours that would come too close share one block.
    """
    blocks: list[tuple[float, int]] = []  # mean of (wish - index), number of entries
    for index, wish in enumerate(wishes):
        mean, size = wish - index, 1
        while blocks and blocks[-1][0] > mean:
            other, count = blocks.pop()
            mean, size = (mean * size + other * count) / (size + count), size + count
        blocks.append((mean, size))
    offsets = [mean for mean, size in blocks for _ in range(size)]
    return [offset + index for index, offset in enumerate(offsets)]


def _ordered(keys: Sequence[str], neighbours: Mapping[str, Sequence[str]], position: Mapping[str, float]) -> list[str]:
    def middle(entry: tuple[int, str]) -> tuple[float, int]:
        index, key = entry
        rows = sorted(position[other] for other in neighbours.get(key, ()))
        return (rows[len(rows) // 2] if rows else float(index), index)

    return [key for _, key in sorted(enumerate(keys), key=middle)]


def _crossings(grid: Sequence[Sequence[str]], after: Mapping[str, Sequence[str]]) -> int:
    total = 0
    for left, right in pairwise(grid):
        row = {key: index for index, key in enumerate(right)}
        lines = [(i, row[end]) for i, key in enumerate(left) for end in after.get(key, ())]
        total += sum(1 for n, (a, b) in enumerate(lines) for c, d in lines[n + 1 :] if (a - c) * (b - d) < 0)
    return total


def _centred(keys: Sequence[str], grid: Sequence[Sequence[str]]) -> list[tuple[float, str]]:
    """Rows of one column, centred in the height of the grid."""
    height = max(len(column) for column in grid)
    top = (height - len(keys)) / 2
    return [(top + index, key) for index, key in enumerate(keys)]
