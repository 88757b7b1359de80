#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A primary's process that dies: its replica takes over at once if it has everything, and else nobody does.

CRASH_KILLS=20 kills as many instead of one in each shard (DESIGN 5.6; FACTS 13, M1-M4).
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from drain_case import DrainTestCase, Stream, Unheard, told  # noqa: E402
from keyed import Cluster  # noqa: E402
from muster_test import Lab, main, on_servers  # noqa: E402

KILLS = int(os.environ.get("CRASH_KILLS", "3"))
# Redis gives no second vote about a primary within 2 x cluster-node-timeout (FACTS 0.3).
PAUSE_SECONDS = 32
ORDER = "Forced failover user request accepted"
VALUES, VALUE_BYTES = 300, 100_000
# What an fsync keeps from the disk when its process is killed is not what is asked for here (FACTS 13).
AUTO = {"policy.crashHandover": "auto"}
ALWAYS = {**AUTO, "lab.serverArgs": "--appendfsync always"}


class CrashTestCase(DrainTestCase):
    timeout = 600

    def handed(self, lab: Lab) -> int:
        return len(told(lab, "crash-handed-over"))

    def judged(self, lab: Lab) -> int:
        return self.handed(lab) + len(told(lab, "crash-left"))

    def forced(self, lab: Lab) -> int:
        """How often the servers were told to ask for the votes of others."""
        return sum(lab.log(pod, "redis").count(ORDER) for pod in lab.pods())

    def followed(self, cluster: Cluster) -> int:
        """Primaries that a replica gets its writes from; under load it is never quite there."""
        return sum(role[0] == b"master" and bool(role[2]) for role in cluster.roles().values())

    def followers(self, cluster: Cluster, shards: int = 3) -> tuple[str, str]:
        """A primary, and its only replica."""
        self.wait_until(lambda: len(cluster.primaries()) == shards, 30, "replicas in sync")
        primary = cluster.primaries()[0]
        return primary, cluster.shards()[primary][0]

    def restarted(self, lab: Lab, cluster: Cluster, primary: str, timeout: float = 30) -> float:
        """Seconds until it is the primary again, which nobody has replaced."""
        began = time.monotonic()
        self.wait_until(lambda: "event=crash-left" in lab.log(primary), timeout,
                        "its agent leaves it to its restart", 0.02)
        self.wait_until(lambda: cluster.role(primary) == "master", timeout, "it is back", 0.05)
        return time.monotonic() - began


class Killed(CrashTestCase):
    @on_servers("redis-7.0", "valkey-9", first=0)
    def test_its_replica_takes_over_at_once(self, server: str) -> None:
        with Lab(pods=6, server=server, node_timeout=15000, settings=AUTO) as lab:
            cluster = self.formed(lab)
            time.sleep(PAUSE_SECONDS if server == "redis-7.0" else 7)
            lab.load_start(writers=1)
            shards = [sorted([primary, *replicas])
                      for primary, replicas in sorted(cluster.shards().items())]
            last: dict[int, float] = {}
            kills = 0
            while self.handed(lab) < KILLS:      # who proves nothing within a second is left alone
                self.assertLess(kills, 2 * KILLS, told(lab, "crash-left"))
                shard = kills % len(shards)
                if server == "redis-7.0" and shard in last:
                    time.sleep(max(0.0, last[shard] + PAUSE_SECONDS - time.monotonic()))
                owner = next(pod for pod in cluster.masters() if pod in shards[shard])
                lab.kill(owner, wait=False)
                last[shard] = time.monotonic()
                kills += 1
                self.wait_until(lambda n=kills: self.judged(lab) >= n, 20, f"kill {kills}", 0.05)
                self.wait_until(lambda: self.followed(cluster) == 3, 60, "replicas in sync")
            lab.load_stop()
            self.whole(lab)
            report = self.nothing_lost(lab, f"{server}, {KILLS} kills, NT 15 s")
            worst = report["longestGapsMs"][:KILLS]
            print(f"{server}: without a write for {statistics.median(worst)} ms (median), at most "
                  f"{max(worst)} ms; an attempt at most every {report['attemptGapMaxMs']} ms")
            self.assertLess(statistics.median(worst), 1000)
            self.assertGreaterEqual(self.forced(lab), KILLS)
            self.assertLessEqual(self.forced(lab), kills, "each once at most")


class Unproven(CrashTestCase):
    @on_servers("redis-7.0", "valkey-9", first=0)
    def test_a_replica_that_lags_is_not_taken(self, server: str) -> None:
        """FACTS 13, M2: its primary's disk has what it lacks."""
        with Lab(pods=6, server=server, node_timeout=15000, settings=ALWAYS) as lab:
            cluster = self.formed(lab)
            cluster.write()
            time.sleep(7)
            primary, replica = self.followers(cluster)
            lab.load_start(writers=1)
            time.sleep(1)
            with Stream(lab, primary, replica):
                time.sleep(1.5)
                lab.kill(primary, wait=False)
                took = self.restarted(lab, cluster, primary)
            lab.load_stop()
            self.whole(lab)
            print(f"{server}: a lagging replica: back after {took:.1f} s")
            self.nothing_lost(lab, f"{server}, a lagging replica")
            self.assertEqual((cluster.lost(), self.forced(lab)), (0, 0))

    @on_servers("redis-7.0", "valkey-9", first=0)
    def test_a_replica_that_never_synced_is_not_taken(self, server: str) -> None:
        """FACTS 13, M3: it would win, and everything would be lost."""
        with Lab(pods=6, server=server, node_timeout=15000, settings=ALWAYS) as lab:
            cluster = self.formed(lab)
            cluster.write()
            primary, replica = self.followers(cluster)
            lab.redis(primary, "CONFIG", "SET", "repl-diskless-sync-delay", "120")
            lab.lose_volume(replica, wait=False)
            self.wait_until(lambda: cluster.role(replica) == "slave" and "master_link_status:down"
                            in lab.text(replica, "INFO", "replication"), 60,
                            "the newcomer is told whom to follow")
            time.sleep(7)
            lab.kill(primary, wait=False)
            took = self.restarted(lab, cluster, primary)
            self.whole(lab)
            print(f"{server}: a replica that never synced: back after {took:.1f} s")
            self.assertEqual((cluster.lost(), self.forced(lab)), (0, 0))

    @on_servers("redis-7.0", first=0)
    def test_a_hand_over_that_fails_is_not_tried_again(self, server: str) -> None:
        """FACTS 13, M4: the votes do not arrive; its primary comes back, and nobody asks again."""
        with Lab(pods=6, server=server, node_timeout=15000, settings=ALWAYS) as lab:
            cluster = self.formed(lab)
            cluster.write()
            time.sleep(PAUSE_SECONDS)
            primary, replica = self.followers(cluster)
            others = [pod for pod in cluster.masters() if pod != primary]
            with Unheard(lab, replica, others):
                lab.kill(primary, wait=False)
                self.wait_until(lambda: self.forced(lab) == 1, 10, "the replica asks for votes", 0.02)
                took = self.restarted(lab, cluster, primary)
            self.whole(lab)
            print(f"\na hand-over that fails: back after {took:.1f} s")
            self.assertEqual((cluster.lost(), self.forced(lab)), (0, 1))
            self.assertEqual(len([line for line in told(lab, "did") if "FORCE" in line]), 1)


class Anyhow(CrashTestCase):
    """policy.crashHandover: always takes the replica that lags, and what it lacks is lost."""

    @on_servers("redis-7.0", first=0)
    def test_a_replica_that_lags_is_taken(self, server: str) -> None:
        with Lab(pods=6, server=server, node_timeout=15000,
                 settings={**ALWAYS, "policy.crashHandover": "always"}) as lab:
            cluster = self.formed(lab)
            cluster.write()
            time.sleep(PAUSE_SECONDS)
            primary, replica = self.followers(cluster)
            key = cluster.key_at(primary)
            lab.pause(replica, "redis")
            for number in range(VALUES):     # more than the kernel keeps for one that does not read
                lab.redis(primary, "SET", f"{key}:{number}", "x" * VALUE_BYTES)
            lab.kill(primary, wait=False)
            lab.resume(replica, "redis", wait=False)
            began = time.monotonic()
            self.wait_until(lambda: self.judged(lab) == 1, 20, "it is judged", 0.02)
            self.assertEqual((self.handed(lab), self.forced(lab)), (1, 1), told(lab, "crash-left"))
            took = time.monotonic() - began
            self.whole(lab)
            lost = sum(lab.redis(replica, "GET", f"{key}:{number}") is None
                       for number in range(VALUES))
            print(f"\n{server}: always: a replica that lagged took over after {took:.1f} s; lost {lost} "
                  f"of the last {VALUES} values of {VALUE_BYTES} bytes, and {cluster.lost()} older keys")
            self.assertGreater(lost, 0, "it did not lag")
            self.assertEqual(cluster.lost(), 0)


class Few(CrashTestCase):
    """Fewer than three primaries never elect anybody (FACTS 8)."""

    @on_servers("redis-7.0", "valkey-9", first=0)
    def test_one_and_two_primaries(self, server: str) -> None:
        for pods, replicas in ((2, 1), (4, 1)):
            with Lab(pods=pods, replicas_per_primary=replicas, server=server,
                     node_timeout=15000, settings=AUTO) as lab:
                cluster = self.formed(lab, pods // 2)
                cluster.write()
                time.sleep(7)
                primary, replica = self.followers(cluster, pods // 2)
                for kill in range(1, 4):     # who proves nothing within a second is left alone
                    began = time.monotonic()
                    lab.kill(primary, wait=False)
                    self.wait_until(lambda n=kill: self.judged(lab) == n, 20, "it is judged", 0.02)
                    took = time.monotonic() - began
                    if self.handed(lab):
                        break
                    self.whole(lab)
                    self.followers(cluster, pods // 2)
                self.assertEqual((self.handed(lab), cluster.role(replica)), (1, "master"))
                self.wait_until(lambda: cluster.role(primary) == "slave", 60, "the old one follows")
                self.whole(lab)
                print(f"\n{server}, {pods // 2} primaries: taken over after {took:.2f} s")
                self.assertEqual(cluster.lost(), 0)


if __name__ == "__main__":
    main()
