#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A network that is slow and loses packets: everything takes longer, and nothing is done that would not be
done else (FAULTS D9, without slot moves).
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from cut_case import SETTINGS, CutTestCase  # noqa: E402
from keyed import Cluster  # noqa: E402
from muster_test import Lab, main, on_servers  # noqa: E402
from slow import Slow  # noqa: E402

NODE_TIMEOUT = 15000
CALM_SECONDS = 8
GRACE_SECONDS = 30
LOSS = 0.01
DELAYS_MS = (50, 200, 1000)
# Nobody waits longer than a second for an answer.
BLIND_MS = 500


class Slowly(CutTestCase):
    @on_servers("redis-7.0", "valkey-9", first=0)
    def test_slower_and_not_wrong(self, server: str) -> None:
        with Lab(pods=6, server=server, node_timeout=NODE_TIMEOUT, grace=GRACE_SECONDS,
                 settings=SETTINGS) as lab:
            cluster = self.formed(lab)
            lab.load_start(writers=1)
            lost = 0
            for number, delay_ms in enumerate(DELAYS_MS):
                with Slow(lab, seed=number) as slow:     # of the pods that are there now
                    self.whole(lab)
                    self.wait_until(lambda: self.followed(cluster) == 3, 60, "replicas are sent writes")
                    slow.delay, slow.loss = delay_ms / 1000, LOSS
                    said = f"{server}: D9 {delay_ms} ms each way"
                    self.nothing_is_done(cluster, said)
                    if delay_ms < BLIND_MS:
                        self.drained(cluster, number, said)
                    lost += slow.lost
            self.whole(lab)
            lab.load_stop()
            print(f"{server}: D9 {lost} packets lost")
            self.assertGreater(lost, 0)
            self.nothing_lost(lab, f"{server}, D9")

    @staticmethod
    def followed(cluster: Cluster) -> int:
        """Under load no replica has everything at the moment when it is asked."""
        return sum(role[0] == b"master" and bool(role[2]) for role in cluster.roles().values())

    def nothing_is_done(self, cluster: Cluster, what: str) -> None:
        lab = cluster.lab
        before, restarts, won = cluster.acts(), self.restarts(lab), self.elected(lab)
        time.sleep(CALM_SECONDS)
        acts = self.acts_since(cluster, before)
        print(f"{what}: acts {len(acts)}, elections {self.elected(lab) - won} in {CALM_SECONDS} s")
        self.assertEqual(acts, [])
        self.assertEqual(self.elected(lab), won)
        self.assertEqual(self.restarts(lab), restarts)

    def drained(self, cluster: Cluster, number: int, what: str) -> None:
        """A primary is to stop: it hands over, or leaves with its data on its disk."""
        lab = cluster.lab
        pod = sorted(cluster.masters())[number % 3]
        lab.delete(pod, wait=False)
        line = self.ends(lab, pod, 0, GRACE_SECONDS + 5)
        print(f"{what}: {line.partition('msg=')[2][:150]}")


if __name__ == "__main__":
    main()
