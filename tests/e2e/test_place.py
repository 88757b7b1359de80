#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Placement while clients write: a node is drained and comes back, and primaries are spread over the nodes again without a
hand on it; then a node is lost for good, the others serve, and `muster check` says what is missing.

Only on the cluster that tests/e2e/cluster started (E2E_STATE): three nodes in three zones.
"""

from __future__ import annotations

import os
import re
import time
import unittest
from collections import Counter

from outage import Outage
from release import KUBECTL, call, figure, wait_until
from witness import cluster

NODE_TIMEOUT_MS = 5000
DRAIN_MAX = 60
# the quiet time, 10 s, and the votes that Redis up to 8.0 keeps for four times NODE_TIMEOUT_MS
SPREAD_MAX = 90
# nothing is moved any more for so long: the quiet time and the interval
STILL_SECONDS = 20
# a hand-over that comes to nothing pauses writes for 5 s
HANDOVER_MAX = 4.0
# NODE_TIMEOUT_MS, twice for a busy machine, and an election
ELECTION_MAX = 20.0
# writes that a node had acknowledged and not sent to its replica when its power went
UNSENT_MAX = 100


@unittest.skipUnless(os.environ.get("E2E_STATE"), "the nodes of a given cluster are not ours to end")
class Place(Outage):
    """One release for both tests, on volumes of the nodes: its pods wait for theirs. A drain that empties a node evicts two
    of them at once, neither of which is back before it ends."""

    values = {"policy__placement": "enforce", "policy__placementMinInterval": 5, "log__level": "debug",
              "server__nodeTimeout": NODE_TIMEOUT_MS, "podDisruptionBudget__maxUnavailable": 2}

    def held(self) -> dict[str, int]:
        """How many primaries each node holds that holds any."""
        pods = self.pods()
        return dict(Counter(pods[one]["spec"]["nodeName"] for one in self.shards()))

    def is_spread(self) -> bool:
        return sorted(self.held().values()) == [1, 1, 1]

    def moves(self, since: float) -> list[str]:
        """What placement, or a drain, has ordered."""
        return [line for line in self.logs.acts(since) if "CLUSTER FAILOVER" in line]

    def test_1_a_node_is_drained_and_comes_back(self) -> None:
        wait_until(self.is_spread, SPREAD_MAX, "spread at first")
        node, gone, witness = self.choose_node()
        self.addCleanup(call, KUBECTL, "uncordon", node)
        with self.load(f"{node} drained, and back") as report:
            begun = time.time()
            call(KUBECTL, "drain", node, "--ignore-daemonsets", "--delete-emptydir-data", f"--timeout={DRAIN_MAX}s",
                 timeout=DRAIN_MAX + 10)
            drained = time.time()
            wait_until(lambda: self.served_without(gone, witness), 60, f"every slot served without {gone}")
            self.missed(gone, witness)
            call(KUBECTL, "uncordon", node)
            piled = self.held()
            whole = time.time()
            wait_until(self.is_spread, SPREAD_MAX, "spread again")
            spread = time.time()
            done = self.moves(begun)
            time.sleep(STILL_SECONDS)
            self.assertEqual(self.moves(spread), [], "an order for nothing")
        self.paused(f"{node} drained, and back", report, begun, spread + STILL_SECONDS, HANDOVER_MAX)
        figure(f"Place, {node} drained in {drained - begun:.0f} s; primaries by node {piled} when it was back, spread again "
               f"{spread - whole:.0f} s after that; hand-overs {len(done)}, of which one by the drain")
        self.assertEqual(len(done), 2, done)
        wait_until(lambda: re.search(r"is to take the \d+ slots of ", self.release.events("PrimaryMoved")), 30, "its Event")
        self.checks()

    def test_2_a_node_is_lost_for_good(self) -> None:
        node, gone, witness = self.choose_node()
        self.addCleanup(cluster, "up")
        with self.load(f"{node} lost for good", UNSENT_MAX) as report:
            cut = time.time()
            cluster("cut", node)
            wait_until(lambda: self.served_without(gone, witness), 60, f"every slot served without {gone}")
            served = time.time()
            self.missed(gone, witness)
            time.sleep(STILL_SECONDS)
            self.assertEqual([line for line in self.logs.acts(cut) if re.search("FORGET|FAILOVER", line)], [])
        self.paused(f"{node} lost for good (cluster-node-timeout {NODE_TIMEOUT_MS / 1000:.0f} s)", report, cut, served + 5,
                    ELECTION_MAX)
        said = next(line for line in self.release.check(witness)[1].splitlines() if "are missing" in line)
        figure(f"Place, every slot served by others {served - cut:.0f} s after the end of {node}; muster check says: "
               f"{' '.join(said.split())}")


if __name__ == "__main__":
    unittest.main(verbosity=2)
