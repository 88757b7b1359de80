#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One kind of traffic is cut and the rest goes on: the bus, the client port, the API, an agent's way to
its own server. Nobody is forgotten or replaced for it by the agents (FAULTS D4-D7).
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from cut_case import CALM_SECONDS, NODE_TIMEOUT, SETTINGS, CutTestCase  # noqa: E402
from drain_case import BUS_PORT, Dropped, ask_to_drain  # noqa: E402
from keyed import Cluster, Pulse  # noqa: E402
from muster_test import CLIENT_PORT, Lab, main, on_servers  # noqa: E402

# An election takes 4.3 s at this timeout, and one whose votes do not come is repeated after four of it.
ELECTED_SECONDS = 10 * NODE_TIMEOUT / 1000
UNHEARD_MS = 3500            # WORLD_FRESH_MS
API_SECONDS = 12             # four times as long as the Lease holds


class Cut(CutTestCase):
    @on_servers("redis-7.0", "valkey-9", first=0)
    def test_one_kind_of_traffic_is_cut(self, server: str) -> None:
        with Lab(pods=6, server=server, node_timeout=NODE_TIMEOUT, settings=SETTINGS) as lab:
            cluster = self.formed(lab)
            cluster.write()
            for step in (self.own_server, self.client_port, self.bus, self.api):
                self.in_sync(cluster)
                restarts = self.restarts(lab)
                print(f"{server}: {step(cluster)}")
                self.assertEqual(cluster.lost(), 0)
                self.assertEqual(self.restarts(lab), restarts)

    def group(self, lab: Lab, pod: str) -> str:
        return f"-m owner --gid-owner {lab.ask('identity', pod=pod)['group']}"

    def seen(self, lab: Lab, witness: str, pod: str) -> dict[str, object]:
        """What one agent says of another pod."""
        found: dict[str, object] = next(
            p for p in lab.muster_json(witness, "status")["pods"] if p["name"] == pod)
        return found

    def is_unheard(self, lab: Lab, witness: str, pod: str) -> bool:
        age = self.seen(lab, witness, pod)["ageMs"]
        return isinstance(age, int) and age > UNHEARD_MS

    # -- D7

    def own_server(self, cluster: Cluster) -> str:
        """The leader's: blind, it does nothing to the others either."""
        lab, before, shards = cluster.lab, cluster.acts(), cluster.shards()
        pod = self.leader(lab, list(lab.pods()))
        began = time.monotonic()
        with Pulse(cluster, shards) as pulse:
            with Dropped(f"{self.group(lab, pod)} -d {lab.address(pod)} --dport {CLIENT_PORT}"):
                self.wait_until(lambda: not lab.pods()[pod]["ready"], 30, f"{pod} is not ready")
                took = time.monotonic() - began
                time.sleep(CALM_SECONDS)
            self.wait_until(lambda: lab.pods()[pod]["ready"], 30, f"{pod} is ready again")
        self.assertEqual(self.acts_since(cluster, before), [])
        self.assertEqual(cluster.shards(), shards)
        self.assertEqual(sum(pulse.refused.values()), 0)
        return (f"D7 the agent of {pod}, which leads, cut off from its own server: not ready after "
                f"{took:.1f} s, acts 0, longest without a write "
                f"{1000 * max(pulse.longest.values()):.0f} ms")

    # -- D5

    def client_port(self, cluster: Cluster) -> str:
        """Of a primary, for all other pods; its bus goes on, so for Redis it lives."""
        lab, before, shards = cluster.lab, cluster.acts(), cluster.shards()
        leader = self.leader(lab, list(lab.pods()))
        pod = next(p for p in shards if p != leader)
        others = [p for p in lab.pods() if p != pod]
        began = time.monotonic()
        with Pulse(cluster, shards) as pulse:
            with Dropped(*(f"{sender} -d {lab.address(pod)} --dport {CLIENT_PORT}" for other in others
                           for sender in (self.group(lab, other), f"-s {lab.address(other)}"))):
                self.wait_until(lambda: self.is_unheard(lab, leader, pod), 30,
                                f"{leader} does not hear {pod}")
                took = time.monotonic() - began
                time.sleep(CALM_SECONDS)
            whole = self.whole(lab)
        self.assertEqual(self.acts_since(cluster, before), [])
        self.assertEqual(cluster.shards(), shards)
        self.assertEqual(sum(pulse.refused.values()), 0)
        return (f"D5 the client port of {pod} cut: missed after {took:.1f} s, acts 0, roles moved 0, "
                f"whole {whole:.1f} s after the end")

    # -- D4

    def bus(self, cluster: Cluster) -> str:
        """Of a primary: the others replace it, and agents see both."""
        lab, before, shards = cluster.lab, cluster.acts(), cluster.shards()
        leader = self.leader(lab, list(lab.pods()))
        pod = next(p for p in sorted(shards) if p != leader)
        (heir,), address = shards[pod], lab.address(pod)
        began = time.monotonic()
        with Pulse(cluster, shards) as pulse:
            with Dropped(*(f"{way} {address} --{end} {BUS_PORT}" for way in ("-s", "-d")
                           for end in ("sport", "dport"))):
                self.wait_until(lambda: cluster.role(heir) == "master", 30, f"{heir} is elected", 0.05)
                took = time.monotonic() - began
                self.wait_until(lambda: {self.seen(lab, leader, p)["role"] for p in (pod, heir)} ==
                                {"primary"}, 20, f"{leader} sees both")
                saw = time.monotonic() - began
                time.sleep(CALM_SECONDS)
            whole = self.whole(lab)
        self.assertEqual(self.acts_since(cluster, before), [])
        self.assertEqual((cluster.role(pod), cluster.role(heir)), ("slave", "master"))
        self.assertLess(max(pulse.longest.values()), ELECTED_SECONDS)
        return (f"D4 the bus of {pod} cut: elected after {took:.1f} s, {leader} sees both after "
                f"{saw:.1f} s, acts 0, longest without a write "
                f"{1000 * max(pulse.longest.values()):.0f} ms; whole {whole:.1f} s after the end")

    # -- D6

    def api(self, cluster: Cluster) -> str:
        """For all agents, no packet; one hands over meanwhile."""
        lab, before, shards = cluster.lab, cluster.acts(), cluster.shards()
        pod = sorted(shards)[0]
        lab.load_start(writers=1)
        lab.partition(*lab.pods(), api=True)
        time.sleep(API_SECONDS)
        self.assertTrue(all(p["ready"] for p in lab.pods().values()))
        self.assertEqual(self.acts_since(cluster, before), [])
        began = time.monotonic()
        with ask_to_drain(lab, pod) as asks:
            self.assertEqual(asks.wait(60), 0)
        took = time.monotonic() - began
        self.assertRegex(self.ends(lab, pod, 0, 5), rf"{pod} handed its \d+ slots over to muster-\d")
        lab.heal()
        self.whole(lab)
        lab.load_stop()
        report = self.nothing_lost(lab, "D6")
        self.assertLess(report["longestGapMs"], NODE_TIMEOUT, "longer than a hand-over takes")
        acts = self.acts_since(cluster, before)
        self.assertEqual(len(acts), 1, acts)
        return (f"D6 all agents cut off from the API for {API_SECONDS} s: all ready, acts 0; then {pod} "
                f"handed over in {took:.1f} s; longest gap {report['longestGapMs']} ms, lost 0")


if __name__ == "__main__":
    main()
