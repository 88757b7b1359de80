#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Pods whose addresses are not their own any more: swapped, or none yet."""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from keyed import Cluster  # noqa: E402
from muster_test import Lab, MusterTestCase, main, on_servers  # noqa: E402

NODE_TIMEOUT = 2000


class Addresses(MusterTestCase):
    """FAULTS B1, B3: every server is found again by its id, and nobody's role moves."""

    timeout = 240

    @on_servers("redis-7.0", "valkey-9")
    def test_pods_that_swap_their_addresses(self, server: str) -> None:
        with Lab(pods=6, server=server) as lab:
            lab.up()
            cluster = Cluster(lab)
            cluster.write()
            self.wait_until(lambda: len(cluster.primaries()) == 3, 40, "replicas in sync")
            primaries = cluster.primaries()
            before = {pod: lab.address(pod) for pod in primaries}
            begin = time.monotonic()
            lab.readdress(primaries[0], primaries[1], grace=0, swap=True)    # else they hand over
            lab.wait("formed", timeout=60)
            print(f"{server}: two primaries swapped their addresses, whole after "
                  f"{time.monotonic() - begin:.1f} s")
            self.assertEqual(lab.address(primaries[0]), before[primaries[1]])
            self.assertEqual(lab.address(primaries[1]), before[primaries[0]])
            self.assertEqual(cluster.lost(), 0)
            self.assertEqual(cluster.masters(), primaries, "no role moved")
            for pod in lab.pods():
                self.assertNotIn("noaddr", lab.text(pod, "CLUSTER", "NODES"), pod)
            # A replica tells how far it is once a second, so not at once.
            self.wait_until(lambda: cluster.primaries() == primaries, 20, "in sync again")

    @on_servers("valkey-9", "redis-7.0")
    def test_two_primaries_go_and_one_pod_stays_pending(self, server: str) -> None:
        """The one that is back helps to find that the other failed: it must not be mere noaddr to it."""
        with Lab(pods=6, server=server, node_timeout=NODE_TIMEOUT,
                 settings={"hook.silentSeconds": 8}) as lab:
            lab.up()
            cluster = Cluster(lab)
            cluster.write()
            self.wait_until(lambda: len(cluster.primaries()) == 3, 40, "replicas in sync")
            back, pending, stays = cluster.primaries()
            lab.hold(pending)
            begin = time.monotonic()
            lab.delete(back, pending, grace=0, wait=False)
            self.wait_until(lambda: pending not in (now := cluster.masters()) and len(now) == 3, 60,
                            "two of three elect the heir of the third")
            self.assertIn(back, cluster.masters())
            self.assertIn(stays, cluster.masters())
            took = time.monotonic() - begin
            self.wait_until(lambda: cluster.lost() == 0, 30, "every key is served")
            lab.release(pending)
            self.wait_until(lambda: cluster.role(pending) == "slave", 60, "it follows its heir")
            lab.wait("formed", timeout=60)
            self.assertEqual(cluster.lost(), 0)
            print(f"{server}: two primaries deleted, one pod Pending: served again after "
                  f"{took:.1f} s, 0 keys lost")


if __name__ == "__main__":
    main()
