#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Servers that are held at their gates: what ends it, and what is told of it meanwhile."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Callable

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from keyed import Cluster  # noqa: E402
from muster_test import Lab, MusterTestCase, main, on_servers  # noqa: E402


class Majority(MusterTestCase):
    timeout = 240

    @on_servers("valkey-9", "redis-7.0")
    def test_all_primaries_come_back_empty(self, server: str) -> None:
        """Nobody can elect: the leader lets the best replicas take over, and the gates open."""
        with Lab(pods=6, server=server, persistence="none", node_timeout=5000,
                 settings={"kubernetes.leaseSeconds": 3, "policy.crashHandover": "off"}) as lab:
            lab.up()
            cluster = Cluster(lab)
            cluster.write()
            self.wait_until(lambda: len(cluster.primaries()) == 3, 40, "replicas in sync")
            old = cluster.primaries()
            begin = time.monotonic()
            for pod in old:
                lab.kill(pod, "redis", 9, wait=False)
            self.wait_until(lambda: all(cluster.role(pod) == "slave" for pod in old), 60,
                            "the old primaries follow their heirs")
            lab.wait("formed", timeout=60)
            print(f"{server}: all primaries emptied, whole after {time.monotonic() - begin:.1f} s")
            self.assertEqual(cluster.lost(), 0)
            self.assertIn("CLUSTER FAILOVER TAKEOVER", "".join(map(lab.log, lab.pods())))
            self.wait_until(lambda: {"PrimaryHeld", "ReplicaTookOver"} <= cluster.events(), 20,
                            "and Events tell it")

    def held(self, lab: Lab, cluster: Cluster) -> str:
        """A primary that waits for a replica which does not answer."""
        self.wait_until(lambda: len(cluster.primaries()) == 3, 40, "replicas in sync")
        primary = cluster.primaries()[0]
        replica = next(pod for pod in lab.pods() if cluster.role(pod) == "slave" and
                       lab.text(pod, "INFO", "replication").find(
                           f"master_host:{lab.address(primary)}\r") >= 0)
        lab.pause(replica)
        lab.kill(primary, "redis", 9, wait=False)
        self.wait_until(lambda: f"{replica} may have" in lab.log(primary), 30,
                        "the gate says whom it waits for")
        return primary

    def test_a_person_opens_the_gate(self) -> None:
        with Lab(pods=6, persistence="none", node_timeout=15000) as lab:
            lab.up()
            cluster = Cluster(lab)
            cluster.write()
            socket: Callable[[str], str] = lambda p: str(lab.state / "pods" / p / "run/agent.sock")
            idle = lab.muster("muster-0", "gate", "open", "muster-0", "--socket", socket("muster-0"))
            self.assertEqual(idle.returncode, 1)
            self.assertIn("no server waits at the gate of muster-0", idle.stderr)
            pod = self.held(lab, cluster)
            why = f"{pod}  waits at its gate without its data: it comes back without its data; in the"
            self.wait_until(lambda: why in lab.muster(pod, "gate", "list").stdout, 20,
                            "gate list names it, and why")
            self.assertIn(f"held: {pod}: it comes back without its data",
                          lab.muster(pod, "status").stdout)
            self.wait_until(lambda: f"event=held msg=\"{pod} is held back" in lab.log(pod), 20,
                            "the log names the way out")
            self.wait_until(lambda: any(
                event["reason"] == "ServerHeld" and f"{pod} is held back" in event["message"]
                for event in lab.get("events")), 20, "an Event tells it")
            other = next(p for p in lab.pods() if p != pod)
            wrong = lab.muster(other, "gate", "open", pod, "--socket", socket(other))
            self.assertEqual(wrong.returncode, 2)
            self.assertIn(f"kubectl exec {pod} -c agent -- muster gate open {pod}", wrong.stderr)
            time.sleep(3)
            self.assertEqual(cluster.role(pod), "none", "it is held")
            done = lab.muster(pod, "gate", "open", pod, "--socket", socket(pod))
            self.assertEqual(done.returncode, 0, done.stderr)
            self.wait_until(lambda: cluster.role(pod) == "master", 20, "it starts")
            self.assertIn("event=gate-opened", lab.log(pod))
            self.wait_until(lambda: any(event["reason"] == "ServerStarts" for event in
                                        lab.get("events")), 20, "and so the end")


class Silent(MusterTestCase):
    timeout = 180

    def test_the_volume_and_the_agent_are_gone(self) -> None:
        """The hook goes by what the agent noted beside its socket (found by the simulator)."""
        with Lab(pods=6, node_timeout=5000, settings={"hook.silentSeconds": 2}) as lab:
            lab.up()
            cluster = Cluster(lab)
            cluster.write()
            self.wait_until(lambda: len(cluster.primaries()) == 3, 40, "replicas in sync")
            pod = cluster.primaries()[0]
            note = lab.state / "pods" / pod / "run/part"
            self.wait_until(note.exists, 10, "the agent notes whom it runs beside")
            lab.pause(pod, "agent")
            cluster.forget_data(pod, nodes_conf=False)
            lab.kill(pod, "redis", 9, wait=False)
            self.wait_until(lambda: "ran here with slots or replicas and this is not its volume"
                            in lab.log(pod, "redis"), 20, "the hook says why it waits")
            time.sleep(4)                   # longer than it waits for a silent agent
            self.assertEqual(cluster.role(pod), "none", "it is held")
            lab.resume(pod, "agent")
            self.wait_until(lambda: cluster.role(pod) == "slave", 90, "it follows its heir")
            lab.wait("formed", timeout=60)
            self.assertEqual(cluster.lost(), 0)


if __name__ == "__main__":
    main()
