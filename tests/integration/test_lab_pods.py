#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The lab's pods live and end as the kubelet has it: containers, probes, the grace period."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from muster_test import Lab, main

from lab_case import LabTestCase, OnePodTestCase, fake_lab


class Lives(OnePodTestCase):
    """Containers and pods end and start as the kubelet does it."""

    def test_server_is_pid_one_and_agent_gets_its_identity_only(self) -> None:
        lab = self.lab
        pid = lab.pods()["muster-0"]["pids"]["redis"]
        status = Path(f"/proc/{pid}/status").read_text()
        line = next(x for x in status.splitlines() if x.startswith("NSpid:"))
        self.assertEqual(line.split()[1:], [str(pid), "1"])
        line = [x for x in lab.log("muster-0").splitlines() if x.startswith("environment")][-1]
        environment = json.loads(line.split(" ", 1)[1])
        self.assertEqual(set(environment) - {"LC_CTYPE"},
                         {"PATH", "POD_NAME", "POD_NAMESPACE", "POD_UID", "POD_IP"})
        self.assertEqual(environment["POD_IP"], lab.address("muster-0"))

    def test_a_container_restart_keeps_pod_and_address(self) -> None:
        lab = self.lab
        for container in ("redis", "agent"):
            uid, address = self.uid(lab, "muster-0"), lab.address("muster-0")
            lab.kill("muster-0", container)
            pod = lab.pods()["muster-0"]
            self.assertEqual((pod["uid"], pod["ip"], pod["restarts"][container]),
                             (uid, address, 1))
        states = lab.get("pods", "muster-0")["status"]["containerStatuses"][0]
        self.assertEqual(states["lastState"]["terminated"]["exitCode"], 137)
        self.assertIn("running", states["state"])

    def test_liveness_kills_the_container_after_three_failures_with_pre_stop(self) -> None:
        lab = self.lab
        uid, dead = self.uid(lab, "muster-0"), self.steer(lab, "muster-0", "dead")
        self.wait_until(lambda: (dead.parent / "drained").exists(), 10, "preStop")
        dead.unlink()
        self.wait_until(lambda: lab.pods()["muster-0"]["restarts"]["redis"] == 1, 10,
                        "a restart")
        self.assertEqual(self.uid(lab, "muster-0"), uid)
        self.assertNotIn("deletionTimestamp", lab.get("pods", "muster-0")["metadata"])

    def test_lose_volume_loses_the_data(self) -> None:
        node_id = self.lab.redis("muster-0", "CLUSTER", "MYID")
        self.lab.lose_volume("muster-0")
        self.assertNotEqual(self.lab.redis("muster-0", "CLUSTER", "MYID"), node_id)


class OtherLives(LabTestCase):
    """What takes a lab of its own."""

    def test_a_second_crash_waits_for_the_back_off(self) -> None:
        with fake_lab(pods=1, settings={"lab.backoff": 4}) as lab:
            lab.up(wait="ready", timeout=30)
            lab.kill("muster-0")
            began = time.monotonic()
            lab.kill("muster-0", wait=False)
            self.wait_until(lambda: "waiting" in lab.get("pods", "muster-0")["status"]
                            ["containerStatuses"][0]["state"], 6, "CrashLoopBackOff")
            lab.wait("ready", 10)
            self.assertGreaterEqual(time.monotonic() - began, 4)

    def test_a_new_pod_gets_a_new_address_and_volumes_stay_or_go(self) -> None:
        for volumes in (True, False):
            with self.subTest(volumes=volumes), fake_lab(pods=2, volumes=volumes) as lab:
                lab.up(wait="ready", timeout=30)
                seen = {lab.address("muster-0"), lab.address("muster-1")}
                node_id = lab.redis("muster-0", "CLUSTER", "MYID")
                uid = self.uid(lab, "muster-0")
                lab.delete("muster-0")
                self.assertNotEqual(self.uid(lab, "muster-0"), uid)
                self.assertNotIn(lab.address("muster-0"), seen)
                same = lab.redis("muster-0", "CLUSTER", "MYID") == node_id
                self.assertEqual(same, volumes)

    def test_readdress_keeps_data_where_there_are_no_volumes(self) -> None:
        with fake_lab(pods=1, volumes=False) as lab:
            lab.up(wait="ready", timeout=30)
            node_id, address = lab.redis("muster-0", "CLUSTER", "MYID"), lab.address("muster-0")
            lab.readdress()
            self.assertNotEqual(lab.address("muster-0"), address)
            self.assertEqual(lab.redis("muster-0", "CLUSTER", "MYID"), node_id)

    def test_readiness_needs_three_failures(self) -> None:
        with fake_lab(pods=1, settings={"lab.readinessSeconds": 1}) as lab:
            lab.up(wait="ready", timeout=30)
            began = time.monotonic()
            self.steer(lab, "muster-0", "unready").touch()
            self.wait_until(lambda: not lab.pods()["muster-0"]["ready"], 10, "unready")
            self.assertGreaterEqual(time.monotonic() - began, 1.9)


class GraceClock(OnePodTestCase):
    def _terminate(self, lab: Lab, grace: int) -> float:
        """Seconds from the DELETE until the pod object is gone."""
        uid, began = self.uid(lab, "muster-0"), time.monotonic()
        lab.delete("muster-0", grace=grace, wait=False)
        meta = lab.get("pods", "muster-0")["metadata"]
        if meta["uid"] == uid:               # a quick one may be over by now
            self.assertEqual(meta["deletionGracePeriodSeconds"], grace)
            self.assertIn("deletionTimestamp", meta)
        self.wait_until(lambda: self._gone(lab, uid), grace + 10, "the end of the pod", 0.05)
        return time.monotonic() - began

    def _gone(self, lab: Lab, uid: str) -> bool:
        return uid not in [p["metadata"]["uid"] for p in lab.get("pods")]

    def test_pre_stop_and_sigterm_share_the_grace_period(self) -> None:
        lab = self.lab
        # preStop 4 s, then a server that cannot hear SIGTERM: killed at 5 s, not at 9
        self.steer(lab, "muster-0", "drain-seconds", "4")
        os.kill(lab.pods()["muster-0"]["pids"]["redis"], 19)
        seconds = self._terminate(lab, 5)
        self.assertGreaterEqual(seconds, 4.9)
        self.assertLess(seconds, 8.5)

    def test_an_overrunning_pre_stop_leaves_two_seconds(self) -> None:
        lab = self.lab
        self.steer(lab, "muster-0", "drain-seconds", "60")
        os.kill(lab.pods()["muster-0"]["pids"]["redis"], 19)
        seconds = self._terminate(lab, 2)
        self.assertGreaterEqual(seconds, 3.9)
        self.assertLess(seconds, 10)

    def test_a_short_pre_stop_does_not_wait_for_the_grace_to_end(self) -> None:
        lab = self.lab
        self.assertLess(self._terminate(lab, 10), 8)
        drained = (lab.state / "pods/muster-0/drained").read_text().split()
        self.assertEqual(len(drained), 1, "preStop runs once")

    def test_a_second_delete_may_shorten_the_grace(self) -> None:
        lab = self.lab
        self.steer(lab, "muster-0", "drain-seconds", "60")
        uid, began = self.uid(lab, "muster-0"), time.monotonic()
        lab.delete("muster-0", grace=30, wait=False)
        lab.delete("muster-0", grace=1, wait=False)
        self.wait_until(lambda: self._gone(lab, uid), 10, "the end of the pod")
        self.assertLess(time.monotonic() - began, 6)

    def test_the_agent_outlives_the_server_and_is_not_restarted(self) -> None:
        lab = self.lab
        self.steer(lab, "muster-0", "drain-seconds", "8")
        uid = self.uid(lab, "muster-0")
        lab.delete("muster-0", grace=15, wait=False)
        time.sleep(1)
        pids = lab.pods()["muster-0"]["pids"]
        self.assertTrue(pids["agent"] and pids["redis"], "both live during preStop")
        lab.kill("muster-0", "agent", wait=False)
        time.sleep(0.5)
        if not self._gone(lab, uid):
            pod = lab.pods()["muster-0"]
            self.assertEqual((pod["restarts"]["agent"], pod["pids"]["agent"]), (0, None))

    def test_a_forced_delete_removes_and_kills_at_once(self) -> None:
        lab = self.lab
        self.steer(lab, "muster-0", "drain-seconds", "60")
        pids = lab.pods()["muster-0"]["pids"]
        lab.delete("muster-0", grace=0, wait=False)
        self.wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids.values()), 10,
                        "its processes are gone, long before preStop's 60 s")
        self.assertFalse((lab.state / "pods/muster-0/drained").exists(), "no preStop by force")


if __name__ == "__main__":
    main()
