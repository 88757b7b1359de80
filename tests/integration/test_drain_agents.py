#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""FAULTS B17, NOTES (8): an agent that dies in the middle of the drain it answers. Its successor
goes on, or else the leader; a liveness kill, which ends no pod, has six seconds.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from drain_case import NODE_TIMEOUT, SWIFT, DrainTestCase, Unheard, told, waited  # noqa: E402
from keyed import Cluster  # noqa: E402
from muster_test import Lab, main, on_servers  # noqa: E402

LIVENESS_SECONDS = 6         # DESIGN 5.5


class Agents(DrainTestCase):
    @on_servers("redis-7.0", "valkey-9")
    def test_agents_that_die_in_a_drain(self, server: str) -> None:
        with Lab(pods=6, server=server, node_timeout=NODE_TIMEOUT, settings=SWIFT) as lab:
            cluster = self.formed(lab)
            lab.load_start()
            for step in (self.nobody_comes_after_it, self.a_liveness_kill,
                         self.its_successor_goes_on):
                print(f"\n{server}: {step(cluster)}", end="")
                self.whole(lab)
            lab.load_stop()
            self.nothing_lost(lab, f"B17 {server}")

    def another(self, cluster: Cluster) -> tuple[str, str, list[str]]:
        """A primary whose pod does not lead, its replica and the other primaries."""
        leader = cluster.lab.muster_json("muster-0", "status")["leader"]
        shards = cluster.shards()
        pod = next(pod for pod in sorted(shards) if pod != leader)
        return pod, shards[pod][0], [other for other in shards if other != pod]

    def nobody_comes_after_it(self, cluster: Cluster) -> str:
        """Kubernetes starts no container again in a pod that terminates: the leader hands over."""
        lab = cluster.lab
        pod, replica, others = self.another(cluster)
        before = len(told(lab, "turn"))
        began = time.monotonic()
        with Unheard(lab, replica, others) as bus:
            bus.wait()
            lab.delete(pod, wait=False)
            self.says(lab, pod, f"{pod} holds its", 10)
            lab.kill(pod, "agent", 9, wait=False)
            self.anyone_says(lab, f"{pod} is to stop and its agent is silent", 40, before)
        self.wait_until(lambda: cluster.role(replica) == "master", 40, "the leader hands over")
        handed = time.monotonic() - began
        self.whole(lab)
        return (f"B17 (8) the agent of {pod} killed in its drain, for good: the leader had handed "
                f"over after {handed:.1f} s, whole after {time.monotonic() - began:.1f} s")

    def stop(self, lab: Lab, pod: str) -> "subprocess.Popen[bytes]":
        """preStop, as the kubelet runs it before it restarts a container that is not alive."""
        hook = Path(os.environ["MUSTER_BUILD"]) / "bin/muster-hook"
        return subprocess.Popen([str(hook), "drain", "--socket",
                                 str(lab.state / "pods" / pod / "run/agent.sock")],
                                stderr=subprocess.DEVNULL)

    def a_liveness_kill(self, cluster: Cluster) -> str:
        lab = cluster.lab
        pod, replica, _ = self.another(cluster)
        drains = lab.log(pod).count("event=drained ")
        self.assertEqual(self.stop(lab, pod).wait(20), 0)
        lab.kill(pod, "redis", 15)
        line = self.ends(lab, pod, drains, 1)
        self.assertIn(f"slots over to {replica}", line)
        self.assertLess(waited(line), LIVENESS_SECONDS)
        return f"a liveness kill of {pod} handed over after {waited(line):.2f} s"

    def its_successor_goes_on(self, cluster: Cluster) -> str:
        """It counts on from when preStop began, and orders nothing before it has looked long enough."""
        lab = cluster.lab
        pod, replica, others = self.another(cluster)
        drains = lab.log(pod).count("event=drained ")
        at = len(lab.log(pod))
        with Unheard(lab, replica, others) as bus:
            bus.wait()
            hook = self.stop(lab, pod)
            self.says(lab, pod, f"{pod} holds its", 5, at)
            lab.kill(pod, "agent", 9, wait=False)
        self.assertEqual(hook.wait(20), 0)
        line = self.ends(lab, pod, drains, 1)
        lab.kill(pod, "redis", 15)
        self.assertRegex(line, rf"{pod} stops as the primary of \d+ slots: no hand-over within "
                         rf"{LIVENESS_SECONDS} s \(.*\); its data is on disk")
        self.assertLess(abs(waited(line) - LIVENESS_SECONDS), 1.5)
        self.assertEqual(lab.pods()[pod]["restarts"]["agent"], 1)
        return (f"the agent of {pod} killed in a liveness kill's drain: its successor ended it "
                f"after {waited(line):.1f} s, counted from the beginning")


if __name__ == "__main__":
    main()
