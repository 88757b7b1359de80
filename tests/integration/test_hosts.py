#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Without Kubernetes: six servers behind one DNS name, or on a static list, form one cluster."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from muster_test import Lab, main  # noqa: E402

from config import LabConfig  # noqa: E402  (of the lab)
from hosts_case import PODS, HostsCase, record  # noqa: E402

# Of the formation: the intent (1), epochs and slots (2-22), MEET (23-37), settings back (41-52).
# The next one finishes what others heard of, while the first is away for so long (seconds).
KILL_AFTER = ((1, 0), (12, 20), (45, 0))


# A new server asks who had its address before; without a list to ask by it starts after so long.
SHORT = {"hook.silentSeconds": 2}


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
        with Lab(pods=PODS, discovery="dns", settings={"lab.dns": "partial=4", **SHORT}) as lab:
            lab.up(wait="running")
            self.wait_until(lambda: "exactly cluster.size 6 servers: muster.lab has 4 addresses"
                            in lab.log("muster-0"), 15, "the agent says what is missing")
            self.assert_servers_start(lab)
            time.sleep(3)
            self.assert_nothing_formed(lab)
            lab.dns("up")
            lab.wait("formed", timeout=40)
            self.assert_one_cluster(lab)

    def test_a_wrong_size_is_said_and_nothing_formed(self) -> None:
        with Lab(pods=4, discovery="dns", settings={"cluster.size": 3, **SHORT}) as lab:
            lab.up(wait="running")
            self.wait_until(lambda: all("exactly cluster.size 3 servers: muster.lab has 4 addresses"
                                        in lab.log(pod) for pod in lab.pods()), 15,
                            "every agent says what is wrong")
            self.assert_servers_start(lab)
            time.sleep(3)
            self.assert_nothing_formed(lab)


class DeadFirst(HostsCase):
    """The agent that forms dies right after its k-th command; another, or it again, finishes."""

    timeout = 300

    parallel = 2

    def one(self, point: tuple[int, float]) -> None:
        """After which command, and the seconds until the dead agent is started again."""
        after, away = point
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
        self.at_once(self.one, *KILL_AFTER)


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
