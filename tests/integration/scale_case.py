# SPDX-License-Identifier: Apache-2.0
"""Sizes that change with `policy.scaling: auto`: until slots follow them, and what was told of it."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from drain_case import NODE_TIMEOUT, SWIFT, DrainTestCase, told  # noqa: E402
from keyed import Cluster  # noqa: E402
from muster_test import Lab  # noqa: E402

SCALING = {**SWIFT, "policy.scaling": "auto", "lab.backoff": 0.5}
KEYS = 3000
GRACE = 600
SCALE_SECONDS = 400          # of a busy machine, by SETSLOT, for which Valkey waits for its replicas


class ScaleTestCase(DrainTestCase):
    timeout = 1500
    parallel = 1                 # what clients wait is a figure

    # -- a cluster that is used

    def lab(self, server: str, grace: int = GRACE, auth: bool = False, **settings: object) -> Lab:
        return Lab(pods=6, server=server, node_timeout=NODE_TIMEOUT, grace=grace, auth=auth,
                   settings={**SCALING, **settings})

    def loaded(self, lab: Lab, load: bool = True) -> Cluster:
        cluster = self.formed(lab)
        cluster.keys = KEYS
        cluster.write()
        if load:
            lab.load_start()
        return cluster

    def unloaded(self, cluster: Cluster, what: str) -> None:
        cluster.lab.load_stop()
        report = self.nothing_lost(cluster.lab, what)
        self.assertEqual(cluster.lost(), 0)
        print(f"p99 {report['p99Ms']} ms")

    # -- what happens

    def moves(self, lab: Lab, pod: str) -> bool:
        """Slots are half-moved to this server or from it."""
        return any("[" in word for word in self.itself(lab, pod)[8:])

    def itself(self, lab: Lab, pod: str) -> list[str]:
        """What a server's CLUSTER NODES says of itself."""
        return next(line for line in lab.text(pod, "CLUSTER", "NODES").splitlines()
                    if "myself" in line).split()

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
            try:
                line = self.itself(lab, pod)
            except OSError:
                return False
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
