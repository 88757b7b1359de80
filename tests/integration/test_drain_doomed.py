#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""NOTES (7): nine pods, six, nine again, and nothing is on disk. A primary above the size hands over
to a replica that stays; one that has none holds to the end of its grace, and says so.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from drain_case import NODE_TIMEOUT, SWIFT, DrainTestCase, waited  # noqa: E402
from keyed import Cluster  # noqa: E402
from muster_test import Lab, main, on_servers  # noqa: E402

GRACE = 20
AWAY_SECONDS = 10            # for which there are six: their nodes fail, and may be forgotten
PAUSE = 2 * NODE_TIMEOUT / 1000 + 2      # DESIGN 5.5, rule 2: after the hand-over of the test's own
DOOMED = ["muster-6", "muster-7", "muster-8"]


class Doomed(DrainTestCase):
    @on_servers("redis-7.0", "valkey-9", first=0)
    def test_nine_six_nine_without_persistence(self, server: str) -> None:
        with Lab(pods=9, replicas_per_primary=2, server=server, node_timeout=NODE_TIMEOUT,
                 persistence="none", grace=GRACE, settings=SWIFT) as lab:
            cluster = self.formed(lab)
            self.make_primary(cluster, DOOMED[2])
            lab.load_start()
            lab.scale(6)
            line = self.ends(lab, DOOMED[2], 0, 1)
            self.assertRegex(line, rf"{DOOMED[2]} handed its \d+ slots over to muster-[0-5]\W")
            time.sleep(AWAY_SECONDS)
            lab.scale(9)
            self.whole(lab)
            lab.load_stop()
            report = self.nothing_lost(lab, f"(7) {server}")
            held = self.nobody_stays(cluster)
            print(f"(7) {server}: 9, 6, 9 pods without persistence, lost {report['lost']}; a "
                  f"primary whose whole shard goes held its slots for {held:.1f} s of {GRACE} s")

    def make_primary(self, cluster: Cluster, pod: str) -> None:
        cluster.lab.redis(pod, "CLUSTER", "FAILOVER")
        self.wait_until(lambda: cluster.role(pod) == "master", 10, f"{pod} is a primary")
        self.wait_until(lambda: len(cluster.primaries()) == 3, 40, "replicas in sync")
        time.sleep(PAUSE)

    def nobody_stays(self, cluster: Cluster) -> float:
        """All pods of a shard are above the size."""
        lab = cluster.lab
        owner = next(pod for pod, replicas in cluster.shards().items() if DOOMED[0] in replicas)
        if owner not in DOOMED:
            self.make_primary(cluster, DOOMED[0])
            owner = DOOMED[0]
        self.wait_until(lambda: self.is_apart(cluster, owner), 30, "a shard above the size", 1)
        self.wait_until(lambda: len(cluster.primaries()) == 3, 40, "replicas in sync")
        before = lab.log(owner).count("event=drained ")
        lab.scale(6, wait=False)
        line = self.ends(lab, owner, before, GRACE + 5)
        self.assertRegex(line, rf"level=warn .*{owner} stops as the primary of \d+ slots: no "
                         rf"hand-over within {GRACE - 2} s \(.*\); nothing keeps its data")
        self.assertGreaterEqual(waited(line), GRACE - 2)
        self.assertLess(waited(line), GRACE)
        return waited(line)

    def is_apart(self, cluster: Cluster, owner: str) -> bool:
        """The shard of `owner` is of pods above the size only; if not, makes it so."""
        lab, shards = cluster.lab, cluster.shards()
        if sorted([owner, *shards[owner]]) == DOOMED:
            return True
        other = next(pod for pod in shards if pod != owner)
        for primary, replicas in shards.items():
            for pod in replicas:
                wanted = owner if pod in DOOMED else other if primary == owner else primary
                if wanted != primary:
                    lab.redis(pod, "CLUSTER", "REPLICATE", lab.text(wanted, "CLUSTER", "MYID"))
        return False


if __name__ == "__main__":
    main()
