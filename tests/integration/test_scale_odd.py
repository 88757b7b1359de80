#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Scaling beside keys that are too big or end by themselves, and with functions."""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lab"))

from access import AGENT_RULES, SCALE_RULES  # noqa: E402  (of the lab)
from drain_case import told  # noqa: E402
from keyed import Cluster  # noqa: E402
from muster_test import main, on_servers  # noqa: E402
from scale_case import SCALE_SECONDS, ScaleTestCase  # noqa: E402

LIBRARY = "#!lua name=lib\nredis.register_function('seven', function(keys, args) return 7 end)"
FIELDS = 200_000
TTL_KEYS = 500


class Odd(ScaleTestCase):
    @on_servers("redis-7.0", first=0)
    def test_a_big_key_is_not_moved(self, server: str) -> None:
        """Nobody waits for it, and it is told (E8)."""
        with self.lab(server) as lab:
            cluster = self.loaded(lab)
            self.scaled(cluster, 8, 4)
            leaves = next(pod for pod in ("muster-6", "muster-7") if cluster.role(pod) == "master")
            key = cluster.key_at(leaves)
            for first in range(0, FIELDS, 1000):
                pairs = [word for n in range(first, first + 1000) for word in (f"field:{n}", str(n))]
                lab.redis(leaves, "HSET", key, *pairs)
            lab.scale(6, wait=False)
            self.wait_until(lambda: any("too big" in line for line in told(lab, "move-waits")),
                            SCALE_SECONDS, "the big key is told of", 0.5)
            time.sleep(10)
            owner = cluster.key_at(leaves)
            self.assertEqual(owner, key)
            lab.redis(leaves, "UNLINK", key)
            self.scaled(cluster, 6, 3)
            self.unloaded(cluster, f"{server}: with a hash of {FIELDS} fields")
            print(f"{server}: longest MIGRATE {self.longest(lab)} ms")

    @on_servers("redis-7.0", first=1)
    def test_functions_and_times_to_live(self, server: str) -> None:
        """E14, by the smallest ACL user that agent/README.md has for it."""
        rules = f"{AGENT_RULES} {SCALE_RULES}"
        with self.lab(server, auth=True, **{"lab.user": "muster", "lab.userRules": rules}) as lab:
            cluster = self.loaded(lab, load=False)
            for pod in cluster.masters():
                lab.redis(pod, "FUNCTION", "LOAD", "REPLACE", LIBRARY)
            ends = self.write_mortal(cluster)
            self.scaled(cluster, 8, 4)
            for pod in cluster.masters():
                self.assertEqual(lab.redis(pod, "FCALL", "seven", "0"), 7, pod)
            wrong = self.wrong_ends(cluster, ends)
            self.assertEqual(wrong, [])
            self.assertEqual(cluster.lost(), 0)

    # -- what is done

    def write_mortal(self, cluster: Cluster) -> dict[str, float]:
        """Keys with the time at which each ends."""
        ends = {}
        for number in range(TTL_KEYS):
            seconds = 60 + number % 60
            cluster.follow("SET", f"mortal:{number}", "x", "EX", str(seconds))
            ends[f"mortal:{number}"] = time.monotonic() + seconds
        return ends

    def wrong_ends(self, cluster: Cluster, ends: dict[str, float]) -> list[str]:
        """Keys that end more than a second early or late."""
        wrong = []
        for key, end in ends.items():
            left = cluster.follow("PTTL", key) / 1000
            expected = end - time.monotonic()
            if abs(left - expected) > 1 and (expected > 1 or left > 0):
                wrong.append(f"{key}: {left:.1f} s, not {expected:.1f} s")
        return wrong


if __name__ == "__main__":
    main()
