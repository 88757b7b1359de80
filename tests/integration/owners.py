# SPDX-License-Identifier: Apache-2.0
"""Who claims which slots, asked of every server all the time."""

from __future__ import annotations

import itertools
import sys
import threading
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from muster_test import Lab, LabError, resp  # noqa: E402

PERIOD = 0.1


def overlap(one: list[tuple[int, int]], other: list[tuple[int, int]]) -> int:
    return sum(max(0, min(a[1], b[1]) - max(a[0], b[0]) + 1) for a in one for b in other)


class Owners:
    """Slots that two servers called their own at once, as each says itself. A context."""

    def __init__(self, lab: Lab) -> None:
        self.samples = 0
        self.twice: set[str] = set()
        self._lab, self._over = lab, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Owners":
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._over.set()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._over.wait(PERIOD):
            try:
                addresses = self._lab.ask("addresses")
            except LabError:
                continue
            claims = {pod: self._claim(address) for pod, address in addresses.items()}
            for (pod, one), (mate, other) in itertools.combinations(claims.items(), 2):
                if overlap(one, other):
                    self.twice.add(f"{pod} and {mate}: {overlap(one, other)} slots")
            self.samples += 1

    def _claim(self, address: str) -> list[tuple[int, int]]:
        try:
            nodes = resp.parse_nodes(resp.command(address, "CLUSTER", "NODES", timeout=0.5,
                                                  access=self._lab.access))
        except (OSError, resp.RespError):
            return []
        return next((n.slots for n in nodes if "myself" in n.flags and n.is_primary), [])
