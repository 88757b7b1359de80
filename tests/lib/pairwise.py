# SPDX-License-Identifier: Apache-2.0
"""All pairs: few rows in which every two values of different factors meet.

    rows = pairwise.rows({"os": ["a", "b"], "net": [4, 6], "tls": [False, True]},
                         allowed=lambda row: not (row.get("os") == "a" and row.get("tls")))

Greedy, one row at a time (as PICT and AETG do), hence not minimal, but close; the same rows for the
same factors and seed. `allowed` judges a row that may be incomplete: False once it can no longer
become a good one. A pair that no allowed row can hold is left out.
"""

from __future__ import annotations

import itertools
import random
from typing import Any, Callable, Iterator, Mapping, Optional, Sequence

Row = dict[str, Any]
Pair = tuple[tuple[str, int], tuple[str, int]]       # two factors, each with the place of its value
Allowed = Callable[[Row], bool]

CANDIDATES = 30              # rows tried for each row taken


class _Builder:
    def __init__(self, factors: Mapping[str, Sequence[Any]], allowed: Allowed, seed: int) -> None:
        self.factors = {name: list(values) for name, values in factors.items()}
        self.allowed = allowed
        self.random = random.Random(seed)
        self.missing = set(self._pairs())

    def row(self, places: Mapping[str, int]) -> Row:
        """In the order of the factors."""
        return {name: self.factors[name][places[name]] for name in self.factors if name in places}

    def _pairs(self) -> Iterator[Pair]:
        """Every pair that some allowed row holds."""
        for one, two in itertools.combinations(self.factors, 2):
            for i, j in itertools.product(range(len(self.factors[one])),
                                          range(len(self.factors[two]))):
                if self.complete({one: i, two: j}, shuffled=False) is not None:
                    yield (one, i), (two, j)

    def complete(self, places: Mapping[str, int], shuffled: bool) -> Optional[dict[str, int]]:
        """An allowed row that holds these values, or None; the best choice first, by backtracking."""
        if not self.allowed(self.row(places)):
            return None
        rest = [name for name in self.factors if name not in places]
        if not rest:
            return dict(places)
        name = self.random.choice(rest) if shuffled else rest[0]
        order = list(range(len(self.factors[name])))
        if shuffled:
            self.random.shuffle(order)
            order.sort(key=lambda i: -self.gain({**places, name: i}, name))
        for i in order:
            found = self.complete({**places, name: i}, shuffled)
            if found is not None:
                return found
        return None

    def gain(self, places: Mapping[str, int], name: str) -> int:
        """How many missing pairs the value of this factor makes with the others."""
        return sum(self._pair(name, other, places) in self.missing
                   for other in places if other != name)

    def _pair(self, one: str, two: str, places: Mapping[str, int]) -> Pair:
        names = list(self.factors)
        first, second = sorted((one, two), key=names.index)
        return (first, places[first]), (second, places[second])

    def covered(self, places: Mapping[str, int]) -> set[Pair]:
        return {self._pair(a, b, places) for a, b in itertools.combinations(self.factors, 2)}

    def next_row(self) -> dict[str, int]:
        """Of several rows around a missing pair, the one with the most of them."""
        best: Optional[dict[str, int]] = None
        wanted = sorted(self.missing)
        for _ in range(CANDIDATES):
            found = self.complete(dict(self.random.choice(wanted)), shuffled=True)
            assert found is not None             # else the pair were not missing
            if best is None or self.score(found) > self.score(best):
                best = found
        assert best is not None
        return best

    def score(self, places: Mapping[str, int]) -> int:
        return len(self.covered(places) & self.missing)


def rows(factors: Mapping[str, Sequence[Any]], allowed: Allowed = lambda row: True,
         seed: int = 0) -> list[Row]:
    """Rows {factor: value} that hold every possible pair of values at least once."""
    builder = _Builder(factors, allowed, seed)
    made = []
    while builder.missing:
        places = builder.next_row()
        builder.missing -= builder.covered(places)
        made.append(builder.row(places))
    return made
