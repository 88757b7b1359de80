#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What becomes of a cluster whose servers came back without what they had.

Small labs: three primaries without replicas, or six pods where an election is needed.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any, Callable

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from keyed import Cluster  # noqa: E402
from muster_test import Lab, MusterTestCase, main, on_servers, wait_until  # noqa: E402
from test_strangers import impostor  # noqa: E402

KEYS = 60
PRIMARIES_ONLY: dict[str, Any] = {"pods": 3, "replicas_per_primary": 0, "node_timeout": 2000}
QUICK = {"kubernetes.leaseSeconds": 3}


def record(lab: Lab) -> dict[str, Any]:
    """The record as stored."""
    found: dict[str, Any] = json.loads(next(iter(lab.get("configmaps", "muster-muster")["data"]
                                                 .values())))
    return found


def formed(lab: Lab) -> dict[str, Any]:
    """The record once it says so; the servers are ready a moment earlier."""
    wait_until(lambda: record(lab)["state"] == "formed", 20, "the record says formed")
    return record(lab)


def said(lab: Lab) -> str:
    """All that the agents have logged."""
    return "".join(lab.log(pod) for pod in lab.pods())


class Rebirth(MusterTestCase):
    """Every pod went, and came back empty."""

    timeout = 120

    @on_servers("valkey-9", "redis-7.0")
    def test_without_volumes_it_is_reborn_by_itself(self, server: str) -> None:
        with Lab(settings=QUICK, server=server, volumes=False, **PRIMARIES_ONLY) as lab:
            lab.up()
            Cluster(lab, KEYS).write()
            before = formed(lab)
            begin = time.monotonic()
            lab.delete(grace=0, wait=False)
            lab.wait("formed", timeout=60)
            print(f"{server}: no volumes, reborn after {time.monotonic() - begin:.1f} s")
            after = formed(lab)
            self.assertEqual(after["uid"], before["uid"], "the cluster keeps its uid")
            self.assertEqual(after["generation"], before["generation"] + 1)
            self.assertIn("the cluster of 3 members in 3 shards (generation 1) is gone, lost with "
                          "its pods (no volumes): forming a cluster", said(lab))
            self.assertEqual(Cluster(lab).count(), 0)

    @on_servers("redis-7.0", "valkey-9")
    def test_with_volumes_lost_it_waits_and_says_so(self, server: str) -> None:
        with Lab(settings=QUICK, server=server, **PRIMARIES_ONLY) as lab:
            lab.up()
            Cluster(lab, KEYS).write()
            before = formed(lab)
            lab.lose_volume(wait=False)
            sentence = ("all 3 servers came back with empty volumes. Bring the volumes back, or "
                        "set policy.lostCluster to reform")
            self.wait_until(lambda: sentence in said(lab), 40, "the leader says what is lost")
            plan = lab.muster_json("muster-0", "status")["plan"]
            self.assertEqual(plan["actions"], [], "and does nothing")
            self.assertEqual(record(lab), before, "nobody is entered in the record")
            for pod in lab.pods():
                self.assertEqual(len(lab.text(pod, "CLUSTER", "NODES").splitlines()), 1, pod)

    @on_servers("valkey-9", "redis-7.0")
    def test_with_volumes_lost_and_given_up_it_is_reborn(self, server: str) -> None:
        with Lab(settings={**QUICK, "policy.lostCluster": "reform"}, server=server,
                 **PRIMARIES_ONLY) as lab:
            lab.up()
            Cluster(lab, KEYS).write()
            begin = time.monotonic()
            lab.lose_volume(wait=False)
            self.wait_until(lambda: record(lab)["generation"] == 2, 40, "planned anew")
            lab.wait("formed", timeout=60)
            print(f"{server}: given up, reborn after {time.monotonic() - begin:.1f} s")
            self.assertIn("is gone, lost with its volumes: forming a cluster", said(lab))


class Orphans(MusterTestCase):
    """kubectl delete statefulset --cascade=orphan, and the same StatefulSet created again."""

    timeout = 180
    sentence = ("the StatefulSet muster does not exist: its pods are left as they are until it is "
                "created again and adopts them")

    def ids(self, lab: Lab) -> dict[str, str]:
        return {pod: lab.text(pod, "CLUSTER", "MYID") for pod in lab.pods()}

    def plan(self, lab: Lab) -> tuple[str, str, list[str]]:
        plan = lab.muster_json("muster-0", "status")["plan"]
        return plan["rule"], plan["reason"], plan["actions"]

    def test_the_cluster_outlives_its_statefulset(self) -> None:
        with Lab(settings=QUICK, pods=6, node_timeout=2000) as lab:
            lab.up()
            Cluster(lab, KEYS).write()
            lab.wait("ready")
            ids, before = self.ids(lab), formed(lab)
            uids = {name: pod["uid"] for name, pod in lab.pods().items()}
            logs = {pod: len(lab.log(pod)) for pod in ids}
            lab.delete_set(orphan=True)
            self.wait_until(lambda: all(self.sentence in lab.log(pod) for pod in ids), 20,
                            "every agent says what is waited for")
            orphaned = {pod: len(lab.log(pod)) for pod in ids}
            server = impostor(lab, "muster-6")
            self.addCleanup(server.close)
            self.assertFalse(any(p["metadata"].get("ownerReferences") for p in lab.get("pods")))
            lab.kill("muster-4")                # it finds its peers again
            lab.kill("muster-5", container="agent")
            self.wait_until(lambda: "waiting for one to adopt it" in lab.log("muster-5"), 20,
                            "the new agent says what it waits for")
            self.assertEqual(self.ids(lab), ids)
            self.wait_until(lambda: lab.muster("muster-0", "check").returncode == 0, 20,
                            "muster check exits 0: " + lab.muster("muster-0", "check").stdout)
            # The leader's: its own server, killed above, is told once in sync that it may be elected.
            self.wait_until(lambda: self.plan(lab) == ("set-absent", self.sentence, []), 20,
                            "nothing is planned")
            for pod, length in orphaned.items():
                self.assertNotIn("event=did", lab.log(pod)[length:], pod)
            self.assertEqual(server.commands(), set(), "commands to the impostor")
            self.assertEqual(record(lab), before)
            lab.delete("muster-6", grace=0, wait=False)    # or it would be adopted as well

            lab.create_set()
            uid = lab.get("statefulsets", "muster")["metadata"]["uid"]
            self.assertNotEqual(uid, before["setUid"])
            self.wait_until(lambda: record(lab)["setUid"] == uid, 30, "the record follows")
            self.assertEqual(record(lab), {**before, "setUid": uid})
            self.wait_until(lambda: not any(lab.muster(pod, "check").returncode for pod in ids), 30,
                            "muster check exits 0 everywhere")
            self.assertEqual(self.ids(lab), ids)
            self.assertEqual({name: pod["uid"] for name, pod in lab.pods().items()}, uids)
            self.assertEqual(Cluster(lab).count(), KEYS)
            self.assertEqual(said(lab).count("CLUSTER FORGET"), 0)
            self.assertEqual(server.known_nodes(), 1)
            for pod, length in logs.items():    # but for the one whose server was killed
                if pod != "muster-4":
                    self.assertNotIn("event=not-ready", lab.log(pod)[length:], pod)


class CorruptFile(MusterTestCase):
    """A nodes.conf that no server would take, or that says nothing (FAULTS C8)."""

    timeout = 240

    @on_servers("redis-7.0", "valkey-9")
    def test_it_is_kept_aside_and_the_server_joins_empty(self, server: str) -> None:
        with Lab(settings=QUICK, server=server, pods=6, node_timeout=2000) as lab:
            lab.up()
            cluster = Cluster(lab, KEYS)
            cluster.write()
            for what, spoil in (("cut", lambda text: text[:100]),
                                ("a bad line", lambda text: b"nonsense\n" + text),
                                ("no byte", lambda text: b"")):
                self.wait_until(lambda: len(cluster.primaries()) == 3, 40, "replicas in sync")
                self.spoiled(cluster, f"{server}: nodes.conf {what}", spoil)

    def spoiled(self, cluster: Cluster, what: str, spoil: Callable[[bytes], bytes]) -> None:
        # A primary: its replica must be elected first, or the emptiness would be copied.
        lab, pod = cluster.lab, cluster.primaries()[0]
        data = lab.state / "pods" / pod / "data"
        old, log = lab.text(pod, "CLUSTER", "MYID"), len(lab.log(pod))
        lab.pause(pod, "redis")
        broken = spoil((data / "nodes.conf").read_bytes())
        (data / "nodes.conf").write_bytes(broken)
        begin = time.monotonic()
        lab.kill(pod, wait=False)

        def joined() -> bool:
            return lab.text(pod, "CLUSTER", "MYID") != old and lab.redis(pod, "ROLE")[0] == b"slave"
        self.wait_until(joined, 60, f"{pod} is a replica under a new id")
        self.assertIn("its nodes.conf is corrupt", lab.log(pod)[log:])
        lab.wait("formed", timeout=60)
        took, lost = time.monotonic() - begin, cluster.lost()
        print(f"{what}: {lost} keys lost, whole after {took:.1f} s")
        self.assertEqual(lost, 0)
        aside = {path.name.partition(".muster-aside-")[0]: path
                 for path in data.glob("*.muster-aside-*")}
        self.assertEqual(set(aside), {"nodes.conf", "appendonlydir"})
        self.assertEqual(aside["nodes.conf"].read_bytes(), broken)


if __name__ == "__main__":
    main()
