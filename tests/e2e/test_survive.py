#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What nobody has planned, while clients write: a kubelet stopped and its node lost, a server's process killed, the API
server down with a drain and a crash inside.

Only on the cluster that tests/e2e/cluster started (E2E_STATE). E2E_API_DOWN: so many seconds the API server is down.
"""

from __future__ import annotations

import os
import re
import time
import unittest
from typing import Any, Callable, ClassVar

from outage import Outage
from release import Refused, comeback, figure, wait_until
from witness import Server, cluster, when

API_DOWN = int(os.environ.get("E2E_API_DOWN", "90"))
# seconds; promised for a crash is 1.0 as a median of many on a machine that does nothing else
CRASH_MAX = 2.0
# of a primary that nobody could replace at once: its restart, and 2 s in which Redis refuses writes
RESTART_MAX = 15.0
# a hand-over that comes to nothing pauses writes for 5 s
DRAIN_MAX = 4.0
# cluster-node-timeout, 15 s, and an election
ELECTION_MAX = 45.0
# writes that a node had acknowledged and not sent to its replica when its power went
UNSENT_MAX = 100
# the node controller's patience (node-monitor-grace-period) is 50 s
NOTICED_MAX = 90
# for so long nobody does anything once the API server is back
QUIET_SECONDS = 30
# whether replicas may be elected, which each agent sets as it sees its server: no order
OWN = re.compile(r'cmd="CONFIG SET cluster-replica-no-failover ')


@unittest.skipUnless(os.environ.get("E2E_STATE"), "the nodes and processes of a given cluster are not ours to end")
class Survive(Outage):
    """One release for all. Each test goes on from where the last one ended."""

    # debug: every command that changes something is in the logs
    values = {"policy__crashHandover": "auto", "log__level": "debug"}
    access: ClassVar[Any]
    # the primaries of the beginning: about the others the servers may give no second vote yet
    first: ClassVar[list[str]]
    # Kubernetes starts a container again at once, but not twice in a few minutes
    killed: ClassVar[set[str]] = set()

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.access = cls.release.access()
        cls.first = [one["primary"] for one in cls.status["shards"]]

    # -- looking -------------------------------------------------------------------------------------------------------

    def ready_since(self, names: set[str]) -> dict[str, tuple[str, str]]:
        """Of these pods: whether they are ready, and since when."""
        return {name: (one["status"], one["lastTransitionTime"]) for name, pod in self.pods().items() if name in names
                for one in pod["status"]["conditions"] if one["type"] == "Ready"}

    def follows(self, server: Server) -> bool:
        """Whether it is a replica in sync, as it says itself."""
        role = comeback.ask(server.ip, "ROLE", access=self.access)
        return bool(role) and role[0] == b"slave" and role[3] == b"connected"

    def becomes(self, ask: Callable[[], object], wanted: object) -> None:
        """What a kubelet tells the API is there a moment later."""
        try:
            wait_until(lambda: ask() == wanted, 60, "it")
        except AssertionError:
            self.assertEqual(ask(), wanted)

    def orders(self, since: float) -> list[str]:
        """The commands to servers since then, but for that setting."""
        return [line.split('cmd="')[1].split('"')[0] for line in self.logs.acts(since) if not OWN.search(line)]

    # -- a node --------------------------------------------------------------------------------------------------------

    def test_1_a_kubelet_stops_for_good_and_then_its_containers(self) -> None:
        node, gone, witness = self.choose_node()
        ids = {one["name"]: one["nodeId"] for one in self.release.status()["pods"]}
        self.addCleanup(cluster, "up")
        with self.load("a kubelet stopped for good, and its node lost", UNSENT_MAX) as report:
            stopped = time.time()
            cluster("stop", node, "kubelet")
            wait_until(lambda: not self.node_is_ready(node), NOTICED_MAX, f"{node} not ready")
            noticed = time.time()
            time.sleep(5)
            cut = time.time()
            self.assertEqual(self.logs.acts(stopped), [], "its servers live")
            cluster("cut", node)
            wait_until(lambda: self.served_without(gone, witness), 120, f"every slot served without {gone}")
            served = time.time()
            self.missed(gone, witness)
            time.sleep(5)
        self.paused("a kubelet stopped, its containers not", report, stopped, cut, CRASH_MAX)
        self.paused("a node lost (cluster-node-timeout 15 s)", report, cut, served + 5, ELECTION_MAX)
        acts = self.logs.acts(stopped)
        self.assertEqual([line for line in acts if "FORGET" in line or any(f"to={one}" in line for one in gone)], [])
        figure(f"Survive, {node} not ready after {noticed - stopped:.0f} s, every slot served by others "
               f"{served - cut:.0f} s after its end; commands sent meanwhile: {len(acts)}")
        begun = time.monotonic()
        cluster("up")
        self.assertEqual({one["name"]: one["nodeId"] for one in self.release.wait_formed(300)["pods"]}, ids)
        wait_until(self.whole_again, 60, "muster check finds nothing missing")
        figure(f"Survive, {node} is back: whole again after {time.monotonic() - begun:.0f} s")

    # -- a process -----------------------------------------------------------------------------------------------------

    def crash(self, pod: str, server: Server) -> bool:
        """Its process is killed; whether another took over at once. Who proves nothing in a second is left alone."""
        self.killed.add(pod)
        left = len(self.logs.told("crash-left"))
        server.kill("KILL")
        wait_until(lambda: self.follows(server) or len(self.logs.told("crash-left")) > left, 60, f"{pod} replaced", 0.1)
        if len(self.logs.told("crash-left")) == left:
            return True
        figure(f"Survive: nobody took over from {pod}: {self.logs.told('crash-left')[-1]}")
        time.sleep(RESTART_MAX)
        return False

    def test_2_a_primarys_process_is_killed(self) -> None:
        shards, restarts, pods = self.shards(), self.release.restarts(), self.pods()
        victims = [one for one in self.first if one in shards]
        for victim in victims[:2]:
            with self.load("a primary's process killed") as report:
                time.sleep(3)
                killed = time.time()
                replaced = self.crash(victim, Server(pods[victim]))
                back = time.time()
                time.sleep(1)
            self.paused("a primary's process killed (promise: 1.0 s, median of 20)", report, killed, back,
                        CRASH_MAX if replaced else RESTART_MAX)
            restarts[f"{victim} redis"] += 1
            if replaced:
                break
        self.assertTrue(replaced, self.logs.told("crash-left"))
        heir = shards.pop(victim)
        self.becomes(self.shards, {**shards, heir: victim})
        self.becomes(self.release.restarts, restarts)
        self.assertEqual(self.orders(killed), ["CLUSTER FAILOVER FORCE"])
        wait_until(lambda: re.search(rf"{victim} .*{heir}", self.release.events("PrimaryHandedOver")), 30, "its Event")

    # -- the API server ------------------------------------------------------------------------------------------------

    def drain(self, pod: str, server: Server) -> bool:
        """As the kubelet ends a container: preStop, then SIGTERM; it starts it again. True."""
        self.killed.add(pod)
        server.run("/hook/muster-hook", "drain", "--silent-seconds", "30")
        server.kill("TERM")
        wait_until(lambda: self.follows(server), 60, f"{pod} is a replica", 0.1)
        return True

    def test_3_the_api_server_is_down_with_a_drain_and_a_crash_inside(self) -> None:
        shards, restarts, pods = self.shards(), self.release.restarts(), self.pods()
        record = self.release.get("configmap", f"{self.release.name}-muster")["data"]
        ends = [one for one, other in shards.items() if not {one, other} & self.killed][:2]
        others = set(pods) - set(ends)
        ready, spans = self.ready_since(others), []
        self.addCleanup(cluster, "up")
        with self.load(f"the API server down for {API_DOWN} s") as report:
            down = time.time()
            cluster("stop", "control", "kube-apiserver")
            for part, (pod, end, limit) in enumerate(zip(ends, (self.drain, self.crash), (DRAIN_MAX, CRASH_MAX)), 1):
                time.sleep(max(0.0, down + part * API_DOWN / 3 - time.time()))
                begin = time.time()
                replaced = end(pod, Server(pods[pod]))
                spans.append((end.__name__, begin, time.time(), limit if replaced else RESTART_MAX))
                restarts[f"{pod} redis"] += 1
                if replaced:
                    shards[shards.pop(pod)] = pod
            time.sleep(max(0.0, down + API_DOWN - time.time()))
            with self.assertRaises(Refused):
                self.pods()
            done, up = self.orders(down), time.time()
            cluster("up")
            self.becomes(self.shards, shards)
            time.sleep(QUIET_SECONDS)
        for name, begin, until, limit in spans:
            self.paused(f"a {name} without the API", report, begin, until, limit)
        self.assertIn(done, (["CLUSTER FAILOVER", "CLUSTER FAILOVER FORCE"], ["CLUSTER FAILOVER"]))
        self.assertEqual(self.logs.acts(up), [])
        self.becomes(self.release.restarts, restarts)
        self.becomes(lambda: self.ready_since(others), ready)
        self.assertEqual([line for line in self.logs.told("not-ready")
                          if when(line) > down and not any(f"pod={one} " in line for one in ends)], [])
        self.assertEqual(self.shards(), shards)
        self.assertEqual(self.release.get("configmap", f"{self.release.name}-muster")["data"], record)


if __name__ == "__main__":
    unittest.main(verbosity=2)
