#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The rows of the formation matrix are what they are said to be: every possible pair, few of them."""

from __future__ import annotations

import itertools
import sys
import unittest
from pathlib import Path
from typing import Any, Mapping, Sequence

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

import pairwise  # noqa: E402
from muster_test import main  # noqa: E402
from test_matrix import FACTORS, SEED, is_possible  # noqa: E402

Factors = Mapping[str, Sequence[Any]]


def pairs_of(row: Mapping[str, Any]) -> set[tuple[tuple[str, Any], tuple[str, Any]]]:
    return set(itertools.combinations(row.items(), 2))


def possible_pairs(factors: Factors, allowed: pairwise.Allowed
                   ) -> set[tuple[tuple[str, Any], tuple[str, Any]]]:
    """By trying every row there is."""
    found = set()
    for values in itertools.product(*factors.values()):
        row = dict(zip(factors, values))
        if allowed(row):
            found |= pairs_of(row)
    return found


class Pairwise(unittest.TestCase):
    def check(self, factors: Factors, allowed: pairwise.Allowed, most: int, seed: int = 0) -> None:
        rows = pairwise.rows(factors, allowed, seed)
        self.assertEqual(rows, pairwise.rows(factors, allowed, seed), "the same again")
        for row in rows:
            self.assertEqual(list(row), list(factors))
            self.assertTrue(all(row[name] in factors[name] for name in row), row)
            self.assertTrue(allowed(row), row)
        covered = set().union(*(pairs_of(row) for row in rows))
        self.assertEqual(covered, possible_pairs(factors, allowed))
        self.assertLessEqual(len(rows), most)

    def test_every_pair_is_there(self) -> None:
        self.check({"a": [1, 2], "b": ["x", "y"], "c": [True, False]}, lambda row: True, 5)
        self.check({"a": range(5), "b": range(4), "c": range(3), "d": range(2), "e": range(2)},
                   lambda row: True, 23)
        self.check({f"f{i}": range(3) for i in range(7)}, lambda row: True, 19, seed=7)

    def test_constraints_are_kept_also_those_that_show_late(self) -> None:
        def apart(row: pairwise.Row) -> bool:
            return not (row.get("a") == 1 and row.get("b") == 2)

        def odd_sum(row: pairwise.Row) -> bool:
            return len(row) < 4 or sum(row.values()) % 2 == 1

        factors = {name: range(3) for name in "abcd"}
        self.check(factors, apart, 14)
        self.check(factors, odd_sum, 14)
        self.check(factors, lambda row: apart(row) and odd_sum(row), 14)
        self.assertEqual(pairwise.rows(factors, lambda row: False), [])

    def test_the_rows_of_the_matrix(self) -> None:
        self.check(FACTORS, is_possible, 26, SEED)


if __name__ == "__main__":
    main()
