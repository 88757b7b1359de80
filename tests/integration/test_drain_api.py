#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""FAULTS A7, A8: the API goes down before a drain, after its beginning, after its order. Drains need
nothing of it.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from drain_case import NODE_TIMEOUT, QUICK, DrainTestCase, Unheard, orders, waited  # noqa: E402
from keyed import Cluster  # noqa: E402
from muster_test import Lab, main, on_servers  # noqa: E402

# Leases are of 3 s here instead of 15 s. Its word counts as fresh for 90 s, which CI waits for.
DOWN_SECONDS = 20 if os.environ.get("SERVERS", "first") == "first" else 100


class Api(DrainTestCase):
    @on_servers("redis-7.0", "valkey-9")
    def test_drains_without_the_api(self, server: str) -> None:
        with Lab(pods=6, server=server, node_timeout=NODE_TIMEOUT, settings=QUICK) as lab:
            cluster = self.formed(lab)
            lab.load_start()
            for step in (self.after_the_order, self.after_the_beginning, self.long_before):
                print(f"\n{server}: {step(cluster)}", end="")
                lab.api("up")
                self.whole(lab)
            lab.load_stop()
            self.nothing_lost(lab, f"A7, A8 {server}")

    def after_the_order(self, cluster: Cluster) -> str:
        lab = cluster.lab
        pod = sorted(cluster.shards())[0]
        before = orders(lab)
        lab.delete(pod, wait=False)
        self.wait_until(lambda: orders(lab) > before, 10, "the order", 0.001)
        lab.api("down")
        return f"A8 down after the order: {self.handed(lab, pod):.2f} s"

    def after_the_beginning(self, cluster: Cluster) -> str:
        lab = cluster.lab
        shards = cluster.shards()
        pod = sorted(shards)[1]
        with Unheard(lab, shards[pod][0], [other for other in shards if other != pod]) as bus:
            bus.wait()
            lab.delete(pod, wait=False)
            self.says(lab, pod, f"{pod} holds its", 10)
            lab.api("down")
        return f"A8 down after the beginning: {self.handed(lab, pod):.2f} s"

    def long_before(self, cluster: Cluster) -> str:
        """A7."""
        lab = cluster.lab
        pod = sorted(cluster.shards())[2]
        acts, pods = cluster.acts(), lab.pods()
        lab.api("down")
        time.sleep(DOWN_SECONDS)
        now = lab.pods()
        self.assertTrue(all(now[name]["ready"] for name in now))
        self.assertEqual([now[name]["restarts"] for name in now],
                         [pods[name]["restarts"] for name in now])
        self.assertEqual(cluster.acts(), acts)
        lab.delete(pod, wait=False)
        took = self.handed(lab, pod)
        return (f"A7 down for {DOWN_SECONDS} s: all ready, restarts 0, acts 0; then a drain took "
                f"{took:.2f} s")

    def handed(self, lab: Lab, pod: str) -> float:
        line = self.ends(lab, pod, 0, 50)
        self.assertRegex(line, rf"{pod} handed its \d+ slots over to muster-\d")
        return waited(line)


if __name__ == "__main__":
    main()
