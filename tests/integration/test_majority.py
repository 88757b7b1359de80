#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Most primaries do not answer: lost for good (FAULTS D12), or only cut off (D13). Nobody can tell the
two apart by asking servers, so nothing is taken over but by `muster takeover`, which wants more.
"""

from __future__ import annotations

import concurrent.futures
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from cut_case import CutTestCase  # noqa: E402
from drain_case import Stream  # noqa: E402
from keyed import Cluster, Pulse  # noqa: E402
from muster_test import Lab, main, on_servers  # noqa: E402
from owners import Owners  # noqa: E402

VERSIONS_SHARE = 2           # of the four that tests/run.sh runs at a time: two clusters at once
NODE_TIMEOUT = 2000
STUCK_SECONDS = 45           # TAKEOVER_STUCK_MS
CALM_SECONDS = 3             # nothing is done for so long: the leader plans once a second
SETTINGS = {"kubernetes.leaseSeconds": 3, "policy.crashHandover": "off",
            "lab.nodeGraceSeconds": 2, "lab.evictSeconds": 600}
MORE = 50                    # keys that one of two replicas lacks


class Majority(CutTestCase):
    timeout = 240

    def takeover(self, lab: Lab, pods: list[str]) -> str:
        """The refusal; "" if it is obeyed."""
        pod = self.leader(lab, pods)
        done = lab.muster(pod, "takeover", "--yes", "--socket",
                          str(lab.state / "pods" / pod / "run/agent.sock"))
        return done.stderr if done.returncode else ""

    def refused(self, lab: Lab, pods: list[str], why: str, timeout: float) -> None:
        """A person asks again and again, until this is the answer."""
        def says() -> bool:
            answer = self.takeover(lab, pods)
            self.assertNotEqual(answer, "", "obeyed")
            return why in answer
        self.wait_until(says, timeout, f"the answer {why!r}", 1)

    def seizures(self, lab: Lab) -> list[str]:
        """What was ordered to take slots."""
        return [act for act in Cluster(lab).acts() if "FAILOVER" in act]

    @on_servers("redis-7.0", "valkey-9", first=0)
    def test_most_primaries_do_not_answer(self, server: str) -> None:
        """Side by side, for both mostly wait."""
        with concurrent.futures.ThreadPoolExecutor() as pool:
            for step in [pool.submit(self.lost_for_good, server),
                         pool.submit(self.only_cut_off, server)]:
                step.result()

    # -- D12

    def lost_for_good(self, server: str) -> None:
        with Lab(pods=7, nodes=7, server=server, node_timeout=NODE_TIMEOUT,
                 settings=SETTINGS) as lab:
            cluster = self.formed(lab)
            cluster.write()
            shards = cluster.shards()
            first = next(pod for pod, replicas in shards.items() if len(replicas) == 2)
            lost = [first, next(pod for pod in shards if pod != first)]
            left = [pod for pod in lab.pods() if pod not in lost]
            self.refused(lab, list(lab.pods()), "most primaries answer", 20)
            # a dead server's kernel goes on to send what the process had written
            with Owners(lab) as owners, Stream(lab, first, shards[first][0]):
                key = self.lose(cluster, lost, shards[first])
                began = time.monotonic()
                self.refused(lab, left, "too early to call them lost", 40)
                self.refused(lab, left, "is there and may run behind a partition", 90)
                stuck = time.monotonic() - began
                self.assertGreater(stuck, STUCK_SECONDS - 2)
                for pod in lost:
                    lab.hold(pod)        # else the first new server may be met before the word
                lab.lose_volume(*lost, wait=False)
                time.sleep(CALM_SECONDS)
                self.assertEqual(self.seizures(lab), [], "by nobody's word")
                took = self.obeyed(cluster, left, shards, lost)
                heir, laggard = sorted(shards[first], key=lambda pod: cluster.role(pod) != "master")
                missing = sum(lab.redis(heir, "GET", f"{key}:{n}") is None for n in range(MORE))
                self.assertEqual((cluster.role(laggard), missing), ("slave", 0), "the wrong heir")
                began = time.monotonic()
                for pod in lost:
                    lab.release(pod)
                self.whole(lab)
                whole = time.monotonic() - began
            self.assertEqual(owners.twice, set(), "two owners")
            self.assertEqual(cluster.lost(), 0)
            print(f"\n{server}: D12 two of three primaries lost for good: refused for {stuck:.0f} s, "
                  f"all slots served {took:.1f} s after the word, whole {whole:.1f} s after new pods; "
                  f"lost 0, two owners 0 of {owners.samples} samples")

    def lose(self, cluster: Cluster, lost: list[str], replicas: list[str]) -> str:
        """The nodes of these pods go; the first of the replicas lacks some writes of its primary."""
        lab, primary = cluster.lab, lost[0]
        key = cluster.key_at(primary)
        for number in range(MORE):
            lab.redis(primary, "SET", f"{key}:{number}", "x")
        self.wait_until(lambda: self.offset(lab, replicas[1]) >= self.offset(lab, primary), 20,
                        "the other one has them")
        for pod in lost:
            lab.lose_node(lab.pods()[pod]["node"])
        self.assertLess(*(self.offset(lab, pod) for pod in replicas))
        return key

    @staticmethod
    def offset(lab: Lab, pod: str) -> int:
        line = next(line for line in lab.text(pod, "INFO", "replication").splitlines()
                    if line.startswith("master_repl_offset:"))
        return int(line.partition(":")[2])

    def obeyed(self, cluster: Cluster, left: list[str], shards: dict[str, list[str]],
               lost: list[str]) -> float:
        """Seconds from the word to an owner of each slot that a majority votes with."""
        lab, began = cluster.lab, time.monotonic()

        def said() -> bool:
            return self.takeover(lab, left) == ""
        self.wait_until(said, 30, "the word is obeyed", 0.5)
        self.wait_until(lambda: all(any(cluster.role(pod) == "master" for pod in shards[gone])
                                    for gone in lost), 60, "replicas take over", 0.05)
        self.wait_until(lambda: all("cluster_state:ok" in lab.text(pod, "CLUSTER", "INFO")
                                    for pod in left), 30, "all slots are served", 0.05)
        return time.monotonic() - began

    # -- D13

    def only_cut_off(self, server: str) -> None:
        """They go on to serve, of which the others hear nothing."""
        # else they would refuse their slots, for the third one's sake
        settings = {**SETTINGS, "lab.serverArgs": "--cluster-require-full-coverage no"}
        with Lab(pods=6, server=server, node_timeout=NODE_TIMEOUT, settings=settings) as lab:
            cluster = self.formed(lab)
            lab.load_start(writers=1)
            cut = cluster.masters()[:2]
            left = [pod for pod in lab.pods() if pod not in cut]
            before = cluster.acts()
            lab.partition(*cut, api=True)
            began = time.monotonic()
            with Pulse(cluster, cut) as pulse:
                self.refused(lab, left, "too early to call them lost", 40)
                self.refused(lab, left, "is there and may run behind a partition", 90)
                stuck = time.monotonic() - began
                time.sleep(CALM_SECONDS)
            lab.heal()
            self.whole(lab)
            self.refused(lab, list(lab.pods()), "most primaries answer", 20)
            lab.load_stop()
            self.nothing_lost(lab, f"{server}, D13")
            self.assertEqual([act for act in cluster.acts() if act not in before], [])
            self.assertEqual(cluster.masters()[:2], cut)
            print(f"{server}: D13 two of three primaries cut off: refused for {stuck:.0f} s, acts 0, "
                  f"they were without a write for {max(pulse.longest.values()):.2f} s at most")
            # those that serve need the votes of nobody
            self.assertLess(max(pulse.longest.values()), NODE_TIMEOUT / 1000)


if __name__ == "__main__":
    main()
