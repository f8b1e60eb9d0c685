"""Metrics in Prometheus' text format, as model servers give them (models.md 9)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

_LINE = re.compile(r"^(?P<name>[A-Za-z_:][\w:]*)(?:\{(?P<labels>.*)\})?\s+(?P<value>\S+)")
_BOUND = re.compile(r'(?:^|,)\s*le="([^"]+)"')
_BUCKET = "_bucket"

Buckets = Mapping[float, float]
"""Of a histogram: how many observations were at most so large, by upper bound."""


@dataclass(frozen=True)
class Samples:
    """What one server counted: values by metric name, summed over labels, and histograms by name without `_bucket`."""

    values: Mapping[str, float] = field(default_factory=dict)
    histograms: Mapping[str, Buckets] = field(default_factory=dict)

    def value(self, name: str) -> float:
        """A metric; 0 when the server does not have it."""
        return self.values.get(name, 0.0)


def parse(text: str) -> Samples:
    """Reads a page of metrics; lines that are none are passed over.

    >>> page = 'a_total{pod="x"} 2\\na_total{pod="y"} 3\\nb_bucket{le="0.5"} 1\\nb_bucket{le="+Inf"} 4'
    >>> parse(page)
    Samples(values={'a_total': 5.0}, histograms={'b': {0.5: 1.0, inf: 4.0}})
    """
    values: dict[str, float] = {}
    histograms: dict[str, dict[float, float]] = {}
    for name, labels, value in _lines(text):
        bound = _BOUND.search(labels) if name.endswith(_BUCKET) else None
        if bound:
            buckets = histograms.setdefault(name.removesuffix(_BUCKET), {})
            upper = float(bound[1])
            buckets[upper] = buckets.get(upper, 0.0) + value
        else:
            values[name] = values.get(name, 0.0) + value
    return Samples(values, histograms)


def _lines(text: str) -> Iterator[tuple[str, str, float]]:
    for line in text.splitlines():
        found = _LINE.match(line)
        if found:
            try:
                yield found["name"], found["labels"] or "", float(found["value"])
            except ValueError:
                continue


def since(before: Samples, after: Samples) -> Samples:
    """What was counted in between.  A server that started anew in between counts from 0."""
    return Samples(
        {name: _grown(before.value(name), value) for name, value in after.values.items()},
        {
            name: {bound: _grown(before.histograms.get(name, {}).get(bound, 0.0), count) for bound, count in of.items()}
            for name, of in after.histograms.items()
        },
    )


def _grown(before: float, after: float) -> float:
    return after - before if after >= before else after


def together(many: Iterator[Samples] | list[Samples]) -> Samples:
    """The sum over several servers."""
    values: dict[str, float] = {}
    histograms: dict[str, dict[float, float]] = {}
    for one in many:
        for name, value in one.values.items():
            values[name] = values.get(name, 0.0) + value
        for name, buckets in one.histograms.items():
            sums = histograms.setdefault(name, {})
            for bound, count in buckets.items():
                sums[bound] = sums.get(bound, 0.0) + count
    return Samples(values, histograms)


def quantile(buckets: Buckets, share: float) -> float | None:
    """The value that this share (0 to 1) of the observations does not exceed; None without observations.

    Between two bounds the observations count as evenly spread, as in Prometheus; above the last bound the answer is
    that bound.

    >>> quantile({0.1: 50, 0.2: 100, float("inf"): 100}, 0.75)
    0.15000000000000002
    """
    bounds = sorted(buckets)
    total = buckets[bounds[-1]] if bounds else 0.0
    if not total:
        return None
    wanted, below, lower = share * total, 0.0, 0.0
    for bound in bounds:
        count = buckets[bound]
        if count >= wanted:
            if bound == float("inf"):
                return lower
            return lower + (bound - lower) * ((wanted - below) / (count - below) if count > below else 1.0)
        below, lower = count, bound
    return lower
