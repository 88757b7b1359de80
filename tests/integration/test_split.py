#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Pods cut from each other: a few of many, one way only, on and off. Redis elects whom it has to; the
agents, who all hear the API and one of whom leads from among the few, do nothing (FAULTS D1-D3, D8).
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from cut_case import CALM_SECONDS, NODE_TIMEOUT, SETTINGS, Clung, CutTestCase  # noqa: E402
from drain_case import Dropped  # noqa: E402
from keyed import Cluster, Pulse  # noqa: E402
from muster_test import Lab, main, on_servers, resp  # noqa: E402

# A server finds that it hears nobody when a ping, which may wait for half of NODE_TIMEOUT, is NODE_TIMEOUT
# without an answer; and the machine may be busy.
MINORITY_SECONDS = 1.5 * NODE_TIMEOUT / 1000 + 1
# What was acknowledged so shortly before a cut may be on its way to the replica.
LAG_SECONDS = 0.5
# FAULTS asks for five minutes of each (SPLIT_SECONDS=300, by hand).
SPLIT_SECONDS = int(os.environ.get("SPLIT_SECONDS", "0"))
ONE_WAY_SECONDS = SPLIT_SECONDS or 6 * NODE_TIMEOUT / 1000
FLAPS = SPLIT_SECONDS // 2 or 10         # a second on, a second off
# Nobody votes twice about one primary within twice NODE_TIMEOUT.
ELECTIONS_MAX = FLAPS * 2000 // (2 * NODE_TIMEOUT)


class Split(CutTestCase):
    timeout = 300 + 4 * SPLIT_SECONDS

    @on_servers("redis-7.0", "valkey-9", first=0)
    def test_pods_are_cut_from_each_other(self, server: str) -> None:
        with Lab(pods=6, server=server, node_timeout=NODE_TIMEOUT, settings=SETTINGS) as lab:
            cluster = self.formed(lab)
            cluster.write()
            for step in (self.few_of_many, self.few_that_want_a_replica, self.one_way, self.on_and_off):
                self.in_sync(cluster)
                before, restarts = cluster.acts(), self.restarts(lab)
                print(f"{server}: {step(cluster)}")
                self.assertEqual(cluster.lost(), 0)
                self.assertEqual(self.acts_since(cluster, before), [])
                self.assertEqual(self.restarts(lab), restarts)

    # -- D1, D2

    def few(self, cluster: Cluster) -> list[str]:
        """A primary and a replica of another shard, one of whom leads."""
        shards = cluster.shards()
        leader = self.leader(cluster.lab, list(cluster.lab.pods()))
        if leader in shards:
            return [leader, next(r[0] for p, r in shards.items() if p != leader)]
        return [next(p for p, r in shards.items() if leader not in r), leader]

    def few_of_many(self, cluster: Cluster) -> str:
        lab = cluster.lab
        few = self.few(cluster)
        (heir,) = cluster.shards()[few[0]]
        with Clung(cluster, few[0]) as client:
            time.sleep(1)
            began = time.monotonic()
            lab.partition(*few)
            self.wait_until(lambda: cluster.role(heir) == "master", 30, f"{heir} is elected", 0.05)
            took = time.monotonic() - began
            time.sleep(CALM_SECONDS)
            leads = self.leader(lab, few)
            self.assertEqual(cluster.role(few[0]), "master", "the cut is none")
        lab.heal()
        whole = self.whole(lab)
        with resp.Client(lab.address(heir), access=lab.access) as server:
            lost = client.missing(server)
        minority = [when for when in client.told if when > began]
        last = max(minority, default=began) - began
        self.assertLess(last, MINORITY_SECONDS)
        self.assertEqual([when - began for when in lost if when < began - LAG_SECONDS], [])
        self.assertEqual(sorted(cluster.shards()[heir]), [few[0]])
        return (f"D1, D2 {' and '.join(few)} cut off, of which {leads} leads: {len(minority)} writes "
                f"acknowledged there for {last:.1f} s, {len(lost)} lost; elected after {took:.1f} s; "
                f"acts 0; whole {whole:.1f} s after the end")

    def few_that_want_a_replica(self, cluster: Cluster) -> str:
        """The same, where a primary whose replica has not acknowledged for a second takes no write."""
        self.configure(cluster.lab, "min-replicas-to-write", "1", "min-replicas-max-lag", "1")
        figures = self.few_of_many(cluster)
        self.configure(cluster.lab, "min-replicas-to-write", "0", "min-replicas-max-lag", "10")
        return f"min-replicas-to-write 1, min-replicas-max-lag 1: {figures}"

    def configure(self, lab: Lab, *settings: str) -> None:
        for pod in lab.pods():
            lab.redis(pod, "CONFIG", "SET", *settings)

    # -- D3

    def one_way(self, cluster: Cluster) -> str:
        """Between two primaries, for the third hears both."""
        lab = cluster.lab
        shards = cluster.shards()
        mute, deaf = sorted(shards)[:2]
        group = lab.ask("identity", pod=mute)["group"]
        won = self.elected(lab)
        with Pulse(cluster, shards) as pulse:
            with Dropped(f"-s {lab.address(mute)} -d {lab.address(deaf)}",
                         f"-m owner --gid-owner {group} -d {lab.address(deaf)}"):
                self.wait_until(lambda: self.misses(lab, deaf, mute), 30, f"{deaf} misses {mute}")
                time.sleep(ONE_WAY_SECONDS)
            whole = self.whole(lab)
        won = self.elected(lab) - won
        self.assertLessEqual(won, 1)
        self.assertEqual(sum(pulse.refused.values()), 0)
        return (f"D3 {deaf} does not hear {mute} for {ONE_WAY_SECONDS:.0f} s: elections {won}, acts 0, "
                f"longest without a write {1000 * max(pulse.longest.values()):.0f} ms; "
                f"whole {whole:.1f} s after the end")

    def misses(self, lab: Lab, pod: str, other: str) -> bool:
        address = lab.address(other)
        return any(node.host == address and node.flags & {"fail", "fail?"}
                   for node in resp.parse_nodes(lab.redis(pod, "CLUSTER", "NODES")))

    # -- D8

    def on_and_off(self, cluster: Cluster) -> str:
        lab = cluster.lab
        shards = cluster.shards()
        pod = sorted(shards)[0]
        won = self.elected(lab)
        with Pulse(cluster, shards) as pulse:
            for _ in range(FLAPS):
                lab.partition(pod)
                time.sleep(1)
                lab.heal()
                time.sleep(1)
            whole = self.whole(lab)
        won = self.elected(lab) - won
        self.assertLessEqual(won, ELECTIONS_MAX)
        return (f"D8 {pod} cut off {FLAPS} times for a second: elections {won} of at most "
                f"{ELECTIONS_MAX}, acts 0, longest without a write "
                f"{1000 * max(pulse.longest.values()):.0f} ms; whole {whole:.1f} s after the end")


if __name__ == "__main__":
    main()
