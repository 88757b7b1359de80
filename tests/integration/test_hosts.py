#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Without Kubernetes: six servers behind one DNS name, or on a static list, form one cluster."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from muster_test import REPO, Lab, MusterTestCase, main, resp  # noqa: E402

sys.path.insert(0, str(REPO / "tests/lab"))

from config import LabConfig  # noqa: E402

PODS = 6
KEYS = 100
# Of the formation: the intent (1), epochs and slots (2-22), MEET (23-37), settings back (41-52).
# The next one finishes what others heard of, while the first is away for so long (seconds).
KILL_AFTER = ((1, 0), (12, 20), (45, 0))


def write_keys(lab: Lab) -> None:
    entry = lab.address("muster-0")
    for number in range(KEYS):
        words = ("SET", f"key:{number}", f"value:{number}")
        try:
            resp.command(entry, *words)
        except resp.RespError as error:
            if not str(error).startswith("MOVED "):
                raise
            resp.command(str(error).split()[2].rpartition(":")[0], *words)


def count_keys(lab: Lab) -> int:
    return sum(int(lab.redis(pod, "DBSIZE")) for pod in lab.pods()
               if lab.redis(pod, "ROLE")[0] == b"master")


def node_ids(lab: Lab) -> dict[str, str]:
    return {pod: lab.text(pod, "CLUSTER", "MYID") for pod in lab.pods()}


def record(lab: Lab, pod: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((lab.state / "pods" / pod / "run/record.json").read_text())
    return found


class HostsCase(MusterTestCase):
    timeout = 150

    def assert_one_cluster(self, lab: Lab) -> None:
        """Every server knows the same six, and every agent holds the same record of them."""
        ids = set(node_ids(lab).values())
        for pod in lab.pods():
            lines = [line.split() for line in lab.text(pod, "CLUSTER", "NODES").splitlines()]
            self.assertEqual({line[0] for line in lines}, ids, pod)
            self.assertIn("cluster_state:ok", lab.text(pod, "CLUSTER", "INFO"), pod)
            timeout = lab.redis(pod, "CONFIG", "GET", "cluster-node-timeout")[1]
            self.assertEqual(timeout, b"15000", f"{pod}: settings given back")
        self.wait_until(lambda: len({json.dumps(record(lab, pod)) for pod in lab.pods()}) == 1,
                        15, "all agents hold one record")
        self.assertEqual({m["id"] for m in record(lab, "muster-0")["members"]}, ids)
        self.wait_until(lambda: lab.muster("muster-0", "check").returncode == 0, 20,
                        "muster check exits 0")

    def assert_nothing_formed(self, lab: Lab) -> None:
        for pod in lab.pods():
            info = lab.text(pod, "CLUSTER", "INFO")
            self.assertIn("cluster_known_nodes:1\r\n", info, pod)
            self.assertIn("cluster_slots_assigned:0\r\n", info, pod)


class Formation(HostsCase):
    def test_a_static_list_forms_though_hosts_appear_late_and_one_by_one(self) -> None:
        with Lab(pods=PODS, discovery="static", settings={"lab.lateSeconds": 5}) as lab:
            lab.up()
            self.assert_one_cluster(lab)
            names = [m["pod"] for m in record(lab, "muster-3")["members"]]
            self.assertEqual(names, [f"muster-{i}.lab:6379" for i in range(PODS)])
            status = lab.muster_json("muster-0", "status")
            for shard in status["shards"]:
                zones = {p["zone"] for p in status["pods"]
                         if p["name"] in (shard["primary"], *shard["replicas"])}
                self.assertEqual(len(zones), 2, "the agents told each other their zones")

    def test_nothing_is_formed_from_a_part_of_the_name(self) -> None:
        """Four of six addresses, another four each time; then all of them."""
        with Lab(pods=PODS, discovery="dns", settings={"lab.dns": "partial=4"}) as lab:
            lab.up(wait="running")
            self.wait_until(lambda: "exactly cluster.size 6 servers: muster.lab has 4 addresses"
                            in lab.log("muster-0"), 15, "the agent says what is missing")
            time.sleep(3)
            self.assert_nothing_formed(lab)
            lab.dns("up")
            lab.wait("formed", timeout=40)
            self.assert_one_cluster(lab)

    def test_a_wrong_size_is_said_and_nothing_formed(self) -> None:
        with Lab(pods=4, discovery="dns", settings={"cluster.size": 3}) as lab:
            lab.up(wait="running")
            self.wait_until(lambda: all("exactly cluster.size 3 servers: muster.lab has 4 addresses"
                                        in lab.log(pod) for pod in lab.pods()), 15,
                            "every agent says what is wrong")
            time.sleep(3)
            self.assert_nothing_formed(lab)


class Return(HostsCase):
    timeout = 300

    def test_a_compose_project_goes_down_and_up(self) -> None:
        """New addresses for all."""
        for keep in (True, False):
            with self.subTest(keep=keep):
                self.down_and_up(keep)

    def down_and_up(self, keep: bool) -> None:
        """Whether the agents' records are on the volumes or lost: the servers are one cluster."""
        with Lab(pods=PODS, discovery="dns", settings={"lab.keepRecord": keep}) as lab:
            lab.up()
            write_keys(lab)
            self.assert_one_cluster(lab)
            ids, addresses = node_ids(lab), {pod: lab.address(pod) for pod in lab.pods()}
            lab.scale(0)                     # all gone before the first comes back
            begin = time.monotonic()
            lab.scale(PODS)
            lab.wait("formed", timeout=60)
            print(f"down and up again after {time.monotonic() - begin:.1f} s")
            self.assertEqual(node_ids(lab), ids)
            self.assertFalse({lab.address(pod) for pod in ids} & set(addresses.values()))
            self.assertEqual(count_keys(lab), KEYS)
            self.assert_one_cluster(lab)
            said = "".join(lab.log(pod) for pod in lab.pods())
            self.assertNotIn("copied or moved", said)
            self.assertEqual("adopting the cluster that exists" in said, not keep)

    def test_names_that_fail_change_nothing(self) -> None:
        with Lab(pods=PODS, discovery="dns") as lab:
            lab.up()
            write_keys(lab)
            self.assert_one_cluster(lab)
            before = record(lab, "muster-0"), lab.text("muster-0", "CLUSTER", "NODES").count("\n")
            for spec in ("down", "nxdomain", "servfail", "partial=2"):
                lab.dns(spec)
                time.sleep(3.5)          # each agent reads at least once
                self.assertEqual(lab.muster("muster-0", "check").returncode, 0, spec)
            self.assertEqual((record(lab, "muster-0"),
                              lab.text("muster-0", "CLUSTER", "NODES").count("\n")), before)
            self.assertNotIn("CLUSTER FORGET", "".join(lab.log(pod) for pod in lab.pods()))
            lab.dns("up")

    def test_one_server_without_its_volume_gets_its_seat_back(self) -> None:
        with Lab(pods=PODS, discovery="static", node_timeout=2000, volumes=False) as lab:
            lab.up()
            write_keys(lab)
            before = lab.text("muster-4", "CLUSTER", "MYID")
            lab.delete("muster-4")
            lab.wait("formed", timeout=60)

            def forgotten() -> bool:
                return all(before not in lab.text(pod, "CLUSTER", "NODES") for pod in lab.pods())
            self.wait_until(forgotten, 40, "the old id is forgotten everywhere")
            self.assertEqual(count_keys(lab), KEYS)


class DeadFirst(HostsCase):
    """The agent that forms dies right after its k-th command; another, or it again, finishes."""

    timeout = 300

    def one(self, after: int, away: float) -> None:
        """`away`: seconds until the dead agent is started again."""
        mark = Path(f"/tmp/mlt-mark-{after}-{time.monotonic_ns()}")
        settings = {"lab.firstBackoff": away,
                    "lab.agentEnv": f"MUSTER_TEST_EXIT_AFTER={after} MUSTER_TEST_EXIT_MARK={mark}"}
        try:
            with Lab(pods=PODS, discovery="static", settings=settings) as lab:
                lab.up(wait="running")
                self.wait_until(mark.exists, 40, f"an agent dies after its command {after}")
                begin = time.monotonic()
                lab.wait("formed", timeout=60)
                print(f"after command {after:2}: formed {time.monotonic() - begin:.1f} s later")
                if away:
                    led = [pod for pod in lab.pods() if "event=leading" in lab.log(pod)]
                    self.assertEqual(led, ["muster-0", "muster-1"], "the next one finished it")
                    lab.wait("running")
                self.assert_one_cluster(lab)
                uids = set(re.findall(r'"uid":"(\w+)"', "".join(
                    (lab.state / "pods" / pod / "run/record.json").read_text()
                    for pod in lab.pods())))
                self.assertEqual(len(uids), 1)
        finally:
            mark.unlink(missing_ok=True)

    def test_the_formation_is_finished_from_every_kind_of_step(self) -> None:
        for after, away in KILL_AFTER:
            with self.subTest(after=after):
                self.one(after, away)


class Configuration(HostsCase):
    def test_what_is_missing_is_named(self) -> None:
        muster = LabConfig(state="/tmp", build=os.environ.get("MUSTER_BUILD", "")).program("muster")
        for settings, words in (({"MUSTER_DISCOVERY": "dns"}, "dns.name: needed"),
                                ({"MUSTER_DISCOVERY": "dns", "MUSTER_DNS_NAME": "redis"},
                                 "cluster.size: needed"),
                                ({"MUSTER_DISCOVERY": "static"}, "static.peers: needed")):
            done = subprocess.run([muster, "agent"], env=settings, capture_output=True, text=True,
                                  timeout=5, check=False)
            self.assertEqual(done.returncode, 2)
            self.assertIn(words, done.stderr)


if __name__ == "__main__":
    main()
