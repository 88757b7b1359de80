# SPDX-License-Identifier: Apache-2.0
"""What tests of lost nodes and processes share: writes while it happens, and what a person is told who asks."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from typing import Any, Iterator

from release import KUBECTL, SLOTS, call, figure, wait_until
from witness import Loads, Witnessed, gap_between


class Outage(Witnessed):
    """Only on the cluster that tests/e2e/cluster started: its nodes are ours to end."""

    # -- looking -------------------------------------------------------------------------------------------------------

    def pods(self) -> dict[str, dict[str, Any]]:
        """The API's pods by name."""
        return {one["metadata"]["name"]: one
                for one in json.loads(self.release.kubectl("get", "pods", "-o", "json"))["items"]}

    def shards(self) -> dict[str, str]:
        """Primary -> its replica, of a cluster that is whole."""
        return {one["primary"]: "".join(one["replicas"]) for one in self.release.wait_formed()["shards"]}

    # -- judging -------------------------------------------------------------------------------------------------------

    @contextmanager
    def load(self, what: str, unsent: int = 0) -> Iterator[dict[str, Any]]:
        """Writes inside it; its report is filled in afterwards. At most `unsent` acknowledged writes are lost."""
        report: dict[str, Any] = {}
        with Loads(self.release) as loads:
            loads.start()
            yield report
            report.update(loads.stop())
        figure(f"{type(self).__name__}, {what}: acknowledged {report['acknowledged']} ({report['acknowledgedPerSecond']}/s), "
               f"lost {report['lost']}, stale {report['stale']}; a client tried every {report['attemptGapP99Ms']} ms "
               f"(99 of 100 times, {report['attemptGapMaxMs']:.0f} ms at most)")
        self.assertLessEqual(max(report["lost"], report["stale"]), unsent, report)
        self.assertEqual(report["unreadable"], 0, report)
        self.no_old_votes()

    def paused(self, what: str, report: dict[str, Any], begin: float, end: float, limit: float) -> None:
        """Writes paused between these two for `limit` seconds at most."""
        ms = gap_between(report, begin, end)
        figure(f"{type(self).__name__}, {what}: writes paused for {ms:.0f} ms")
        self.assertLess(ms, 1000 * limit, report)

    # -- a node --------------------------------------------------------------------------------------------------------

    def node_is_ready(self, node: str) -> bool:
        """By the API."""
        conditions = json.loads(call(KUBECTL, "get", "node", node, "-o", "json"))["status"]["conditions"]
        return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)

    def choose_node(self) -> tuple[str, list[str], str]:
        """A node with one primary, so that most are left: its name, its pods, one that is elsewhere."""
        shards, pods = self.shards(), self.pods()
        on = {name: pod["spec"]["nodeName"] for name, pod in pods.items()}
        node = next(node for node in sorted(set(on.values())) if sum(on[one] == node for one in shards) == 1)
        return node, sorted(name for name in on if on[name] == node), next(name for name in on if on[name] != node)

    def served_without(self, gone: list[str], witness: str) -> bool:
        """Whether every slot is served by pods that are left, as the leader has it."""
        status = self.release.status(witness)
        return status["cluster"]["slotsCovered"] == SLOTS and status["leader"] not in gone \
            and not {one["primary"] for one in status["shards"]} & set(gone)

    def missed(self, gone: list[str], witness: str) -> None:
        """It works, and people are told what is missing."""
        words = f"{len(gone)} of {len(self.release.pods)} are missing: {gone[0]} "
        wait_until(lambda: (lambda code, said: code == 1 and words in said)(*self.release.check(witness)), 60,
                   f"muster check exits 1 and says '{words}'")
        status = self.release.muster("status", pod=witness)
        for one in gone:
            self.assertRegex(status, rf"{one} .*(not ready|silent|seen \d+s ago)")

    def whole_again(self) -> bool:
        """Nothing is missing; that roles lie together in a zone now is said, too."""
        found = re.findall(r"^(\S+) +([a-z-]+) ", self.release.check()[1], re.MULTILINE)
        return ("ok", "slots") in found and \
            {key for held, key in found if held in ("NOT", "?")} <= {"node-loss", "zone-loss"}
