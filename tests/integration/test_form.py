#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Six pods form a cluster, and keep it when pods come back."""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from keyed import KEYS, Cluster  # noqa: E402
from muster_test import Lab, MusterTestCase, main, on_servers  # noqa: E402

PODS = 6


def node_lines(lab: Lab, pod: str) -> list[list[str]]:
    return [line.split() for line in lab.text(pod, "CLUSTER", "NODES").splitlines()]


def agent_threads(lab: Lab) -> dict[str, int]:
    """Tasks of each agent, found by its configuration file."""
    found = {}
    for cmdline in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = cmdline.read_bytes().split(b"\0")
            if len(words) < 4 or words[1] != b"agent" or str(lab.state).encode() not in words[3]:
                continue
            found[words[3].decode()] = len(list((cmdline.parent / "task").iterdir()))
        except OSError:
            continue
    return found


class Formation(MusterTestCase):
    """What a new user sees first."""

    timeout = 150

    def assert_formed(self, lab: Lab) -> None:
        """As the servers say it, and as the record and `muster check` say it."""
        views = {pod: node_lines(lab, pod) for pod in lab.pods()}
        ids = {line[0] for line in views["muster-0"]}
        self.assertEqual(len(ids), PODS)
        for pod, lines in views.items():
            self.assertEqual({line[0] for line in lines}, ids, pod)
            self.assertEqual(sum("master" in line[2] for line in lines), PODS // 2, pod)
            self.assertIn("cluster_state:ok", lab.text(pod, "CLUSTER", "INFO"), pod)
            timeout = lab.redis(pod, "CONFIG", "GET", "cluster-node-timeout")[1]
            self.assertEqual(timeout, b"15000", f"{pod}: settings given back")
            self.wait_until(lambda p=pod: lab.redis(p, "CONFIG", "GET", "repl-diskless-sync-delay")
                            [1] == b"5", 10, f"{pod}: settings given back")
        # soon: agents that were not up when the leader asked first are asked again at once
        self.wait_until(lambda: lab.muster("muster-1", "check").returncode == 0, 4,
                        "muster check exits 0")
        status = lab.muster_json("muster-2", "status")
        self.assertEqual(status["cluster"]["state"], "ok")
        self.assertEqual(status["cluster"]["slotsCovered"], 16384)
        self.assertTrue(status["cluster"]["survivesNodeLoss"])
        self.assertTrue(status["cluster"]["survivesZoneLoss"])
        for shard in status["shards"]:
            zones = {p["zone"] for p in status["pods"]
                     if p["name"] in (shard["primary"], *shard["replicas"])}
            self.assertEqual(len(zones), 2, f"the shard of {shard['primary']} is in one zone")

    @on_servers("redis-7.0", "valkey-9")
    def test_six_pods_form(self, server: str) -> None:
        # as on a real Kubernetes, where pods have their addresses before their agents run
        with Lab(pods=PODS, zones=3, server=server, settings={"lab.agentSeconds": 1.5}) as lab:
            begin = time.monotonic()
            lab.up()
            told = lab.muster("muster-1", "check").stdout
            print(f"formed after {time.monotonic() - begin:.2f} s, processes started included")
            self.assertNotIn("does not ask every agent", told)
            self.assert_formed(lab)
            threads = agent_threads(lab)
            self.assertEqual(len(threads), PODS)
            self.assertEqual(set(threads.values()), {1}, f"one thread each: {threads}")

    @on_servers("valkey-9", "redis-7.0")
    def test_ordered_ready_forms_too(self, server: str) -> None:
        """The next pod comes only when the one before is ready, which needs no cluster."""
        with Lab(pods=PODS, server=server, ordered=True) as lab:
            begin = time.monotonic()
            lab.up()
            print(f"{server}: one after the other (B10), formed after {time.monotonic() - begin:.1f} s")
            self.assert_formed(lab)


class Return(MusterTestCase):
    """A pod that was deleted comes back and takes its place."""

    timeout = 150

    def delete_one(self, lab: Lab, pod: str) -> tuple[str, str]:
        """The node ids before and after; the address must be a new one."""
        before, old = lab.text(pod, "CLUSTER", "MYID"), lab.address(pod)
        lab.delete(pod)
        self.assertNotEqual(lab.address(pod), old)
        lab.wait("formed")
        return before, lab.text(pod, "CLUSTER", "MYID")

    @on_servers("valkey-9", "redis-7.0")
    def test_a_replica_and_a_primary_come_back_with_their_data(self, server: str) -> None:
        with Lab(pods=PODS, server=server) as lab:
            lab.up()
            Cluster(lab, KEYS).write()
            for pod in ("muster-5", "muster-0"):
                begin = time.monotonic()
                before, after = self.delete_one(lab, pod)
                print(f"{server}: {pod} elsewhere (B2), whole after {time.monotonic() - begin:.1f} s")
                self.assertEqual(before, after, f"{pod} keeps its node id")
                self.assertEqual(Cluster(lab).count(), KEYS)

    @on_servers("redis-7.0", "valkey-9")
    def test_all_pods_come_back_at_new_addresses(self, server: str) -> None:
        with Lab(pods=PODS, server=server) as lab:
            lab.up()
            Cluster(lab, KEYS).write()
            ids = {pod: lab.text(pod, "CLUSTER", "MYID") for pod in lab.pods()}
            begin = time.monotonic()
            lab.delete()
            lab.wait("formed")
            print(f"{server}: all pods elsewhere (B1), whole after {time.monotonic() - begin:.1f} s")
            self.assertEqual({pod: lab.text(pod, "CLUSTER", "MYID") for pod in ids}, ids)
            self.assertEqual(Cluster(lab).count(), KEYS)

    @on_servers("valkey-9", "redis-7.0")
    def test_a_replica_without_its_volume_gets_its_shard_back(self, server: str) -> None:
        """Its new id joins, its old id is forgotten by every server."""
        with Lab(pods=PODS, server=server, node_timeout=2000, volumes=False) as lab:
            lab.up()
            Cluster(lab, KEYS).write()
            begin = time.monotonic()
            before, after = self.delete_one(lab, "muster-4")
            self.assertNotEqual(before, after)

            def forgotten() -> bool:
                return all(before not in {line[0] for line in node_lines(lab, pod)}
                           for pod in lab.pods())
            self.wait_until(forgotten, 30, "the old id is forgotten everywhere")
            print(f"{server}: a replica's volume lost (B4), forgotten everywhere after "
                  f"{time.monotonic() - begin:.1f} s")
            self.assertEqual(Cluster(lab).count(), KEYS)


if __name__ == "__main__":
    main()
