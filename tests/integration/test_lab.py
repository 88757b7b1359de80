#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The lab plays StatefulSet controller and kubelet as Kubernetes does.

Servers are real; agent and hook are stand-ins (fake/), so a failure here is the lab's own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from muster_test import LAB, Lab, LabError, main

import resp

from lab_case import FAKE, LabTestCase, fake_lab


class StatefulSets(LabTestCase):
    def test_pods_are_what_a_stateful_set_makes(self) -> None:
        with fake_lab(pods=2) as lab:
            lab.up(wait="ready", timeout=30)
            pod, stateful = lab.get("pods", "muster-1"), lab.get("statefulsets", "muster")
            owner = pod["metadata"]["ownerReferences"][0]
            self.assertEqual((owner["kind"], owner["uid"], owner["controller"]),
                             ("StatefulSet", stateful["metadata"]["uid"], True))
            labels = pod["metadata"]["labels"]
            self.assertEqual(labels["statefulset.kubernetes.io/pod-name"], "muster-1")
            self.assertEqual(labels["apps.kubernetes.io/pod-index"], "1")
            self.assertEqual(labels["controller-revision-hash"],
                             stateful["status"]["updateRevision"])
            self.assertEqual((pod["spec"]["hostname"], pod["spec"]["subdomain"]),
                             ("muster-1", "muster-headless"))
            self.assertNotIn("topology.kubernetes.io/zone", labels)
            self.assertEqual(stateful["status"]["readyReplicas"], 2)
            self.assertIn("volumeClaimTemplates", stateful["spec"])

    def test_parallel_does_not_wait_and_ordered_does(self) -> None:
        for ordered in (False, True):
            with self.subTest(ordered=ordered), tempfile.TemporaryDirectory() as directory:
                go = Path(directory) / "go"      # nothing is probed before there is an agent
                with fake_lab(pods=3, ordered=ordered, settings={"lab.agentsAfter": go}) as lab:
                    self._with_an_unready_first(lab, go, ordered)

    def _with_an_unready_first(self, lab: Lab, go: Path, ordered: bool) -> None:
        lab.up(wait="none")
        unready = lab.state / "pods/muster-0/unready"
        self.wait_until(unready.parent.exists, 5, "muster-0's directory")
        unready.write_text("")
        go.touch()
        time.sleep(2)
        names = [p["metadata"]["name"] for p in lab.get("pods")]
        if not ordered:
            self.assertEqual(names, ["muster-0", "muster-1", "muster-2"])
            return
        self.assertEqual(names, ["muster-0"])
        unready.unlink()
        lab.wait("ready", 20)
        born = [p["metadata"]["creationTimestamp"] for p in lab.get("pods")]
        self.assertEqual(len(born), 3)
        self.assertEqual(born, sorted(born))

    def test_a_roll_goes_down_from_the_highest_and_waits_for_readiness(self) -> None:
        with fake_lab(pods=3) as lab:
            lab.up(wait="ready", timeout=30)
            before = {p: self.uid(lab, p) for p in ("muster-0", "muster-1", "muster-2")}
            old = lab.get("statefulsets", "muster")["status"]["currentRevision"]
            unready = self.steer(lab, "muster-2", "unready")
            lab.roll(wait=False)
            self.wait_until(lambda: lab.get("pods", "muster-2")["metadata"]["uid"]
                            != before["muster-2"], 10, "a new muster-2")
            time.sleep(1.5)
            status = lab.get("statefulsets", "muster")["status"]
            self.assertEqual((status["currentRevision"], status["updatedReplicas"]), (old, 1))
            self.assertEqual(self.uid(lab, "muster-1"), before["muster-1"])
            unready.unlink()
            self.wait_until(lambda: lab.get("statefulsets", "muster")["status"]["currentRevision"]
                            != old, 20, "the end of the roll")
            after = {p: self.uid(lab, p) for p in before}
            self.assertFalse(set(after.values()) & set(before.values()))
            born = [lab.get("pods", p)["status"]["startTime"] for p in sorted(before)]
            self.assertEqual(born, sorted(born, reverse=True))

    def test_scaling_in_removes_the_highest_and_out_brings_them_back(self) -> None:
        with fake_lab(pods=3) as lab:
            lab.up(wait="ready", timeout=30)
            lab.scale(1)
            self.assertEqual([p["metadata"]["name"] for p in lab.get("pods")], ["muster-0"])
            lab.scale(4)
            self.assertEqual(len(lab.get("pods")), 4)


    def test_a_deleted_set_leaves_orphans_or_nothing_and_a_new_one_adopts(self) -> None:
        with fake_lab(pods=2) as lab:
            lab.up(wait="ready", timeout=30)
            uid = lab.get("statefulsets", "muster")["metadata"]["uid"]
            pods = {name: pod["uid"] for name, pod in lab.pods().items()}
            with self.assertRaisesRegex(LabError, "the StatefulSet muster is there"):
                lab.create_set()
            lab.delete_set(orphan=True)
            with self.assertRaisesRegex(LabError, "there is no StatefulSet muster"):
                lab.delete_set()
            self.assertEqual({name: pod["uid"] for name, pod in lab.pods().items()}, pods)
            self.assertFalse(any("ownerReferences" in p["metadata"] for p in lab.get("pods")))
            foreign = {**lab.get("pods", "muster-0"), "spec": {"nodeName": "not-of-the-lab"}}
            for name, labels in (("other-0", foreign["metadata"]["labels"]), ("muster-x", {})):
                lab.create("pods", {**foreign, "metadata": {"name": name, "labels": labels}})
            lab.create_set()
            new = lab.get("statefulsets", "muster")["metadata"]["uid"]
            self.assertNotEqual(new, uid)
            owners = {p["metadata"]["name"]: [o["uid"] for o in p["metadata"].get(
                "ownerReferences", [])] for p in lab.get("pods")}
            self.assertEqual(owners, {"muster-0": [new], "muster-1": [new], "other-0": [],
                                      "muster-x": []})
            self.assertEqual({name: pod["uid"] for name, pod in lab.pods().items()}, pods)
            lab.delete_set()
            self.assertEqual({p["metadata"]["name"] for p in lab.get("pods")},
                             {"other-0", "muster-x"})
            self.assertNotIn("Traceback", (lab.state / "daemon.log").read_text())


class Endpoints(LabTestCase):
    def test_slices_carry_zone_node_uid_and_conditions(self) -> None:
        with fake_lab(pods=3) as lab:
            lab.up(wait="ready", timeout=30)
            slices = {s["metadata"]["labels"]["kubernetes.io/service-name"]: s
                      for s in lab.get("endpointslices")}
            self.assertEqual(set(slices), {"muster", "muster-headless"})
            for name, found in slices.items():
                self.assertEqual(len(found["endpoints"]), 3, name)
            first = slices["muster-headless"]["endpoints"][0]
            self.assertEqual((first["zone"], first["nodeName"], first["targetRef"]["uid"],
                              first["addresses"]),
                             ("zone-a", "node-0", self.uid(lab, "muster-0"),
                              [lab.address("muster-0")]))
            self.steer(lab, "muster-1", "unready")
            self.wait_until(lambda: not lab.pods()["muster-1"]["ready"], 10, "muster-1 unready")

            def conditions(service: str) -> Any:
                found = [s for s in lab.get("endpointslices")
                         if s["metadata"]["labels"]["kubernetes.io/service-name"] == service]
                return found[0]["endpoints"][1]["conditions"]
            self.assertEqual(conditions("muster"),
                             {"ready": False, "serving": False, "terminating": False})
            self.assertEqual(conditions("muster-headless"),
                             {"ready": True, "serving": False, "terminating": False})


class Trouble(LabTestCase):
    def test_a_lost_node_is_silent_and_its_pods_come_back_elsewhere_in_address(self) -> None:
        with fake_lab(pods=3, settings={"lab.nodeGraceSeconds": 3, "lab.evictSeconds": 2}) as lab:
            lab.up(wait="ready", timeout=30)
            before = lab.pods()["muster-1"]
            self.assertEqual(lab.lose_node("node-1"), ["muster-1"])
            self.assertTrue(lab.pods()["muster-1"]["ready"], "nobody has noticed yet")
            self.wait_until(lambda: not lab.pods()["muster-1"]["ready"], 10, "NotReady")
            self.wait_until(lambda: lab.pods()["muster-1"]["terminating"], 15, "eviction")
            time.sleep(1)
            self.assertEqual(lab.pods()["muster-1"]["uid"], before["uid"], "stuck Terminating")
            lab.return_node("node-1", timeout=20)
            after = lab.pods()["muster-1"]
            self.assertNotEqual(after["uid"], before["uid"])
            self.assertNotEqual(after["ip"], before["ip"])

    def test_a_node_that_returns_in_time_restarts_its_pods_in_new_sandboxes(self) -> None:
        with fake_lab(pods=3) as lab:
            lab.up(wait="ready", timeout=30)
            before = lab.pods()["muster-1"]
            node_id = lab.redis("muster-1", "CLUSTER", "MYID")
            lab.lose_node("node-1")
            lab.return_node("node-1", timeout=20)
            after = lab.pods()["muster-1"]
            self.assertEqual((after["uid"], after["restarts"]["redis"]), (before["uid"], 1))
            self.assertNotEqual(after["ip"], before["ip"])
            self.assertEqual(lab.redis("muster-1", "CLUSTER", "MYID"), node_id)

    def test_a_drained_node_is_empty(self) -> None:
        with fake_lab(pods=3) as lab:
            lab.up(wait="ready", timeout=30)
            lab.drain_node("node-0", timeout=20)
            self.assertNotIn("node-0", {p["node"] for p in lab.pods().values()})

    def test_a_paused_pod_does_not_answer_and_is_not_killed(self) -> None:
        with fake_lab(pods=1) as lab:
            lab.up(wait="ready", timeout=30)
            lab.pause("muster-0")
            self.steer(lab, "muster-0", "dead")      # a frozen kubelet does not probe
            with self.assertRaises(resp.RespError):
                lab.redis("muster-0", "PING", timeout=0.5)
            time.sleep(1.5)
            self.assertEqual(lab.pods()["muster-0"]["restarts"]["redis"], 0)
            (lab.state / "pods/muster-0/dead").unlink()
            lab.resume("muster-0")
            self.assertEqual(lab.redis("muster-0", "PING"), "PONG")

    def test_a_partition_cuts_servers_and_heal_mends_it(self) -> None:
        self.cut_and_mend("iptables")

    def test_a_partition_cuts_ipv6_too_and_no_address_stays_behind(self) -> None:
        stale = "fd6d:7573:7465:fe::1"       # as a lab leaves it that was killed
        subprocess.run(["ip", "-6", "addr", "replace", f"{stale}/128", "dev", "lo"], check=True)
        network = self.cut_and_mend("ip6tables", ipv6=True)
        on_lo = subprocess.run(["ip", "-6", "addr", "show", "dev", "lo"], stdout=subprocess.PIPE,
                               text=True, check=True)
        self.assertNotIn(network.split("::")[0] + "::", on_lo.stdout)
        self.assertNotIn(stale, on_lo.stdout)

    def cut_and_mend(self, tool: str, **options: Any) -> str:
        """Returns the lab's network."""
        with fake_lab(pods=3, **options) as lab:
            lab.up(wait="ready", timeout=30)
            address = lab.address("muster-1")
            gid = next(int(x.split()[1]) for x in Path(
                f"/proc/{lab.pods()['muster-0']['pids']['agent']}/status").read_text().splitlines()
                if x.startswith("Gid:"))
            dial = (f"import os, socket; os.setgid({gid}); "
                    f"socket.create_connection(('{address}', 6379), 0.5)")
            about = json.loads((lab.state / "lab.json").read_text())
            api, _, port = about["api"].split("/")[2].rpartition(":")
            dial_api = (f"import os, socket; os.setgid({gid}); socket.create_connection("
                        f"('{api.strip('[]')}', {port}), 0.5)")

            def reaches(program: str) -> bool:
                return subprocess.run([sys.executable, "-c", program], check=False,
                                      stderr=subprocess.DEVNULL).returncode == 0

            def met() -> bool:
                nodes = list(resp.parse_nodes(lab.redis("muster-0", "CLUSTER", "NODES")))
                return len(nodes) == 2 and not any("handshake" in n.flags for n in nodes)
            self.assertTrue(reaches(dial) and reaches(dial_api))
            try:
                lab.partition("muster-0", api=True)
            except LabError as error:
                self.skipTest(str(error))
            self.assertFalse(reaches(dial), "an agent reaches over the cut")
            self.assertFalse(reaches(dial_api), "an agent reaches the API over the cut")
            lab.redis("muster-0", "CLUSTER", "MEET", address, 6379)
            time.sleep(2)
            self.assertFalse(met(), "a server reaches over the cut")
            lab.heal()
            self.assertTrue(reaches(dial) and reaches(dial_api))
            lab.redis("muster-0", "CLUSTER", "MEET", address, 6379)
            self.wait_until(met, 10, "MEET after healing")
        rules = subprocess.run([tool, "-S"], stdout=subprocess.PIPE, text=True, check=True)
        self.assertNotIn(json.dumps(gid), rules.stdout)
        return str(about["network"])


class CommandLine(LabTestCase):
    def refused(self, *words: str) -> str:
        """What the lab says when it refuses."""
        environment = {**os.environ, "MUSTER_BUILD": str(FAKE)}
        done = subprocess.run([str(LAB), *words], env=environment, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=30, check=False)
        self.assertNotEqual(done.returncode, 0, words)
        self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)
        return done.stderr

    def test_what_makes_no_sense_is_refused_in_words(self) -> None:
        self.assertIn("too long", self.refused("up", "--state", "/tmp/" + "x" * 90))
        self.assertIn("lab.speed", self.refused("up", "--set", "lab.speed=1"))
        self.assertIn("unknown server", self.refused("up", "--server", "redis-3"))
        self.assertIn("no lab is running", self.refused("status", "--state", "/tmp/no-such-lab"))

    def test_what_is_seen_is_printed_too(self) -> None:
        with fake_lab(pods=1) as lab:
            lab.up(wait="ready", timeout=30)
            self.assertEqual(json.loads(lab.run("get", "pods", "muster-0"))["metadata"]["uid"],
                             self.uid(lab, "muster-0"))
            self.assertEqual([p["name"] for p in json.loads(lab.run("status", "--json"))["pods"]],
                             ["muster-0"])
            self.assertIn("muster-0", lab.run("status"))

    def test_what_cannot_be_done_fails_with_its_reason(self) -> None:
        with fake_lab(pods=1) as lab:
            lab.up(wait="ready", timeout=30)
            for words, reason in ((("kill", "muster-7"), "no pod muster-7"),
                                  (("delete", "muster-7"), "no pod muster-7"),
                                  (("drain-node", "node-9"), "no node node-9"),
                                  (("load", "report"), "no load is running"),
                                  (("get", "secrets"), "no resource secrets"),
                                  (("wait", "formed", "--timeout", "1"), "not done after 1 s")):
                with self.subTest(words), self.assertRaisesRegex(LabError, reason):
                    lab.run(*words)

    def test_the_lab_takes_everything_with_it(self) -> None:
        for how in ("down", "the daemon is killed"):
            with self.subTest(how), fake_lab(pods=2) as lab:
                lab.up(wait="ready", timeout=30)
                pids = [pid for p in lab.pods().values() for pid in p["pids"].values()]
                if how == "down":
                    lab.down()
                else:
                    self._kill_daemon(lab)
                self.wait_until(lambda: not any(Path(f"/proc/{p}").exists() for p in pids), 5,
                                "the end of every process")

    def _kill_daemon(self, lab: Lab) -> None:
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = path.read_bytes().split(b"\0")
            except OSError:
                continue
            if str(lab.state).encode() in words and any(w.endswith(b"daemon.py") for w in words):
                os.kill(int(path.parent.name), 9)

    def test_muster_gets_the_pod_s_configuration(self) -> None:
        with fake_lab(pods=1, settings={"log.format": "json"}) as lab:
            lab.up(wait="ready", timeout=30)
            seen = json.loads(lab.muster("muster-0", "status", "--json").stdout)
            self.assertEqual(seen["arguments"], ["status", "--json"])
            self.assertEqual(seen["environment"]["POD_NAME"], "muster-0")
            self.assertEqual(seen["environment"]["MUSTER_LOG_FORMAT"], "json")
            self.assertEqual(seen["environment"]["MUSTER_REDIS_HOST"], lab.address("muster-0"))


if __name__ == "__main__":
    main()
