#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Drains: a server that is to stop hands its slots over first, and no acknowledged write is lost."""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from drain_case import QUICK, DrainTestCase, told  # noqa: E402
from keyed import Cluster  # noqa: E402
from muster_test import Lab, main, on_servers  # noqa: E402

VERSIONS_SHARE = 2           # of the four that tests/run.sh runs at a time: three clusters at once, each under load


class Judged(DrainTestCase):
    def judge(self, lab: Lab, server: str, handovers: int) -> None:
        """The times count on a quiet machine only: tests/soak/rolls.py judges them."""
        handed = len(told(lab, "handed-over"))
        report = self.nothing_lost(lab, f"{server}, {handed} hand-overs")
        gaps = report["longestGapsMs"][:handed]
        print(f"{server}: median of {handed} gaps {statistics.median(gaps or [0])} ms, by the "
              f"agents {self.median_gap(lab)} ms; an attempt every "
              f"{report['attemptGapP99Ms']} ms (99 of 100), {report['attemptGapMaxMs']} ms at most")
        self.assertGreaterEqual(handed, handovers)
        self.assertEqual([kept for kept in told(lab, "drained") if "level=warn" in kept], [])


class Roll(Judged):
    @on_servers("redis-7.0", "valkey-9", "redis-8.0", "valkey-8.1")
    def test_a_rolling_restart_loses_nothing(self, server: str) -> None:
        with Lab(pods=6, server=server, settings=QUICK) as lab:
            lab.up()
            cluster = Cluster(lab)
            self.wait_until(lambda: len(cluster.primaries()) == 3, 40, "replicas in sync")
            lab.load_start()
            lab.roll(timeout=300)
            lab.load_stop()
            lab.wait("formed", timeout=60)
            self.judge(lab, server, 3)


class BackAndForth(Judged):
    @on_servers("redis-7.0", "valkey-9", "redis-8.0", "valkey-8.1", first=0)
    def test_ten_drains_between_two_pods(self, server: str) -> None:
        """As fast as Kubernetes allows; rule 2 makes each wait for the voters' pause (FACTS 0.3)."""
        with Lab(pods=6, server=server, node_timeout=2000, settings=QUICK) as lab:
            lab.up()
            cluster = Cluster(lab)
            self.wait_until(lambda: len(cluster.primaries()) == 3, 40, "replicas in sync")
            pair = {cluster.primaries()[0]}
            pair |= set(cluster.shards()[next(iter(pair))])
            lab.load_start()
            for _ in range(10):
                owner = next(pod for pod in cluster.masters() if pod in pair)
                lab.delete(owner, timeout=90)
                lab.wait("ready", timeout=60)
            lab.load_stop()
            self.judge(lab, server, 10)


class Ends(DrainTestCase):
    """What must not wait for a candidate that cannot come."""

    def test_scaled_to_zero_and_deleted_at_once(self) -> None:
        with Lab(pods=6, node_timeout=2000, grace=3600, settings=QUICK) as lab:
            lab.up()
            cluster = Cluster(lab)
            cluster.write()
            self.wait_until(lambda: len(cluster.primaries()) == 3, 40, "replicas in sync")
            began = time.monotonic()
            lab.delete(*lab.pods(), timeout=60)
            took = time.monotonic() - began
            lab.wait("formed", timeout=60)
            self.assertEqual(cluster.lost(), 0)
            began = time.monotonic()
            lab.scale(0, timeout=60)
            print(f"\nall deleted and back after {took:.1f} s, scaled to 0 after "
                  f"{time.monotonic() - began:.1f} s")
            lab.scale(6, timeout=60)
            lab.wait("formed", timeout=60)
            self.assertEqual(cluster.lost(), 0)

    def test_an_agent_that_dies_meanwhile(self) -> None:
        """The next one goes on from what Redis and the hook say; or else the leader hands over."""
        with Lab(pods=6, node_timeout=2000, settings=QUICK) as lab:
            lab.up()
            cluster = Cluster(lab)
            self.wait_until(lambda: len(cluster.primaries()) == 3, 40, "replicas in sync")
            leader = lab.muster_json("muster-0", "status")["leader"]
            pod = next(p for p in cluster.primaries() if p != leader)
            lab.load_start()
            lab.pause(pod, "agent")
            lab.delete(pod, wait=False)
            self.wait_until(lambda: cluster.role(pod) == "slave", 40, "the leader hands over")
            self.anyone_says(lab, "its agent is silent: its", 10, 0)
            lab.resume(pod, "agent")
            lab.wait("formed", timeout=90)
            lab.load_stop()
            self.nothing_lost(lab)

    def test_without_the_api_two_drains_of_one_shard(self) -> None:
        """The second pod of the shard stops 5 s after the first: its mate is not back to take over."""
        with Lab(pods=6, node_timeout=2000, grace=60, settings=QUICK) as lab:
            lab.up()
            cluster = Cluster(lab)
            self.wait_until(lambda: len(cluster.primaries()) == 3, 40, "replicas in sync")
            owner = cluster.primaries()[0]
            heir = cluster.shards()[owner][0]
            lab.load_start()
            lab.api("down")
            lab.delete(owner, wait=False)
            self.wait_until(lambda: cluster.role(heir) == "master", 20, "the heir takes over")
            time.sleep(5)
            lab.delete(heir, wait=False)
            self.wait_until(lambda: any(heir in line for line in told(lab, "drained")), 70,
                            "the heir's drain ends")
            lab.api("up")
            lab.wait("formed", timeout=120)
            lab.load_stop()
            self.nothing_lost(lab)


if __name__ == "__main__":
    main()
