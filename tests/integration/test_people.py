#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What people order, under load: `muster failover POD`, `muster pause` and `muster resume`."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Callable

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from drain_case import SWIFT, DrainTestCase, orders, told  # noqa: E402
from keyed import Cluster  # noqa: E402
from muster_test import Lab, main, on_servers  # noqa: E402

NODE_TIMEOUT = 2000
PLACING = {**SWIFT, "policy.placement": "enforce", "policy.placementMinInterval": 5}
VOTES_SECONDS = 12          # 4 x NODE_TIMEOUT + 1 s, and what is left of it is told in tens
STILL_SECONDS = 15          # and the quiet time of placement is 10
HEALTHY, PROMISE = 0, 1     # of `muster check`


class People(DrainTestCase):
    timeout = 500

    @on_servers("redis-7.0", "valkey-9", first=0)
    def test_a_person_moves_a_role(self, server: str) -> None:
        # old votes are kept for four times as long, in which a busy machine comes to the refusal too
        with Lab(pods=6, server=server, node_timeout=5000, settings=SWIFT) as lab:
            cluster = self.formed(lab)
            lab.load_start()
            self.ends_by_itself(lab, server)
            primary, (replica, *_) = sorted(cluster.shards().items())[0]
            self.sent_to_the_leader(lab, replica)
            before = orders(lab)
            began = time.monotonic()
            done = self.order(lab, "failover", replica, "--wait")
            self.assertEqual(done.returncode, 0, done.stderr)
            print(f"\n{server}: {replica} took over {time.monotonic() - began:.2f} s after the word")
            self.wait_until(lambda: cluster.role(replica) == "master", 10, "as it says itself")
            self.assertEqual(cluster.role(primary), "slave")
            again = self.order(lab, "failover", replica)
            self.assertEqual(again.returncode, 0, again.stderr)
            self.assertIn(f"{replica} is its shard's primary already", again.stdout)
            self.assertEqual(orders(lab), before + 1, "the same again is no second order")
            done = self.order(lab, "failover", primary, "--wait")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.refused(lab, replica, server)
            self.assertEqual(orders(lab), before + 2)
            self.wait_until(lambda: lab.muster(self.leader(lab), "check").returncode == HEALTHY, 40,
                            f"healthy, with {replica}")
            lab.load_stop()
            self.nothing_lost(lab, f"a person's failover, {server}")

    @on_servers("redis-7.0", "valkey-9", first=0)
    def test_a_pause_stops_placement_and_no_drain(self, server: str) -> None:
        with Lab(pods=6, server=server, node_timeout=NODE_TIMEOUT, settings=PLACING) as lab:
            cluster = self.formed(lab)
            lab.load_start()
            voted = time.monotonic() + VOTES_SECONDS
            done = self.order(lab, "pause", "--reason", "new disks")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("it has no end: `muster resume`", done.stdout)
            self.paused(lab)
            time.sleep(max(0.0, voted - time.monotonic()))
            self.crowd(cluster)
            ordered = orders(lab)
            time.sleep(STILL_SECONDS)
            self.assertEqual(orders(lab), ordered, "nothing is placed")
            drained = len(told(lab, "drained"))
            lab.delete(sorted(cluster.shards())[0], timeout=90)
            self.assertGreater(len(told(lab, "drained")), drained, "a drain hands over")
            self.whole(lab)
            lab.scale(7, wait=False)
            self.anyone_says(lab, "muster-6 is not taken in before `muster resume`", 60, 0)
            leader = self.leader(lab)
            lab.pause(leader, "agent")
            follower = self.leader(lab, but=leader)
            check = lab.muster(follower, "check")
            self.assertIn("nobody has paused Muster: paused by a person", check.stdout)
            done = self.say(lab, follower, "resume")
            self.assertEqual(done.returncode, 0, done.stderr)
            lab.resume(leader, "agent", wait=False)
            self.wait_until(lambda: cluster.role("muster-6") == "slave", 60, "the newcomer joins")
            self.wait_until(lambda: "Resumed" in cluster.events(), 20, "an Event tells the end")
            lab.load_stop()
            self.nothing_lost(lab, f"a pause, {server}")

    # -- steps

    def ends_by_itself(self, lab: Lab, server: str) -> None:
        """A pause with an end; meanwhile the votes of the formation grow old."""
        done = self.order(lab, "pause", "--for", f"{VOTES_SECONDS}s")
        self.assertEqual(done.returncode, 0, done.stderr)
        began = time.monotonic()
        self.paused(lab)
        self.wait_until(lambda: self.status_of(lab).get("paused") is False, 40, "it ends")
        lasted = time.monotonic() - began
        print(f"\n{server}: a pause of {VOTES_SECONDS} s ended after {lasted:.1f} s")
        self.wait_until(lambda: lab.muster(self.leader(lab), "check").returncode == HEALTHY, 20,
                        "healthy")
        self.assertIn('"pause"', self.record(lab), "another clock may see it differently")
        done = self.order(lab, "resume")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.wait_until(lambda: '"pause"' not in self.record(lab), 20, "taken out of the record")

    def sent_to_the_leader(self, lab: Lab, replica: str) -> None:
        leader = self.leader(lab)
        other = next(pod for pod in lab.pods() if pod != leader)
        done = self.say(lab, other, "failover", replica)
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"kubectl exec {leader} -c agent -- muster failover {replica}", done.stderr)

    def refused(self, lab: Lab, replica: str, server: str) -> None:
        """In words, with nothing sent: it has just had an election, and then it is frozen."""
        unknown = self.order(lab, "failover", "muster-9", "--wait")
        self.assertEqual(unknown.returncode, 1)
        self.assertIn("muster-9 is no pod of", unknown.stderr)
        if server.startswith("redis"):      # Valkey 8.1 and newer keep neither votes nor pauses
            early = self.order(lab, "failover", replica, "--wait")
            self.assertEqual(early.returncode, 1, early.stdout)
            self.assertIn("not now: ", early.stderr)
        lab.pause(replica, "redis")
        try:
            away = self.order(lab, "failover", replica, "--wait")
            self.assertEqual(away.returncode, 1, away.stdout)
            print(f"\n{server}, frozen: {away.stderr.strip()}")
        finally:
            lab.resume(replica, "redis")

    def paused(self, lab: Lab) -> None:
        """Status, check, log, metric's promise and Event say so."""
        self.wait_until(lambda: self.status_of(lab).get("paused") is True, 10, "status says so")
        check = lab.muster(self.leader(lab), "check")
        self.assertEqual(check.returncode, PROMISE, check.stdout)
        self.assertIn("nobody has paused Muster: paused by a person", check.stdout)
        self.assertTrue(lab.muster(self.leader(lab), "status").stdout.startswith("PAUSED"))
        self.wait_until(lambda: all("event=paused " in lab.log(pod) for pod in lab.pods()), 10,
                        "each agent's log says so")
        self.wait_until(lambda: any(event["reason"] == "Paused" for event in lab.get("events")), 20,
                        "an Event says so")

    def crowd(self, cluster: Cluster) -> None:
        """A replica on a node that has a primary takes over by a person's hand: worse than before."""
        lab = cluster.lab
        shards = cluster.shards()
        node: Callable[[str], str] = lambda pod: lab.get("pods", pod)["spec"].get("nodeName", "")
        taken = {node(pod) for pod in shards}
        heir = next(replica for replicas in shards.values() for replica in replicas
                    if node(replica) in taken)
        done = self.order(lab, "failover", heir, "--wait")
        self.assertEqual(done.returncode, 0, done.stderr)

    # -- asking

    def leader(self, lab: Lab, but: str = "") -> str:
        """Who leads, by his own word: the Lease names one who has died for a while."""
        def who() -> str:
            for pod in sorted(lab.pods()):
                status = lab.muster_json(pod, "status") if pod != but else {}
                if status.get("leader") == pod:
                    return pod
            return ""
        return str(self.wait_until(who, 40, "somebody leads"))

    def status_of(self, lab: Lab) -> dict[str, object]:
        cluster: dict[str, object] = lab.muster_json(self.leader(lab), "status")["cluster"]
        return cluster

    def record(self, lab: Lab) -> str:
        return "".join(str(found.get("data")) for found in lab.get("configmaps"))

    def say(self, lab: Lab, pod: str, *words: str) -> "subprocess.CompletedProcess[str]":
        socket = str(lab.state / "pods" / pod / "run/agent.sock")
        return lab.muster(pod, *words, "--socket", socket, timeout=60)

    def order(self, lab: Lab, *words: str) -> "subprocess.CompletedProcess[str]":
        return self.say(lab, self.leader(lab), *words)


if __name__ == "__main__":
    main()
