#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Whatever comes near a cluster without belonging to it: no command reaches it, nothing mixes.

Another StatefulSet under the same labels, a pod that only looks like one of ours, a foreign cluster
at an address that was ours, and copies of our volumes started elsewhere (FACTS 13, M7b).
"""

from __future__ import annotations

import copy
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Optional

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from keyed import Cluster  # noqa: E402
from muster_test import (CLIENT_PORT, REPO, Lab, MusterTestCase, main, on_servers, resp,  # noqa: E402
                         wait_until)
from config import server_program  # noqa: E402

SETTINGS = {"kubernetes.leaseSeconds": 3}
SMALL: dict[str, Any] = {"pods": 3, "replicas_per_primary": 0, "node_timeout": 2000}
KEYS = 60
SWITCH = "MUSTER_TEST_KEEP_ADDRESSES"


class PlainServer:
    """A cluster-enabled server that no agent belongs to."""

    def __init__(self, address: str, server: str = "redis-7.0") -> None:
        self.address = address
        self.directory = tempfile.mkdtemp(prefix="mst-", dir="/tmp")
        self.process = subprocess.Popen(
            [server_program(server), "--port", str(CLIENT_PORT), "--bind", address,
             "--bind-source-addr", address, "--protected-mode", "no", "--cluster-enabled", "yes",
             "--dir", self.directory, "--save", "", "--cluster-announce-ip", address],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(lambda: self.ask("PING") == "PONG", 10, f"a server listens at {address}")
        self.id = resp.text(self.ask("CLUSTER", "MYID"))
        self.ask("CONFIG", "RESETSTAT")

    def ask(self, *words: resp.Argument) -> Any:
        try:
            return resp.command(self.address, *words, port=CLIENT_PORT)
        except OSError as error:
            raise resp.RespError(str(error)) from error

    def commands(self) -> set[str]:
        """What it was sent, by anybody but this test's own INFO and CONFIG RESETSTAT."""
        lines = resp.text(self.ask("INFO", "commandstats")).splitlines()
        found = {line.partition(":")[0].removeprefix("cmdstat_") for line in lines if ":" in line}
        return found - {"info", "config|resetstat"}

    def known_nodes(self) -> int:
        info = resp.text(self.ask("CLUSTER", "INFO"))
        return int(next(line.partition(":")[2] for line in info.splitlines()
                        if line.startswith("cluster_known_nodes:")))

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


OTHER_OWNER = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "other", "controller": True,
               "uid": "0c0ffee0-0000-4000-8000-000000000000", "blockOwnerDeletion": True}


def impostor(lab: Lab, name: str, *owners: dict[str, Any]) -> PlainServer:
    """A pod with the labels and the name of one of ours, and a perfect empty server behind it."""
    server = PlainServer(f"{lab.address('muster-0').rsplit('.', 2)[0]}.250.250")
    real = lab.get("pods", "muster-0")
    lab.create("pods", {
        "metadata": {"name": name, "ownerReferences": list(owners),
                     "labels": {**real["metadata"]["labels"],
                                "statefulset.kubernetes.io/pod-name": name,
                                "apps.kubernetes.io/pod-index": name.rpartition("-")[2]}},
        "spec": {**real["spec"], "nodeName": "not-of-the-lab", "hostname": name},
        "status": {**real["status"], "podIP": server.address,
                   "podIPs": [{"ip": server.address}]}})
    return server


def node_ids(lab: Lab, pod: str) -> set[str]:
    return {line.split()[0] for line in lab.text(pod, "CLUSTER", "NODES").splitlines()}


def picture(lab: Lab) -> dict[str, Any]:
    """Who is who and where in every view, and a digest of every server's data.

    Not who may be elected: that forming has given this back is heard with a later ping.
    """
    seen = {}
    for pod in lab.pods():
        lines = [line.split() for line in lab.text(pod, "CLUSTER", "NODES").splitlines()]
        nodes = sorted((words[0], words[1], re.sub(r"myself,|,fail\?|,nofailover", "", words[2]), words[3],
                        tuple(words[8:])) for words in lines)
        digest = lab.redis(pod, "DEBUG", "DIGEST")
        seen[pod] = (nodes, digest, lab.redis(pod, "DBSIZE"))
    return seen


class Lookalikes(MusterTestCase):
    """Objects of the API that carry our labels."""

    timeout = 150

    def other_set(self, lab: Lab) -> dict[str, Any]:
        """Another release's StatefulSet: its selector matches our pods, and ours its."""
        other: dict[str, Any] = copy.deepcopy(lab.get("statefulsets", "muster"))
        other["metadata"] = {"name": "other", "labels": other["metadata"]["labels"]}
        other["status"] = {"replicas": 0, "collisionCount": 0}
        return other

    @on_servers("valkey-9", "redis-7.0")
    def test_two_statefulsets_with_the_same_labels_form_two_clusters(self, server: str) -> None:
        """FAULTS G7."""
        with Lab(settings=SETTINGS, server=server, **SMALL) as lab:
            begin = time.monotonic()
            lab.up(wait="none")
            lab.create("statefulsets", self.other_set(lab))
            lab.wait("formed", timeout=90)

            def other_formed() -> bool:
                return all("cluster_state:ok" in lab.text(f"other-{i}", "CLUSTER", "INFO")
                           and len(node_ids(lab, f"other-{i}")) == 3 for i in range(3))
            self.wait_until(other_formed, 60, "the other StatefulSet's cluster stands")
            ours = {lab.text(f"muster-{i}", "CLUSTER", "MYID") for i in range(3)}
            theirs = {lab.text(f"other-{i}", "CLUSTER", "MYID") for i in range(3)}
            for i in range(3):
                self.assertEqual(node_ids(lab, f"muster-{i}"), ours)
                self.assertEqual(node_ids(lab, f"other-{i}"), theirs)
            records = {cm["metadata"]["name"] for cm in lab.get("configmaps")}
            self.assertLessEqual({"muster-muster", "other-muster"}, records)
            print(f"{server}: G7 two clusters of {len(ours)} and {len(theirs)} known nodes after "
                  f"{time.monotonic() - begin:.1f} s")

    def assert_untouched(self, lab: Lab, server: PlainServer) -> None:
        self.assertEqual(server.commands(), set(), "commands to the impostor")
        self.assertEqual(server.known_nodes(), 1)
        self.assertNotIn(server.id, node_ids(lab, "muster-0"))

    def test_an_impostor_pod_gets_no_command(self) -> None:
        """Right labels, a fitting name, a perfect empty server: but another controller's."""
        with Lab(settings=SETTINGS, **SMALL) as lab:
            lab.up()
            server = impostor(lab, "muster-3", OTHER_OWNER)
            self.addCleanup(server.close)
            # The leader meets a pod that is ours within a second; the impostor's name is wanted, too.
            lab.scale(4, wait=False)
            lab.delete("muster-1")
            self.wait_until(lambda: "cluster_state:ok" in lab.text("muster-1", "CLUSTER", "INFO"),
                            30, "muster-1 is back")
            self.assert_untouched(lab, server)

    def test_an_impostor_in_a_slice_gets_no_command(self) -> None:
        """In a large set who does not lead knows the pods from EndpointSlices: they name no owner."""
        settings = {**SETTINGS, "lab.agentEnv": "MUSTER_TEST_CROWD_MAX=2"}
        with Lab(settings=settings, pods=6, node_timeout=2000) as lab:
            lab.up()
            server = impostor(lab, "muster-6", OTHER_OWNER)
            self.addCleanup(server.close)
            leader = lab.get("leases", "muster-muster")["spec"]["holderIdentity"].partition("_")[0]
            victim = next(pod for pod in lab.pods()
                          if pod != leader and lab.redis(pod, "ROLE")[0] == b"slave")
            # Its agent asks all the others before it starts again.
            lab.pause(victim, "redis")
            (lab.state / "pods" / victim / "data/nodes.conf").write_text("nonsense")
            old = next(line for line in lab.text(leader, "CLUSTER", "NODES").splitlines()
                       if f"{lab.address(victim)}:" in line).split()[0]
            lab.kill(victim, wait=False)
            self.wait_until(lambda: lab.text(victim, "CLUSTER", "MYID") != old and lab.redis(
                victim, "ROLE")[0] == b"slave", 60, f"{victim} is a replica under a new id")
            self.assert_untouched(lab, server)
            asked = {(row["client"], row["resource"], row["verb"]): row["count"]
                     for row in lab.api("stats")["requests"] if row["code"] == 200}
            lists = {pod: asked.get((pod, "pods", "list"), 0) for pod in lab.pods()}
            print(f"lists of pods, the own one's included: {lists}")
            self.assertLessEqual(max(lists.values()), 20, "lists of pods")


class RecycledAddress(MusterTestCase):
    """An address of ours, given to a server of another cluster."""

    timeout = 150

    @on_servers("redis-7.0", "valkey-9")
    def test_a_foreign_cluster_at_our_old_address_stays_foreign(self, server: str) -> None:
        """FAULTS C13."""
        with Lab(settings=SETTINGS, server=server, pods=6, node_timeout=2000) as lab:
            lab.up()
            Cluster(lab, KEYS).write()
            victim = next(pod for pod in lab.pods() if lab.redis(pod, "ROLE")[0] == b"slave")
            old, old_id = lab.address(victim), lab.text(victim, "CLUSTER", "MYID")
            begin = time.monotonic()
            lab.delete(victim, grace=0, wait=False)
            foreign: list[PlainServer] = []

            def taken() -> bool:
                try:
                    foreign.append(PlainServer(old, server))
                except (AssertionError, resp.RespError):
                    return False
                return True
            self.wait_until(taken, 20, "a foreign server has the old address")
            self.addCleanup(foreign[0].close)
            foreign[0].ask("CLUSTER", "BUMPEPOCH")
            foreign[0].ask("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
            foreign[0].ask("CONFIG", "RESETSTAT")
            lab.wait("formed", timeout=60)
            self.assertEqual(lab.text(victim, "CLUSTER", "MYID"), old_id)
            self.assertEqual(foreign[0].commands() - {"cluster|info"}, set())
            self.assertEqual(foreign[0].known_nodes(), 1)
            for pod in lab.pods():
                self.assertNotIn(foreign[0].id, node_ids(lab, pod), pod)
            self.assertEqual(sum(int(lab.redis(pod, "DBSIZE")) for pod in lab.pods()), 2 * KEYS)
            print(f"{server}: C13 a foreign server at our old address, whole after "
                  f"{time.monotonic() - begin:.1f} s, known nodes 6 and 1, 0 keys lost")


class ClonedVolume(MusterTestCase):
    """A snapshot of our volumes, restored in another namespace of the same network."""

    timeout = 200

    def original(self, server: str = "redis-7.0") -> Lab:
        # long, so that on a busy machine nobody is elected: what changes is a copy's doing
        lab = Lab(settings=SETTINGS, server=server, pods=6, node_timeout=10000)
        self.addCleanup(lab.__exit__, None, None, None)
        lab.up()
        Cluster(lab, KEYS).write()
        return lab

    def clone(self, lab: Lab, pods: list[str], files: Optional[list[str]] = None,
              environment: str = "") -> Lab:
        """A StatefulSet of as many pods on copies of these pods' volumes (or of some files)."""
        settings = {**SETTINGS, "lab.agentEnv": environment} if environment else SETTINGS
        copied = Lab(settings=settings, server=lab.status()["server"], pods=0, node_timeout=2000)
        self.addCleanup(copied.__exit__, None, None, None)
        copied.up(wait="none")
        for number, pod in enumerate(pods):
            source = lab.state / "pods" / pod / "data"
            target = copied.state / "pods" / f"muster-{number}" / "data"
            if files is None:
                shutil.copytree(source, target)
                continue
            target.mkdir(parents=True)
            for name in files:
                shutil.copy(source / name, target / name)
        copied.scale(len(pods), wait=False)
        copied.wait("running", timeout=60)
        return copied

    def assert_untouched(self, lab: Lab, before: dict[str, Any], seconds: float = 4) -> None:
        """Nothing changes for so long: a clone is believed within 0.5 s (M7b)."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.assertEqual(picture(lab), before)
            time.sleep(0.2)

    @on_servers("redis-7.0", "valkey-9")
    def test_a_copy_of_one_volume_does_not_reach_the_original(self, server: str) -> None:
        lab = self.original(server)
        before = picture(lab)
        primary = next(pod for pod in lab.pods() if lab.redis(pod, "ROLE")[0] == b"master")
        copied = self.clone(lab, [primary])
        self.wait_until(lambda: copied.text("muster-0", "CLUSTER", "MYID"), 20, "the copy runs")
        self.assertEqual(copied.text("muster-0", "CLUSTER", "MYID"),
                         lab.text(primary, "CLUSTER", "MYID"), "it is the same node")
        self.assert_untouched(lab, before)
        for line in copied.text("muster-0", "CLUSTER", "NODES").splitlines():
            self.assertTrue("myself" in line or "noaddr" in line, line)

    @on_servers("valkey-9", "redis-7.0")
    def test_a_copy_of_all_volumes_becomes_a_cluster_of_its_own(self, server: str) -> None:
        lab = self.original(server)
        before = picture(lab)
        begin = time.monotonic()
        copied = self.clone(lab, sorted(lab.pods()))
        copied.wait("formed", timeout=60)
        print(f"{server}: copies of all volumes are a cluster of their own after "
              f"{time.monotonic() - begin:.1f} s")
        self.assertEqual(sum(int(copied.redis(pod, "DBSIZE")) for pod in copied.pods()), 2 * KEYS)
        self.assertIn("adopting the cluster that exists: 6 servers, 3 shards",
                      "".join(copied.log(pod) for pod in copied.pods()))
        self.assert_untouched(lab, before, 2)
        copied.redis("muster-0", "PING")
        for pod, (nodes, _, _) in picture(copied).items():
            ours = {lab.address(name) for name in lab.pods()}
            self.assertFalse(ours & {node[1].partition(":")[0] for node in nodes}, pod)

    def test_with_the_guard_off_a_copy_takes_the_original_s_place(self) -> None:
        """What the rewriting of nodes.conf prevents: the copy is believed to be the primary."""
        lab = self.original()
        primary = next(pod for pod in lab.pods() if lab.redis(pod, "ROLE")[0] == b"master")
        node, address = lab.text(primary, "CLUSTER", "MYID"), lab.address(primary)
        replica = next(pod for pod in lab.pods()
                       if node in lab.text(pod, "CLUSTER", "NODES").partition("myself,slave")[2][:42])
        self.assertGreater(lab.redis(replica, "DBSIZE"), 0)
        self.clone(lab, [primary], ["nodes.conf"], f"{SWITCH}=1")

        def damaged() -> bool:
            lines = lab.text(replica, "CLUSTER", "NODES").splitlines()
            moved = any(line.startswith(node) and address not in line for line in lines)
            return moved or lab.redis(replica, "DBSIZE") == 0
        self.wait_until(damaged, 30, "the original lists the copy's address, or loses data")
        print(f"the replica {replica} now holds {lab.redis(replica, 'DBSIZE')} keys")


class Switch(MusterTestCase):
    """The switch above is in test builds only."""

    def test_only_a_test_build_knows_the_switch(self) -> None:
        """The one function that asks for it, compiled as a release is, and as this build was."""
        build = Path(os.environ.get("MUSTER_BUILD", REPO / "build/dev"))
        source = (REPO / "agent/agent_hook.c").read_text()
        begin = source.index("#ifdef MUSTER_TESTING")
        text = source[begin:source.index("#endif", begin) + len("#endif")]
        for define, wanted in ([], False), (["-DMUSTER_TESTING=1"], True):
            done = subprocess.run(["cc", "-E", "-P", "-x", "c", *define, "-"], input=text,
                                  capture_output=True, text=True, check=True)
            self.assertEqual(SWITCH in done.stdout, wanted, f"{define}: {done.stdout}")
        self.assertEqual(source.count(SWITCH), 1)
        self.assertIn(SWITCH.encode(), (build / "bin/muster").read_bytes(), "this test build")
        for release in (build.parent / "release", REPO / "build/release"):
            program = release / "bin/muster"
            if program.exists():
                self.assertNotIn(b"MUSTER_TEST_KEEP", program.read_bytes(), program)


if __name__ == "__main__":
    main()
