#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The gate: a server that comes back without its data never makes its replicas throw theirs away."""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from keyed import KEYS, Cluster  # noqa: E402
from muster_test import Lab, MusterTestCase, main, on_servers  # noqa: E402

SERVERS = ("redis-7.0", "redis-8.0", "valkey-8.1", "valkey-9")
MODES = ("aof", "rdb", "none")
# each server and each mode at least once, before the other pairs
FIRST = [("valkey-9", "aof"), ("redis-8.0", "rdb"), ("redis-7.0", "none"), ("valkey-8.1", "none")]
PAIRS = FIRST + [(server, mode) for mode in MODES for server in SERVERS if (server, mode) not in FIRST]
# The slots stay with who died until Redis elects, which is what the gate is for.
SLOW = {"policy.crashHandover": "off"}
GUARD_OFF = {"lab.agentEnv": "MUSTER_TEST_START_WITHOUT_DATA=1"}


def gate_lines(lab: Lab, pod: str) -> list[str]:
    return [line for line in lab.log(pod).splitlines() if "event=gate" in line]


class Data(MusterTestCase):
    timeout = 500
    parallel = 2

    def one(self, cluster: Cluster, nodes_conf: bool, whole_pod: bool) -> float:
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
        self.wait_until(lambda: cluster.role(pod) == "slave", 60, f"{pod} follows its heir")
        lab.wait("formed", timeout=60)
        return time.monotonic() - begin

    @on_servers(*PAIRS, first=len(FIRST))
    def test_a_primary_without_its_data_empties_nobody(self, pair: tuple[str, str]) -> None:
        """Every persistence mode and server, with nodes.conf and without, same address and new."""
        server, persistence = pair
        with Lab(pods=6, server=server, persistence=persistence, node_timeout=2000,
                 settings={"kubernetes.leaseSeconds": 3, **SLOW}) as lab:
            lab.up()
            cluster = Cluster(lab)
            cluster.write()
            for nodes_conf in (True, False):
                for whole_pod in (False, True):
                    what = (f"{server} {persistence}: "
                            f"{'nodes.conf kept' if nodes_conf else 'volume empty'}, "
                            f"{'pod' if whole_pod else 'container'} again")
                    took = self.one(cluster, nodes_conf, whole_pod)
                    lost = cluster.lost()
                    print(f"{what}: {lost} keys lost, whole after {took:.1f} s")
                    self.assertEqual(lost, 0, what)

    def test_with_the_guard_off_the_data_is_lost(self) -> None:
        """What the gate is for (FACTS 0.1)."""
        with Lab(pods=6, persistence="none", node_timeout=15000, settings={**GUARD_OFF, **SLOW}) as lab:
            lab.up()
            cluster = Cluster(lab)
            cluster.write()
            self.wait_until(lambda: len(cluster.primaries()) == 3, 40, "replicas in sync")
            lab.kill(cluster.primaries()[0], "redis", 9)
            lab.wait("formed", timeout=60)
            self.assertGreater(cluster.lost(), KEYS // 6)


if __name__ == "__main__":
    main()
