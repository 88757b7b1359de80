#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""An empty replica that has not synced yet is never elected (DESIGN 2, valkey #4425).

With cluster-replica-validity-factor 0, as many run it for availability, Redis lets it win, and every key
of its shard is lost; what its agent started it with keeps it from that until it is in sync.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from keyed import Cluster  # noqa: E402
from muster_test import Lab, MusterTestCase, main, on_servers, resp  # noqa: E402

NODE_TIMEOUT = 2000


class Unsynced(MusterTestCase):
    timeout = 240

    def no_failover(self, lab: Lab, pod: str) -> str:
        return resp.text(lab.redis(pod, "CONFIG", "GET", "cluster-replica-no-failover")[1])

    def starts_empty(self, lab: Lab, cluster: Cluster) -> tuple[str, str]:
        """A replica without its volume, whose primary does not begin to sync it."""
        primary = cluster.primaries()[0]
        lab.redis(primary, "CONFIG", "SET", "repl-diskless-sync-delay", "120")
        follows = f"master_host:{lab.address(primary)}\r"
        replica = next(pod for pod in lab.pods()
                       if follows in lab.text(pod, "INFO", "replication"))
        lab.lose_volume(replica, wait=False)
        self.wait_until(lambda: cluster.role(replica) == "slave" and
                        "master_link_status:down" in lab.text(replica, "INFO", "replication"), 60,
                        "the newcomer is told whom to follow")
        lab.redis(replica, "CONFIG", "SET", "cluster-replica-validity-factor", "0")
        return primary, replica

    def primary_is_away(self, lab: Lab, cluster: Cluster, primary: str, replica: str,
                        seconds: float = 5 * NODE_TIMEOUT / 1000) -> bool:
        """True if the replica takes its place meanwhile."""
        lab.pause(primary, "redis")
        try:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                if cluster.role(replica) == "master":
                    return True
                time.sleep(0.2)
            return False
        finally:
            lab.resume(primary, "redis")

    @on_servers("redis-7.0", "valkey-9")
    def test_an_empty_replica_is_not_elected(self, server: str) -> None:
        with Lab(pods=6, server=server, node_timeout=NODE_TIMEOUT) as lab:
            lab.up()
            cluster = Cluster(lab)
            cluster.write()
            self.wait_until(lambda: len(cluster.primaries()) == 3, 40, "replicas in sync")
            for pod in lab.pods():
                self.wait_until(lambda p=pod: self.no_failover(lab, p) == "no", 20,
                                f"{pod} is in sync or owns slots")
            primary, replica = self.starts_empty(lab, cluster)
            self.assertEqual(self.no_failover(lab, replica), "yes")
            self.assertFalse(self.primary_is_away(lab, cluster, primary, replica))
            self.wait_until(lambda: cluster.lost() == 0, 30, "every key is there")
            self.assertEqual(self.no_failover(lab, replica), "yes", "it has not synced")

            lab.redis(replica, "CONFIG", "SET", "cluster-replica-no-failover", "no")
            won = self.primary_is_away(lab, cluster, primary, replica, 30)   # a lost vote costs 8 s
            self.wait_until(lambda: cluster.role(primary) in ("slave", "master"), 30, "it is back")
            print(f"{server}: never elected while unsynced; without the setting: "
                  f"{'elected' if won else 'not elected'}")
            self.assertTrue(won, "what the setting is for")

    def test_what_is_in_sync_may_be_elected(self) -> None:
        with Lab(pods=6, node_timeout=NODE_TIMEOUT) as lab:
            lab.up()
            cluster = Cluster(lab)
            self.wait_until(lambda: len(cluster.primaries()) == 3, 40, "replicas in sync")
            replica = next(pod for pod in lab.pods() if cluster.role(pod) == "slave")
            lab.delete(replica)
            lab.wait("formed", timeout=60)
            self.wait_until(lambda: self.no_failover(lab, replica) == "no", 10,
                            "it is taken back after each start")


if __name__ == "__main__":
    main()
