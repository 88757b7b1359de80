#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The gate: a server that comes back without its data never makes its replicas throw theirs away."""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Callable

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from keyed import KEYS, Cluster  # noqa: E402
from muster_test import Lab, MusterTestCase, main  # noqa: E402

SERVERS = ("redis-7.0", "redis-8.0", "valkey-8.1", "valkey-9")
NODE_TIMEOUT = 2000
PARALLEL = 3
GUARD_OFF = {"lab.agentEnv": "MUSTER_TEST_START_WITHOUT_DATA=1"}


def gate_lines(lab: Lab, pod: str) -> list[str]:
    return [line for line in lab.log(pod).splitlines() if "event=gate" in line]


class Data(MusterTestCase):
    timeout = 500

    def one(self, cluster: Cluster, nodes_conf: bool, whole_pod: bool, heir_wanted: bool) -> float:
        lab = cluster.lab
        self.wait_until(lambda: len(cluster.primaries()) == 3, 40, "three primaries with a replica")
        pod = cluster.primaries()[0]
        before = len(gate_lines(lab, pod))
        cluster.forget_data(pod, nodes_conf)
        begin = time.monotonic()
        cluster.restart(pod, whole_pod)
        self.wait_until(lambda: len(gate_lines(lab, pod)) > before or
                        "event=stopped" in lab.log(pod), 20, "the gate is asked")
        self.wait_until(lambda: cluster.role(pod) != "none", 60, f"{pod} runs again")
        if heir_wanted:
            self.wait_until(lambda: cluster.role(pod) == "slave", 60, f"{pod} follows its heir")
        lab.wait("formed", timeout=60)
        return time.monotonic() - begin

    def server(self, server: str, persistence: str) -> list[str]:
        told = []
        with Lab(pods=6, server=server, persistence=persistence, node_timeout=NODE_TIMEOUT,
                 settings={"kubernetes.leaseSeconds": 3}) as lab:
            lab.up()
            cluster = Cluster(lab)
            cluster.write()
            for nodes_conf in (True, False):
                for whole_pod in (False, True):
                    took = self.one(cluster, nodes_conf, whole_pod, True)
                    lost = cluster.lost()
                    told.append(f"{server} {persistence}: "
                                f"{'nodes.conf kept' if nodes_conf else 'volume empty'}, "
                                f"{'pod' if whole_pod else 'container'} again: "
                                f"{lost} keys lost, whole after {took:.1f} s")
                    if lost:
                        lab.dump()
        return told

    def test_a_primary_without_its_data_empties_nobody(self) -> None:
        """Every persistence mode and server, with nodes.conf and without, same address and new.

        Each mode and each server at least once; all twelve pairs with GATE_ALL=1 (3 minutes).
        """
        wanted = [(server, mode) for mode in ("aof", "rdb", "none") for server in SERVERS]
        if not os.environ.get("GATE_ALL"):
            wanted = [("redis-7.0", "aof"), ("redis-8.0", "rdb"), ("valkey-8.1", "none"),
                      ("redis-7.0", "none"), ("valkey-9", "aof"), ("valkey-9", "rdb")]
        with ThreadPoolExecutor(PARALLEL) as pool:
            told = [line for lines in pool.map(lambda w: self.server(*w), wanted) for line in lines]
        print("\n" + "\n".join(told))
        self.assertEqual(len(told), 4 * len(wanted))
        self.assertEqual([line for line in told if ": 0 keys lost" not in line], [])

    def test_with_the_guard_off_the_data_is_lost(self) -> None:
        """What the gate is for (FACTS 0.1)."""
        with Lab(pods=6, persistence="none", node_timeout=15000, settings=GUARD_OFF) as lab:
            lab.up()
            cluster = Cluster(lab)
            cluster.write()
            self.wait_until(lambda: len(cluster.primaries()) == 3, 40, "replicas in sync")
            lab.kill(cluster.primaries()[0], "redis", 9)
            lab.wait("formed", timeout=60)
            self.assertGreater(cluster.lost(), KEYS // 6)


class Majority(MusterTestCase):
    timeout = 240

    def test_all_primaries_come_back_empty(self) -> None:
        """Nobody can elect: the leader lets the best replicas take over, and the gates open."""
        for server in ("redis-7.0", "valkey-9"):
            with self.subTest(server=server), \
                    Lab(pods=6, server=server, persistence="none", node_timeout=5000,
                        settings={"kubernetes.leaseSeconds": 3}) as lab:
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
                print(f"{server}: all primaries emptied, whole after "
                      f"{time.monotonic() - begin:.1f} s")
                self.assertEqual(cluster.lost(), 0)
                self.assertIn("CLUSTER FAILOVER TAKEOVER",
                              "".join(lab.log(pod) for pod in lab.pods()))
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
        with Lab(pods=6, node_timeout=15000, settings={"hook.silentSeconds": 5}) as lab:
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
            time.sleep(7)                   # longer than it waits for a silent agent
            self.assertEqual(cluster.role(pod), "none", "it is held")
            lab.resume(pod, "agent")
            self.wait_until(lambda: cluster.role(pod) == "slave", 90, "it follows its heir")
            lab.wait("formed", timeout=60)
            self.assertEqual(cluster.lost(), 0)


class Addresses(MusterTestCase):
    """FAULTS B1, B3: every server is found again by its id, and nobody's role moves."""

    timeout = 240

    def test_pods_that_swap_their_addresses(self) -> None:
        for server in ("redis-7.0", "valkey-9"):
            with self.subTest(server=server), Lab(pods=6, server=server) as lab:
                lab.up()
                cluster = Cluster(lab)
                cluster.write()
                self.wait_until(lambda: len(cluster.primaries()) == 3, 40, "replicas in sync")
                primaries = cluster.primaries()
                before = {pod: lab.address(pod) for pod in primaries}
                begin = time.monotonic()
                lab.readdress(primaries[0], primaries[1], swap=True)
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

    def pending(self, server: str) -> None:
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

    def test_two_primaries_go_and_one_pod_stays_pending(self) -> None:
        """The one that is back helps to find that the other failed: it must not be mere noaddr to it."""
        self.at_once(self.pending, "redis-7.0", "valkey-9")


if __name__ == "__main__":
    main()
