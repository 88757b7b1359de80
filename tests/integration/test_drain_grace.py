#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""FAULTS B14: whatever its grace period, a primary that is to stop hands over, or leaves clearly
while there is still time to stop in order.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from drain_case import NODE_TIMEOUT, QUICK, DrainTestCase, told, waited  # noqa: E402
from keyed import Cluster  # noqa: E402
from muster_test import Lab, main, on_servers  # noqa: E402

LEFT_SECONDS = 2             # SIGTERM has as long in any case


class Grace(DrainTestCase):
    @on_servers("redis-7.0", "valkey-9")
    def test_it_hands_over_or_leaves_in_time(self, server: str) -> None:
        with Lab(pods=6, server=server, node_timeout=NODE_TIMEOUT, settings=QUICK) as lab:
            cluster = self.formed(lab)
            lab.load_start()
            handed = [f"{grace} s: {self.hands_over(lab, pod, grace):.2f} s"
                      for pod, grace in zip(cluster.masters(), (120, 30, 5))]
            lab.wait("formed", timeout=60)
            alone = self.without_replicas(cluster)
            left = [f"{grace} s: {self.leaves(lab, pod, grace):.2f} s"
                    for (pod, _), grace in zip(alone[:2], (5, 30))]
            late = self.takes_the_first_chance(lab, *alone[2], grace=120)
            for _, replica in alone[:2]:
                lab.release(replica)
            self.whole(lab)
            lab.load_stop()
            self.assertLessEqual({"PrimaryHandedOver", "PrimaryNotHandedOver", "DrainWaits"},
                                 cluster.events())
            report = self.nothing_lost(lab, f"B14 {server}")
            print(f"B14 {server}: by its grace period a primary handed over after "
                  f"{', '.join(handed)}; nobody there, it left after {', '.join(left)}; with "
                  f"120 s, its replica back meanwhile, it handed over after {late:.2f} s; lost "
                  f"{report['lost']}")

    def hands_over(self, lab: Lab, pod: str, grace: int) -> float:
        lab.delete(pod, grace=grace, timeout=60)
        line = self.ends(lab, pod, 0, 10)
        self.assertIn("level=info", line)
        self.assertRegex(line, rf"{pod} handed its \d+ slots over to muster-\d")
        self.assertLess(waited(line), grace - LEFT_SECONDS)
        return waited(line)

    def without_replicas(self, cluster: Cluster) -> list[tuple[str, str]]:
        """Each primary, and its replica whose next pod waits for release()."""
        shards = [(pod, replicas[0]) for pod, replicas in cluster.shards().items()]
        for _, replica in shards:
            cluster.lab.hold(replica)
            cluster.lab.delete(replica, wait=False)
        self.wait_until(lambda: all(not cluster.lab.pods()[replica]["ip"] for _, replica in shards),
                        30, "the replicas are gone")
        return shards

    def leaves(self, lab: Lab, pod: str, grace: int) -> float:
        """Nobody is there, but its data is on disk: DESIGN 5.5's max(grace/2, grace - 10 s)."""
        before = len([line for line in told(lab, "drained") if f'"{pod} ' in line])
        lab.delete(pod, grace=grace, timeout=90)
        line = self.ends(lab, pod, before, 10)
        self.assertIn("level=warn", line)
        self.assertRegex(line, rf"{pod} stops as the primary of \d+ slots: no hand-over within "
                         rf"\d+ s \(.*\); its data is on disk")
        self.assertGreaterEqual(waited(line), max(grace / 2, grace - 10))
        self.assertLess(waited(line), grace - LEFT_SECONDS)
        return waited(line)

    def takes_the_first_chance(self, lab: Lab, pod: str, replica: str, grace: int) -> float:
        before = len([line for line in told(lab, "drained") if f'"{pod} ' in line])
        lab.delete(pod, grace=grace, wait=False)
        self.says(lab, pod, f"{pod} holds its", 10)
        lab.release(replica)
        line = self.ends(lab, pod, before, 40)
        self.assertRegex(line, rf"{pod} handed its \d+ slots over to {replica}")
        return waited(line)


if __name__ == "__main__":
    main()
