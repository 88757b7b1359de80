#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""FAULTS B15: a primary that is to stop waits for a replica that lags, and rather leaves with its
data on disk than hand over to one that lacks some of it.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from drain_case import (BULK, LAG_MAX, NODE_TIMEOUT, QUICK, DrainTestCase, Stream,  # noqa: E402
                        waited)
from keyed import Cluster  # noqa: E402
from muster_test import Lab, main, on_servers, resp  # noqa: E402

GRACE = 30                   # DESIGN 5.5: with its data on disk it leaves 10 s before the end
PAUSE = 31                   # its rule 2: twice the node timeout and a second
LAG = 20 * LAG_MAX
SHORT_GRACE = 8
SNAPSHOT_GRACE = 22
AWAY = 6 * NODE_TIMEOUT / 1000   # an election takes 2.4 s at this timeout (FACTS 3)


class Lag(DrainTestCase):
    """At the usual node timeout: the pod is back before the others take it for dead."""

    @on_servers("redis-7.0", "valkey-9", first=0)
    def test_it_waits_for_what_is_missing_and_never_hands_over_without(self, server: str) -> None:
        with Lab(pods=6, server=server, settings=QUICK) as lab:
            cluster = self.formed(lab)
            (waits, mate), (leaves, other) = [(pod, replicas[0]) for pod, replicas
                                              in list(cluster.shards().items())[:2]]
            lab.load_start()
            self.wait_until(lambda: self.info(lab, waits)["uptime_in_seconds"] > PAUSE, 60,
                            "the voters' pause is over, counted from the start")
            with Stream(lab, waits, mate) as held, Stream(lab, leaves, other):
                for pod, replica, end in ((waits, mate, LAG), (leaves, other, LAG)):
                    self.make_lag(lab, pod, replica, end)
                lab.delete(waits, leaves, grace=GRACE, wait=False)
                for pod, replica in ((waits, mate), (leaves, other)):
                    self.says(lab, pod, f"{replica} lacks more than 1 MiB of the latest writes", 10)
                time.sleep(2)
                self.assertEqual(cluster.role(mate), "slave")
                began = time.monotonic()
                held.release()
                first = self.ends(lab, waits, 0, 15)
                caught_up = time.monotonic() - began
                second = self.ends(lab, leaves, 0, GRACE)
            self.assertRegex(first, rf"{waits} handed its \d+ slots over to {mate}")
            self.assertRegex(second, rf"{leaves} stops as the primary of \d+ slots: no hand-over "
                             rf"within {GRACE - 10} s \({other} lacks .*\); its data is on disk")
            self.assertLess(waited(second), GRACE - 2)
            self.whole(lab)
            self.assertEqual(cluster.role(other), "slave")
            lab.load_stop()
            report = self.nothing_lost(lab, f"B15 {server}")
            print(f"B15 {server}: {LAG >> 20} MiB behind; handed over {caught_up:.1f} s after the "
                  f"stream went on; without it left after {waited(second):.1f} s of {GRACE} s with "
                  f"its data on disk; lost {report['lost']}")

    @on_servers("redis-7.0", "valkey-9", first=0)
    def test_what_the_primary_has_is_waited_for(self, server: str) -> None:
        """Its pod is away for longer than an election takes: nobody who lacks some of it is elected."""
        with Lab(pods=6, server=server, node_timeout=NODE_TIMEOUT, settings=QUICK) as lab:
            cluster = self.formed(lab)
            leaves, (other,) = list(cluster.shards().items())[0]
            lab.load_start()
            with Stream(lab, leaves, other):
                self.make_lag(lab, leaves, other, LAG)
                lab.hold(leaves)
                lab.delete(leaves, grace=SHORT_GRACE, wait=False)
                line = self.ends(lab, leaves, 0, SHORT_GRACE)
                began = time.monotonic()
                self.assertRegex(line, rf"its data is on disk, and {other} waits for it")
                while time.monotonic() - began < AWAY:
                    self.assertNotEqual(cluster.role(other), "master")
                    time.sleep(0.2)
            leader = lab.get("leases", "muster-muster")["spec"]["holderIdentity"].partition("_")[0]
            self.says(lab, leader, rf"slots are not served: {other} may lack writes that {leaves} "
                      "has on its disk, and waits for it", 5)
            lab.release(leaves)
            self.whole(lab)
            self.assertEqual((cluster.role(leaves), cluster.role(other)), ("master", "slave"))
            self.wait_until(lambda: self.no_failover(lab, other) == "no", 10, "it is given back")
            lab.load_stop()
            report = self.nothing_lost(lab, f"B15, away {server}")
            print(f"B15 {server}: {LAG >> 20} MiB behind, NT {NODE_TIMEOUT} ms, pod away {AWAY} s: "
                  f"drained after {waited(line):.1f} s of {SHORT_GRACE} s; lost {report['lost']}")

    @on_servers("redis-7.0", "valkey-9", first=0)
    def test_a_snapshot_is_written_in_time(self, server: str) -> None:
        """At SIGTERM the server first waits for the replica, 10 s (shutdown-timeout)."""
        with Lab(pods=6, server=server, persistence="rdb", settings=QUICK) as lab:
            cluster = self.formed(lab)
            leaves, (other,) = list(cluster.shards().items())[0]
            lab.load_start()
            with Stream(lab, leaves, other):
                self.make_lag(lab, leaves, other, LAG)
                lab.delete(leaves, grace=SNAPSHOT_GRACE, wait=False)
                line = self.ends(lab, leaves, 0, SNAPSHOT_GRACE)
                self.assertRegex(line, rf"its data is on disk, and {other} waits for it")
                self.says(lab, leaves, "event=started", SNAPSHOT_GRACE + 10, len(lab.log(leaves)))
            self.whole(lab)
            self.assertEqual(cluster.role(leaves), "master")
            lab.load_stop()
            report = self.nothing_lost(lab, f"B15, snapshot {server}")
            print(f"B15 {server}, snapshots: drained after {waited(line):.1f} s of "
                  f"{SNAPSHOT_GRACE} s; lost {report['lost']}")

    def no_failover(self, lab: Lab, pod: str) -> str:
        return resp.text(lab.redis(pod, "CONFIG", "GET", "cluster-replica-no-failover")[1])

    def make_lag(self, lab: Lab, primary: str, replica: str, size: int) -> None:
        """More in flight than any buffer takes that acknowledges it."""
        key = "bulk" + Cluster(lab).key_at(primary)
        for _ in range(size // len(BULK) + 1):
            lab.redis(primary, "SET", key, BULK)
        self.assertGreater(self.info(lab, primary)["master_repl_offset"]
                           - self.info(lab, replica)["slave_repl_offset"], LAG_MAX)

    def info(self, lab: Lab, pod: str) -> dict[str, int]:
        """Its figures."""
        told = resp.parse_info(lab.redis(pod, "INFO"))
        return {name: int(text) for name, text in told.items() if text.isdigit()}


if __name__ == "__main__":
    main()
