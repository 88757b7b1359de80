#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Pods that are gone, or are not: a node lost with its pods Terminating for ever (FAULTS B8), a shard
that lost all its volumes (B7).
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from keyed import Cluster, Pulse  # noqa: E402
from muster_test import Lab, MusterTestCase, main, on_servers, resp  # noqa: E402

NODE_TIMEOUT = 5000
CALM_SECONDS = 3             # nothing is done for so long: the leader plans once a second
SETTINGS = {"kubernetes.leaseSeconds": 3, "lab.nodeGraceSeconds": 2, "lab.evictSeconds": 1}


def ids(lab: Lab) -> dict[str, str]:
    return {pod: lab.text(pod, "CLUSTER", "MYID") for pod in lab.pods()}


def nodes(lab: Lab, pod: str) -> dict[str, resp.ClusterNode]:
    return {node.id: node for node in resp.parse_nodes(lab.redis(pod, "CLUSTER", "NODES"))}


class Away(MusterTestCase):
    timeout = 300

    @on_servers("valkey-9", "redis-7.0")
    def test_what_is_gone_and_what_is_not(self, server: str) -> None:
        with Lab(pods=6, server=server, node_timeout=NODE_TIMEOUT, settings=SETTINGS) as lab:
            lab.up()
            cluster = Cluster(lab)
            cluster.write()
            for step in (self.a_node_is_lost, self.a_shard_lost_its_volumes):
                self.wait_until(lambda: len(cluster.primaries()) == 3, 40, "replicas in sync")
                print(f"{server}: {step(cluster)}")

    # -- B8

    def a_node_is_lost(self, cluster: Cluster) -> str:
        """Its pods stay Terminating until somebody says that it is gone, or it comes back."""
        lab, before = cluster.lab, ids(cluster.lab)
        shards = cluster.shards()
        node = lab.pods()[next(iter(shards))]["node"]
        uids = {name: pod["uid"] for name, pod in lab.pods().items()}
        with Pulse(cluster, shards) as pulse:
            gone = lab.lose_node(node)
            lost = [pod for pod in gone if pod in shards]
            here = [pod for pod in before if pod not in gone]
            self.wait_until(lambda: all(cluster.role(shards[pod][0]) == "master" for pod in lost),
                            60, "their replicas are elected")
            self.wait_until(lambda: all("deletionTimestamp" in lab.get("pods", pod)["metadata"]
                                        for pod in gone), 30, "they are Terminating")
            time.sleep(CALM_SECONDS)
        for pod in here:
            self.assertEqual(set(nodes(lab, pod)), set(before.values()), pod)
        self.assertEqual({name: pod["uid"] for name, pod in lab.pods().items()}, uids,
                         "no second pod of a name")
        begin = time.monotonic()
        lab.return_node(node, wait=False)
        self.wait_until(lambda: all(lab.get("pods", pod)["metadata"]["uid"] != uids[pod]
                                    for pod in gone), 40, "they are made anew")
        lab.wait("formed", timeout=60)
        took = time.monotonic() - begin
        self.assertEqual(ids(lab), before, "they are the same nodes")
        self.assertEqual([act for act in cluster.acts() if "FORGET" in act or "FAILOVER" in act], [])
        for pod in lost:
            self.assertEqual(cluster.role(pod), "slave", f"{pod} follows its heir")
        missing = cluster.lost()
        self.assertEqual(missing, 0)
        return (f"B8 a node lost with {len(gone)} pods: longest without a write "
                f"{max(pulse.longest.values()):.1f} s, whole {took:.1f} s after its return, "
                f"{missing} keys lost")

    # -- B7

    def served(self, lab: Lab, pod: str, owner: str) -> int:
        """The slots that others than the owner have in the eyes of the pod."""
        return sum(node.slot_count for node in nodes(lab, pod).values() if node.id != owner)

    def a_shard_lost_its_volumes(self, cluster: Cluster) -> str:
        """Both servers come back empty: nobody is given the slots, and a person is told."""
        lab, shards = cluster.lab, cluster.shards()
        primary, (replica,) = next((p, r) for p, r in shards.items())
        others = [pod for pod in lab.pods() if pod not in (primary, replica)]
        owner, kept = ids(lab)[primary], [pod for pod in shards if pod != primary]
        keys = sum(int(lab.redis(pod, "DBSIZE")) for pod in kept)
        slots = nodes(lab, others[0])[owner].slots
        count = nodes(lab, others[0])[owner].slot_count
        begin, before = time.monotonic(), cluster.acts()
        lab.lose_volume(primary, replica, wait=False)
        sentence = (f"{count} of {resp.SLOTS} slots were lost with the volumes of their primary and its "
                    "replicas: a person must decide")
        self.wait_until(lambda: any(sentence in lab.log(pod) for pod in lab.pods()), 60,
                        "the leader says what is lost")
        took = time.monotonic() - begin
        self.wait_until(lambda: sentence in lab.muster_json(others[0], "status")["plan"]["reason"],
                        20, "status says so, too")
        time.sleep(CALM_SECONDS)
        self.wait_until(lambda: all(self.served(lab, pod, owner) == resp.SLOTS - count
                                    for pod in (primary, replica)), 30, "the newcomers know all")
        for pod in others:
            self.assertEqual(nodes(lab, pod)[owner].slots, slots, f"{pod}: they are still its")
        self.assertEqual(sum(int(lab.redis(pod, "DBSIZE")) for pod in kept), keys)
        for pod in lab.pods():               # a newcomer's view does not have the lost owner's
            self.assertEqual(self.served(lab, pod, owner), resp.SLOTS - count, pod)
        acts = [act for act in cluster.acts() if act not in before]
        self.assertEqual([act for act in acts if owner in act or "SLOT" in act], [])
        return (f"B7 a shard's volumes lost: said after {took:.1f} s, {count} slots left where they "
                f"were, the other shards' {keys} keys kept")


if __name__ == "__main__":
    main()
