#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Agents whose clocks are wrong: nobody takes the Lease from who holds it (FAULTS A13)."""

from __future__ import annotations

import datetime
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from cut_case import CutTestCase  # noqa: E402
from keyed import Cluster  # noqa: E402
from muster_test import Lab, main, on_servers  # noqa: E402
from skew import Skew  # noqa: E402

HOUR = 3600
LEASE_SECONDS = 15
WALL_SECONDS = 10            # the Lease is written and read more often
RATE_SECONDS = 20            # longer than it lasts
OLD_SECONDS = 7              # the leader's last word
AGENTS = [f"muster-{i}" for i in range(3)]
# The leader's clock and another's; for how long, and by how much the leader's is ahead at the end.
CLOCKS: tuple[tuple[str, tuple[dict[str, float], dict[str, float]], int, float], ...] = (
    ("an hour ahead, another's an hour behind", ({"wall": HOUR}, {"wall": -HOUR}), WALL_SECONDS, HOUR),
    ("an hour behind, another's an hour ahead", ({"wall": -HOUR}, {"wall": HOUR}), WALL_SECONDS, -HOUR),
    ("right, another's twice as fast", ({}, {"rate": 2}), RATE_SECONDS, 0),
    ("half as fast", ({"rate": 0.5}, {}), RATE_SECONDS, -12))


class Skewed(CutTestCase):
    """It is counted on each agent's own clock, so it must do with wrong ones."""

    @on_servers("redis-7.0", "valkey-9", first=0)
    def test_the_lease_stays_with_who_holds_it(self, server: str) -> None:
        with Skew(*AGENTS) as skew, \
                Lab(pods=len(AGENTS), replicas_per_primary=0, server=server,
                    settings={"kubernetes.leaseSeconds": LEASE_SECONDS,
                              "lab.agentEnv": skew.env}) as lab:
            lab.up()
            cluster = Cluster(lab)
            leads = self.leader(lab, AGENTS)
            other = next(pod for pod in AGENTS if pod != leads)
            self.wait_until(lambda: "record: formed" in "".join(map(lab.log, AGENTS)), 20,
                            "nothing is left to do")
            before, restarts = cluster.acts(), self.restarts(lab)
            for name, changes, seconds, off in CLOCKS:
                moved = self.transitions(lab)
                for pod, change in zip((leads, other), changes):
                    skew.set(pod, **change)
                time.sleep(seconds)
                self.assertEqual((self.leader(lab, AGENTS), self.transitions(lab)), (leads, moved),
                                 name)
                self.assertLess(abs(self.ahead(lab) - off), OLD_SECONDS, f"{name}: it is not")
                print(f"{server}: A13 {name}: hands changed 0 in {seconds} s, acts 0")
            self.assertEqual(self.acts_since(cluster, before), [])
            self.assertEqual(self.restarts(lab), restarts)

    @staticmethod
    def transitions(lab: Lab) -> int:
        return int(lab.get("leases", "muster-muster")["spec"].get("leaseTransitions", 0))

    @staticmethod
    def ahead(lab: Lab) -> float:
        """By how much the leader's wall clock is, as it writes into the Lease; its last word is a bit old."""
        told = lab.get("leases", "muster-muster")["spec"]["renewTime"]
        return datetime.datetime.fromisoformat(told).timestamp() - time.time()


if __name__ == "__main__":
    main()
