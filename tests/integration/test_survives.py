#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`muster_survives_node_loss` and `muster_survives_zone_loss` say what becomes true: each node and each
zone is really taken away, all its servers and agents at once, and either others serve every slot after
Redis's own time, or nobody does before it is back.
"""

from __future__ import annotations

import concurrent.futures
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from cut_case import SETTINGS, CutTestCase  # noqa: E402
from keyed import Cluster  # noqa: E402
from muster_test import Lab, main, on_servers, resp  # noqa: E402
from place_case import Seats, hand_over, look, wait_votes  # noqa: E402
from witness import page  # noqa: E402

VERSIONS_SHARE = 2           # of the four that tests/run.sh runs at a time: two clusters at once
NODE_TIMEOUT = 2000
# nobody but Redis moves a role, but for the leader's help, for which it waits 4 x NODE_TIMEOUT and 10 s
ALONE = {**SETTINGS, "policy.crashHandover": "off", "policy.placement": "off",
         "lab.nodeGraceSeconds": 2, "lab.evictSeconds": 600}
SERVED_SECONDS = 40          # found dead, elected, and once again if the first election was lost
UNSERVED_SECONDS = 4 * NODE_TIMEOUT / 1000 + 10 + 5
SAID_SECONDS = 30            # pods are ready again before the replicas are in sync


class Survives(CutTestCase):
    timeout = 400

    @on_servers("redis-7.0", "valkey-9", first=0)
    def test_what_is_said_is_what_happens(self, server: str) -> None:
        """Side by side, for both mostly wait."""
        with concurrent.futures.ThreadPoolExecutor() as pool:
            for step in [pool.submit(self.nodes, server), pool.submit(self.zones, server)]:
                step.result()

    # -- what is said

    def said(self, lab: Lab, kind: str, held: bool, words: str = "") -> None:
        """The leader's metric, and its status, which says why not in these words."""
        def agrees() -> bool:
            leader = self.leader(lab, list(lab.pods()))
            metric = f"\nmuster_survives_{kind}_loss {int(held)}\n"
            told = lab.muster_json(leader, "status")["cluster"]
            return metric in page(lab.address(leader), "/metrics") and \
                told[f"survives{kind.title()}Loss"] is held and words in told["weakest"]
        self.wait_until(agrees, SAID_SECONDS, f"{kind}: {held} is said, {words!r}")

    # -- what happens

    def serve(self, cluster: Cluster, left: list[str], gone: set[str]) -> bool:
        """Every server that is left has an owner that is left for every slot, and all is well."""
        for pod in left:
            if "cluster_state:ok" not in cluster.lab.text(pod, "CLUSTER", "INFO"):
                return False
            nodes = resp.parse_nodes(cluster.lab.redis(pod, "CLUSTER", "NODES"))
            if any(one.slots and (one.host in gone or one.flags & {"fail", "fail?"}) for one in nodes):
                return False
        return True

    def take_away(self, cluster: Cluster, nodes: list[str], served: bool) -> str:
        """These at once, and it turns out so; then all comes back."""
        lab, shards = cluster.lab, look(cluster).shards
        pods = {name: pod["ip"] for name, pod in lab.pods().items() if pod["node"] in nodes}
        left = [name for name in lab.pods() if name not in pods]
        dark = [shard for shard in shards if shard[0] in pods]
        began = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor() as pool:
            list(pool.map(lab.lose_node, nodes))
        if served:
            self.wait_until(lambda: self.serve(cluster, left, set(pods.values())), SERVED_SECONDS,
                            f"all slots served without {nodes}", 0.05)
            became = f"served again after {time.monotonic() - began:.1f} s"
            self.assertEqual(cluster.lost(left[0]), 0)
        else:
            while time.monotonic() < began + UNSERVED_SECONDS:
                self.assertFalse(self.serve(cluster, left, set(pods.values())), f"served without {nodes}")
                time.sleep(0.2)
            self.assertTrue(all("cluster_state:fail" in lab.text(pod, "CLUSTER", "INFO") for pod in left))
            became = f"not served for {UNSERVED_SECONDS:.0f} s"
        for node in nodes:
            lab.return_node(node, wait=False)
        self.whole(lab)
        self.in_sync(cluster)
        self.assertEqual(cluster.lost(), 0)
        return f"without {' and '.join(nodes)}, {len(dark)} of 3 primaries: {became}"

    # -- arranging

    def spread(self, cluster: Cluster, place: str) -> Seats:
        """One primary in each place, by hand."""
        seats = look(cluster)
        today, best = set(seats.today()), seats.best()
        for heir in (pod for pod in best if pod not in today):
            wait_votes(cluster.lab, NODE_TIMEOUT)
            hand_over(cluster, heir)
        self.in_sync(cluster)
        seats = look(cluster)
        self.assertEqual(len({getattr(seats, place)[pod] for pod in seats.today()}), 3, seats)
        return seats

    def formed_with_keys(self, lab: Lab) -> Cluster:
        cluster = self.formed(lab)
        cluster.write()
        return cluster

    def crowded(self, seats: Seats, place: dict[str, str]) -> str:
        """Where two of the three primaries are."""
        where = [place[pod] for pod in seats.today()]
        return max(where, key=where.count)

    # -- nodes

    def nodes(self, server: str) -> None:
        with Lab(pods=6, server=server, node_timeout=NODE_TIMEOUT, settings=ALONE) as lab:
            cluster = self.formed_with_keys(lab)
            told: list[str] = []
            for node in ("node-0", "node-1", "node-2"):
                self.spread(cluster, "node")
                self.said(lab, "node", True)
                told.append("1, " + self.take_away(cluster, [node], True))
                if len(told) == 1:
                    told.append("0, " + self.most_primaries(cluster))
            told.append("0, " + self.all_copies(cluster))
            print("".join(f"\n{server}: muster_survives_node_loss {line}" for line in told))

    def most_primaries(self, cluster: Cluster) -> str:
        """Redis's election has left them where the others cannot elect anybody."""
        seats = look(cluster)
        node = self.crowded(seats, seats.node)
        self.said(cluster.lab, "node", False, f"node {node} holds 2 of 3 primaries")
        return self.take_away(cluster, [node], False)

    def all_copies(self, cluster: Cluster) -> str:
        """A primary and its only replica share a node; the others could elect."""
        lab, seats = cluster.lab, self.spread(cluster, "node")
        (primary, replica), *others = seats.shards
        node = seats.node[primary]
        other = next(shard for shard in others if seats.node[shard[1]] == node)
        for pod, whom in ((other[1], primary), (replica, other[0])):
            lab.redis(pod, "CLUSTER", "REPLICATE", lab.text(whom, "CLUSTER", "MYID"))
        self.wait_until(lambda: cluster.shards()[primary] == [other[1]], 20, "they are swapped")
        self.whole(lab)
        self.in_sync(cluster)
        self.said(lab, "node", False, f"({primary}) has all its copies in sync on node {node}")
        return self.take_away(cluster, [node], False)

    # -- zones

    def zones(self, server: str) -> None:
        """Two nodes in each, of a pod each."""
        with Lab(pods=6, nodes=6, zones=3, server=server, node_timeout=NODE_TIMEOUT, settings=ALONE) as lab:
            cluster = self.formed_with_keys(lab)
            told: list[str] = []
            seats = self.spread(cluster, "zone")
            self.said(lab, "zone", True)
            told.append("1, " + self.take_away(cluster, self.of(cluster, seats.zone[seats.today()[0]]), True))
            seats = look(cluster)
            zone = self.crowded(seats, seats.zone)
            self.said(lab, "zone", False, f"zone {zone} holds 2 of 3 primaries")
            self.said(lab, "node", True)
            told.append("0, " + self.take_away(cluster, self.of(cluster, zone), False))
            print("".join(f"\n{server}: muster_survives_zone_loss {line}" for line in told))

    def of(self, cluster: Cluster, zone: str) -> list[str]:
        """The nodes of a zone that have pods."""
        seats: Any = look(cluster)
        return sorted({seats.node[pod] for pod, name in seats.zone.items() if name == zone})


if __name__ == "__main__":
    main()
