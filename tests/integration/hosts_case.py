# SPDX-License-Identifier: Apache-2.0
"""Six servers without Kubernetes, and what must be true of their cluster."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from keyed import Cluster  # noqa: E402
from muster_test import Lab, LabError, MusterTestCase  # noqa: E402

PODS = 6
KEYS = 100


def node_ids(lab: Lab) -> dict[str, str]:
    return {pod: lab.text(pod, "CLUSTER", "MYID") for pod in lab.pods()}


def record(lab: Lab, pod: str) -> dict[str, Any]:
    """As its agent has it; LabError before it has one."""
    try:
        text = (lab.state / "pods" / pod / "run/record.json").read_text()
    except FileNotFoundError as error:
        raise LabError(f"{pod} has no record yet") from error
    found: dict[str, Any] = json.loads(text)
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

    def assert_servers_start(self, lab: Lab) -> None:
        self.wait_until(lambda: len(Cluster(lab).roles()) == len(lab.pods()), 20, "every server answers")

    def assert_nothing_formed(self, lab: Lab) -> None:
        for pod in lab.pods():
            info = lab.text(pod, "CLUSTER", "INFO")
            self.assertIn("cluster_known_nodes:1\r\n", info, pod)
            self.assertIn("cluster_slots_assigned:0\r\n", info, pod)
