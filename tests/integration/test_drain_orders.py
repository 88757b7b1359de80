#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One order for each hand-over, at the right moment: FAULTS B16, F3, F4, F5, one after the other in
one cluster under load.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from drain_case import (NODE_TIMEOUT, SWIFT, DrainTestCase, Stream, Unanswering,  # noqa: E402
                        Unheard, ask_to_drain, gaps, orders, told)
from keyed import Cluster, Pulse  # noqa: E402
from muster_test import CLIENT_PORT, Lab, main, on_servers  # noqa: E402

AT_ONCE_MS = 1000            # far less than a lost election costs, on a busy machine
RESUMED_SECONDS = 5          # a manual failover that failed: the primary's pause ends (FACTS 3)


class Orders(DrainTestCase):
    @on_servers("redis-7.0", "valkey-9")
    def test_one_order_and_none_too_early(self, server: str) -> None:
        with Lab(pods=6, server=server, node_timeout=NODE_TIMEOUT, settings=SWIFT) as lab:
            cluster = self.formed(lab)
            lab.load_start()
            for step in (self.both_pods_of_a_shard, self.unknown_to_the_majority, self.unanswered,
                         self.the_heir_dies, self.two_want_the_same, self.all_shards_at_once):
                print(f"\n{server}: {step(cluster)}", end="")
                self.whole(lab)
            lab.load_stop()
            self.nothing_lost(lab, f"B16, F3-F5 {server}")

    def shard(self, cluster: Cluster, number: int) -> tuple[str, str, list[str]]:
        """A primary, its replica and the other primaries."""
        shards = cluster.shards()
        pod = sorted(shards)[number]
        return pod, shards[pod][0], [other for other in shards if other != pod]

    def both_pods_of_a_shard(self, cluster: Cluster) -> str:
        """B16: nobody would be there to take over, so the primary leaves as what it is, at once."""
        lab = cluster.lab
        pod, replica, _ = self.shard(cluster, 0)
        began = time.monotonic()
        lab.delete(pod, replica, timeout=90)
        lines = [self.ends(lab, name, 0, 5) for name in (pod, replica)]
        self.whole(lab)
        took = time.monotonic() - began
        self.assertRegex(lines[0], rf"{pod} stops as the primary of \d+ slots: its whole shard "
                         "stops; its data is on disk")
        self.assertIn(f"{replica} stops as a replica of {pod}", lines[1])
        return f"B16 both pods of a shard deleted, whole again after {took:.1f} s"

    def unknown_to_the_majority(self, cluster: Cluster) -> str:
        """F3: a new node that the bus shows to its primary only, which is soon to stop."""
        lab = cluster.lab
        pod, replica, others = self.shard(cluster, 1)
        before, old = orders(lab), lab.text(replica, "CLUSTER", "MYID")
        with Unheard(lab, replica, others):
            lab.lose_volume(replica, wait=False)
            self.wait_until(lambda: lab.text(replica, "CLUSTER", "MYID") != old, 30, "a new node")
            lab.redis(replica, "CLUSTER", "MEET", lab.address(pod), CLIENT_PORT)
            self.wait_until(lambda: lab.text(replica, "CLUSTER", "REPLICATE",
                                             lab.text(pod, "CLUSTER", "MYID")), 20, "it follows")
            self.wait_until(lambda: "state=online" in lab.text(pod, "INFO", "replication"), 20,
                            "it is in sync")
            lab.delete(pod, wait=False)
            self.says(lab, pod, f"{replica} is known as a replica of {pod} to 1 of 3 primaries "
                      "only", 10)
            time.sleep(2)
            self.assertEqual((orders(lab), cluster.role(pod)), (before, "master"))
            began = time.monotonic()
        self.assertIn(f"slots over to {replica}", self.ends(lab, pod, 0, 40))
        return (f"F3 {replica}, a new node, was taken {time.monotonic() - began:.1f} s after the "
                "others could know it")

    def unanswered(self, cluster: Cluster) -> str:
        """F3: the heir asks for votes over its own links; those who vote have none to it."""
        lab = cluster.lab
        pod, replica, others = self.shard(cluster, 1)
        before, handed = orders(lab), len(gaps(lab))
        with Unheard(lab, replica, others) as bus, Unanswering(lab, others, replica):
            bus.wait()
            bus.release()
            self.wait_until(lambda: bus.missed() == 0, 20, f"{replica} hears the others")
            lab.delete(pod, wait=False)
            self.says(lab, pod, f"{replica} has cluster bus links with 1 of 3 primaries only", 10)
            time.sleep(2)
            self.assertEqual((orders(lab), cluster.role(pod)), (before, "master"))
        self.assertIn(f"slots over to {replica}", self.ends(lab, pod, 0, 40))
        self.assertEqual(orders(lab), before + 1)
        paused = gaps(lab)[handed:]
        self.assertLess(max(paused), AT_ONCE_MS)
        return f"F3 {replica} was taken when votes could reach it: writes paused for {paused} ms"

    def the_heir_dies(self, cluster: Cluster) -> str:
        """F4: in the moment in which the writes are paused for it."""
        lab = cluster.lab
        pod, replica, _ = self.shard(cluster, 2)
        before = orders(lab)
        with Pulse(cluster, [pod]) as pulse:
            with Stream(lab, pod, replica):          # it cannot catch up
                lab.delete(pod, wait=False)
                self.wait_until(lambda: orders(lab) > before, 10, "the order", 0.001)
                lab.kill(replica, "redis", 9, wait=False)
                time.sleep(RESUMED_SECONDS)
            self.assertEqual(cluster.role(pod), "master")
            self.assertIn(f"slots over to {replica}", self.ends(lab, pod, 0, 50))
            self.assertGreaterEqual(orders(lab), before + 2)
        gap = pulse.longest[pod]
        self.assertLess(gap, RESUMED_SECONDS + 1)
        return f"F4 the heir died after the order: {gap:.2f} s without a write, then another order"

    def two_want_the_same(self, cluster: Cluster) -> str:
        """F5: the leader, since its agent is silent, and that agent, which is back just then."""
        lab = cluster.lab
        leader = lab.muster_json("muster-0", "status")["leader"]
        done = []
        for number in range(3):
            pod, replica, others = self.shard(cluster, number)
            if pod == leader or len(done) == 2:
                continue
            before, at = orders(lab), len(told(lab, "turn"))
            with Unheard(lab, replica, others) as bus:
                bus.wait()
                lab.pause(pod, "agent")
                lab.delete(pod, wait=False)
                self.anyone_says(lab, f"{pod} is to stop and its agent is silent", 40, at)
                bus.release()
                if done:         # now it is the order itself that finds the agent back
                    self.wait_until(lambda: orders(lab) > before, 40, "the leader's order",
                                    0.001)
                lab.resume(pod, "agent", wait=False)
            self.wait_until(lambda: cluster.role(replica) == "master", 40,
                            f"{replica} has taken over")
            self.whole(lab)
            self.assertEqual(orders(lab), before + 1)
            done.append("the leader" if any(
                f"{pod} is to stop and its agent is silent: its" in line
                for line in told(lab, "turn")[at:]) else pod)
        return (f"F5 agent and leader {leader} wanted {len(done)} moves: one order each, by "
                f"{' and '.join(done)}")

    def all_shards_at_once(self, cluster: Cluster) -> str:
        """Asked in the same moment their heirs would take each other's votes: one after the other."""
        lab = cluster.lab
        time.sleep(2 * NODE_TIMEOUT / 1000 + 2)      # since the last votes; else one may leave at 6 s
        before, handed, pods = orders(lab), len(gaps(lab)), sorted(cluster.shards())
        asks = [ask_to_drain(lab, pod) for pod in pods]
        self.assertEqual([ask.wait(30) for ask in asks], [0] * len(asks))
        paused = gaps(lab)[handed:]
        self.assertEqual((orders(lab) - before, len(paused)), (len(pods), len(pods)))
        self.assertLess(max(paused), AT_ONCE_MS)
        return f"all {len(pods)} primaries at once: writes paused for {paused} ms"


if __name__ == "__main__":
    main()
