# SPDX-License-Identifier: Apache-2.0
"""Servers, agents and the API cut from each other: who leads, what was ordered, who was elected."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from drain_case import DrainTestCase  # noqa: E402
from keyed import Cluster  # noqa: E402
from muster_test import Lab, resp  # noqa: E402

NODE_TIMEOUT = 2000
# Whoever gives orders too soon does so here: nothing waits for a person, and links are back at once.
SETTINGS = {"kubernetes.leaseSeconds": 3, "policy.crashHandover": "auto",
            "lab.serverArgs": "--repl-diskless-sync-delay 0"}
CALM_SECONDS = 4             # WORLD_FRESH_MS, and a turn


class CutTestCase(DrainTestCase):
    timeout = 300

    def leader(self, lab: Lab, pods: list[str]) -> str:
        """The one of these pods whose agent leads."""
        def holder() -> str:
            spec = lab.get("leases", "muster-muster")["spec"]
            name = str(spec.get("holderIdentity", "")).partition("_")[0]
            return name if name in pods else ""
        found: str = self.wait_until(holder, 30, f"one of {pods} leads")
        return found

    def elected(self, lab: Lab) -> int:
        """How many elections were won, by the servers' own logs."""
        return sum(lab.log(pod, "redis").count("Failover election won") for pod in lab.pods())

    def acts_since(self, cluster: Cluster, before: list[str]) -> list[str]:
        return [act for act in cluster.acts() if act not in before]

    def restarts(self, lab: Lab) -> dict[str, Any]:
        return {name: pod["restarts"] for name, pod in lab.pods().items()}

    def in_sync(self, cluster: Cluster) -> dict[str, list[str]]:
        """The shards, once each has its replica."""
        self.wait_until(lambda: len(cluster.primaries()) == 3, 60, "replicas in sync")
        return cluster.shards()


class Clung:
    """A client that stays with one server, whatever it says: what it was told is written. A context."""

    PERIOD = 0.002

    def __init__(self, cluster: Cluster, pod: str) -> None:
        self.key = cluster.key_at(pod)
        self.told: list[float] = []          # when, by number
        self._client = resp.Client(cluster.lab.address(pod), access=cluster.lab.access)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Clung":
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._over.set()
        self._thread.join(10)
        self._client.close()

    def _run(self) -> None:
        while not self._over.wait(self.PERIOD):
            try:
                self._client.call("SET", f"{self.key}:{len(self.told)}", "x")
                self.told.append(time.monotonic())
            except resp.RespError:
                pass

    def missing(self, server: "resp.Client") -> list[float]:
        """When those were acknowledged that this server does not have."""
        names = [f"{self.key}:{number}" for number in range(len(self.told))]
        found = server.call("MGET", *names) if names else []
        return [when for when, value in zip(self.told, found) if value is None]
