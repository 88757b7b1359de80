#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Pods that are replaced while clients write: rolls, drained nodes, all at once; and ends, which are to be prompt.

Only on the cluster that tests/e2e/cluster started (E2E_STATE), whose pods this machine reaches and whose logs it can read.
DRAIN_FIGURES=1, on a machine that does nothing else, judges the figures that are promised.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import time
import unittest
from contextlib import ExitStack
from typing import Any, Callable, ClassVar

from release import HELM, KUBECTL, call, figure, wait_until
from campaign import gaps_around, judge_times  # release.py shows where it is
from witness import Loads, Witnessed

# ms; a failover that comes to nothing pauses writes for 5 s: that is no busy machine
BROKEN_GAP_MS = 4000
# seconds; a pod that waits for what cannot come takes an hour
PROMPT_MAX = 60
ROLL_MAX = 300


def node_names(verb: str) -> list[str]:
    """kubectl VERB on every node; their names."""
    found = [one["metadata"]["name"] for one in json.loads(call(KUBECTL, "get", "nodes", "-o", "json"))["items"]]
    if verb:
        call(KUBECTL, verb, *found)
    return found


@unittest.skipUnless(os.environ.get("E2E_STATE"), "the pods and logs of a given cluster cannot be reached from here")
class Rolling(Witnessed):
    """Redis 7.0, rolled to 8.0, on volumes that every node can mount. Each test goes on from where the last one ended."""

    values = {"server__image__tag": "7.0", "persistence__storageClass": "network"}
    loads: ClassVar[Loads]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        stack = ExitStack()
        cls.addClassCleanup(stack.close)
        cls.loads = stack.enter_context(Loads(cls.release))

    # -- judging -------------------------------------------------------------------------------------------------------

    def judge(self, what: str, report: dict[str, Any], hand_overs: list[tuple[float, int]], longest: int) -> None:
        """Nothing is lost, and writes never paused for longer than `longest` ms."""
        seen = gaps_around(report, hand_overs)
        line = (f"{what}; {len(hand_overs)} hand-overs: writes paused for "
                f"{', '.join(str(paused) for _, paused in hand_overs) or 'no'} ms by the agents, "
                f"for {', '.join(f'{one:.0f}' for one in seen) or 'no'} ms by a client, which never had to wait longer than "
                f"{report['longestGapMs']:.0f} ms and tried every "
                f"{report['attemptGapP99Ms']} ms (99 of 100 times, {report['attemptGapMaxMs']:.0f} ms at most); acknowledged "
                f"{report['acknowledged']} ({report['acknowledgedPerSecond']}/s), lost {report['lost']}, stale {report['stale']}")
        figure(line)
        self.assertEqual((report["lost"], report["stale"], report["unreadable"]), (0, 0, 0), report)
        self.assertLessEqual(report["longestGapMs"], longest, report)
        self.no_old_votes()

    def judge_handovers(self, what: str, report: dict[str, Any], hand_overs: list[tuple[float, int]]) -> None:
        """As promised of every planned replacement of pods."""
        self.judge(what, report, hand_overs, BROKEN_GAP_MS)
        self.assertEqual([one for one in self.logs.told("drained") if "level=warn" in one], [])
        if os.environ.get("DRAIN_FIGURES"):
            seen = gaps_around(report, hand_overs)
            long = [f"{ms:.0f} ms, {min((ended - done for done, _ in hand_overs), key=abs):+.1f} s from a hand-over"
                    for ms, ended in zip(report["longestGapsMs"], report["longestGapsEnded"]) if ms > 100]
            figure(f"{what}: gaps longer than 100 ms: {'; '.join(long) or 'none'}")
            self.assertEqual(judge_times({**report, "longestGapMs": max(seen), "medianGapMs": statistics.median(seen)}),
                             "kept")

    def roll(self, what: str, begin: Callable[[], object]) -> None:
        """Every pod is replaced, one after the other; every shard is handed over."""
        before = len(self.logs.hand_overs())
        self.loads.start()
        begun = time.monotonic()
        begin()
        self.release.kubectl("rollout", "status", f"statefulset/{self.release.name}", f"--timeout={ROLL_MAX}s",
                             timeout=ROLL_MAX + 10)
        took = time.monotonic() - begun
        self.release.wait_formed()
        hand_overs = self.logs.hand_overs()[before:]
        self.judge_handovers(f"{what}: {took:.1f} s", self.loads.stop(), hand_overs)
        self.assertGreaterEqual(len(hand_overs), len(self.status["shards"]))

    def wait_gone(self, seconds: float) -> None:
        """Until no pod is left."""
        wait_until(lambda: not json.loads(self.release.kubectl("get", "pods", "-o", "json"))["items"], seconds,
                   "every pod gone", period=0.2)

    # -- rolls ---------------------------------------------------------------------------------------------------------

    def test_1_rollout_restart(self) -> None:
        self.roll("kubectl rollout restart",
                  lambda: self.release.kubectl("rollout", "restart", f"statefulset/{self.release.name}"))
        # told to people, too, though their pods ended a moment later; an API that takes longer than that is named
        events = self.release.events("PrimaryHandedOver")
        lost = set(re.findall(r"pod=(\S+)", " ".join(self.logs.told("event_lost"))))
        for line in self.logs.told("handed-over"):
            if not set(re.findall(r" pod=(\S+)", line)) & lost:
                self.assertIn(line.split('msg="')[1].split('"')[0], events)
        self.assertTrue(events)

    def test_2_another_image(self) -> None:
        self.roll("from Redis 7.0 to 8.0 by helm upgrade", lambda: self.release.upgrade(server__image__tag="8.0"))
        servers = {one["server"].rsplit(".", 1)[0] for one in self.release.status()["pods"]}
        self.assertEqual(servers, {"redis 8.0"})

    def test_3_each_node_drained(self) -> None:
        self.addCleanup(node_names, "uncordon")
        before = len(self.logs.hand_overs())
        took = []
        self.loads.start()
        for node in node_names(""):
            begun = time.monotonic()
            call(KUBECTL, "drain", node, "--ignore-daemonsets", "--delete-emptydir-data", f"--timeout={ROLL_MAX}s",
                 timeout=ROLL_MAX + 10)
            took.append(f"{time.monotonic() - begun:.1f}")
            pods = json.loads(self.release.kubectl("get", "pods", "-o", "json"))["items"]
            self.assertNotIn(node, [one["spec"].get("nodeName") for one in pods])
            call(KUBECTL, "uncordon", node)
            self.release.wait_formed()
        self.judge_handovers(f"kubectl drain of each node: {', '.join(took)} s", self.loads.stop(),
                             self.logs.hand_overs()[before:])

    # -- ends ----------------------------------------------------------------------------------------------------------

    def test_4_all_pods_deleted(self) -> None:
        self.loads.start()
        begun = time.monotonic()
        self.release.kubectl("delete", "pods", "--all", f"--timeout={PROMPT_MAX}s", timeout=PROMPT_MAX + 10)
        took = time.monotonic() - begun
        self.release.wait_formed()
        whole = time.monotonic() - begun
        self.judge(f"kubectl delete pods --all: gone after {took:.1f} s, whole again after {whole:.1f} s",
                   self.loads.stop(), [], int(whole * 1000))

    def test_5_scaled_to_zero_and_back(self) -> None:
        begun = time.monotonic()
        for count in (0, len(self.release.pods)):
            self.release.kubectl("scale", "statefulset", self.release.name, f"--replicas={count}")
            if not count:
                self.wait_gone(PROMPT_MAX)
                took = time.monotonic() - begun
        self.release.wait_formed()
        figure(f"kubectl scale --replicas=0: gone after {took:.1f} s")
        for report in self.loads.read_back():
            self.assertEqual((report["lost"], report["unreadable"]), (0, 0), report)

    def test_6_uninstalled(self) -> None:
        begun = time.monotonic()
        call(HELM, "uninstall", "shop", "--namespace", self.release.namespace)
        self.wait_gone(PROMPT_MAX)
        figure(f"helm uninstall: gone after {time.monotonic() - begun:.1f} s")


if __name__ == "__main__":
    unittest.main(verbosity=2)
