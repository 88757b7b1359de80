#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`kubectl scale` out and in under load, with `policy.scaling: auto`: slots follow the StatefulSet's
size, pods above it are held in preStop until they are empty, and nothing is lost.
"""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from drain_case import NODE_TIMEOUT, SWIFT, DrainTestCase, told  # noqa: E402
from keyed import Cluster  # noqa: E402
from muster_test import Lab, main, on_servers  # noqa: E402

SCALING = {**SWIFT, "policy.scaling": "auto"}
KEYS = 3000
GRACE = 600
SCALE_SECONDS = 180          # of a busy machine


class Scale(DrainTestCase):
    timeout = 900

    @on_servers("redis-7.0", "valkey-9", "redis-8.0", "valkey-8.1", first=0)
    def test_six_eight_six_under_load(self, server: str) -> None:
        with Lab(pods=6, server=server, node_timeout=NODE_TIMEOUT, grace=GRACE,
                 settings=SCALING) as lab:
            cluster = self.formed(lab)
            cluster.keys = KEYS
            cluster.write()
            lab.load_start()
            out = self.scaled(cluster, 8, 4)
            self.assertEqual(cluster.lost(), 0)
            into = self.scaled(cluster, 6, 3)
            lab.load_stop()
            report = self.nothing_lost(lab, f"{server}: 6, 8, 6 pods")
            self.assertEqual(cluster.lost(), 0)
            self.assertEqual(self.left_with_slots(lab), [])
            print(f"{server}: 6 -> 8 in {out:.1f} s, 8 -> 6 in {into:.1f} s, slots moved "
                  f"{self.moved(lab)}, longest MIGRATE {self.longest(lab)} ms, longest gap "
                  f"{report['longestGapMs']} ms, p99 {report['p99Ms']} ms")

    # -- what happens

    def scaled(self, cluster: Cluster, pods: int, shards: int) -> float:
        began = time.monotonic()
        cluster.lab.scale(pods, wait=False)
        self.wait_until(lambda: self.stands(cluster, pods, shards), SCALE_SECONDS,
                        f"{pods} pods with {shards} shards", 0.5)
        return time.monotonic() - began

    def stands(self, cluster: Cluster, pods: int, shards: int) -> bool:
        """As many pods, the slots evenly with as many primaries of them, nothing half-moved."""
        lab = cluster.lab
        if len(lab.pods()) != pods:
            return False
        owned = []
        for pod in lab.pods():
            line = next(line for line in lab.text(pod, "CLUSTER", "NODES").splitlines()
                        if "myself" in line).split()
            slots = slots_of(line[8:])
            if any("[" in word for word in line[8:]) or (slots and "master" not in line[2]):
                return False
            if slots:
                owned.append(slots)
        even = 16384 // shards
        return (len(owned) == shards and sum(owned) == 16384 and
                all(abs(slots - even) <= 1 for slots in owned))

    # -- what was told

    def moved(self, lab: Lab) -> int:
        return sum(int(found[1]) for line in told(lab, "moved")
                   if (found := re.search(r" slots=(\d+)", line)))

    def longest(self, lab: Lab) -> int:
        return max((int(found[1]) for line in told(lab, "moved")
                    if (found := re.search(r" longest_ms=(\d+)", line))), default=0)

    def left_with_slots(self, lab: Lab) -> list[str]:
        """Drains of pods that took slots along."""
        return [line for path in sorted(lab.state.glob("pods/*/logs/agent.log"))
                for line in path.read_text(errors="replace").splitlines()
                if "event=drained " in line and "stops as the primary of" in line]


def slots_of(words: list[str]) -> int:
    """How many slots the words at the end of a line of CLUSTER NODES name."""
    total = 0
    for word in words:
        if word.startswith("["):
            continue
        first, _, last = word.partition("-")
        total += int(last or first) - int(first) + 1
    return total


if __name__ == "__main__":
    main()
