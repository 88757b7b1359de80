# SPDX-License-Identifier: Apache-2.0
"""Six pods that are to form one cluster while the API server fails, and the judgement at the end.

One cluster of six ids, settings given back, one record, all asked of the servers themselves. No agent
may have died, stormed the API server or flooded its log.
"""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from typing import Any, Optional

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from muster_test import Lab, MusterTestCase, wait_until  # noqa: E402

PODS = 6
NAMES = [f"muster-{i}" for i in range(PODS)]
# Per agent: what a start takes, and per second. A calm agent sends 1.2/s at leaseSeconds 3.
REQUESTS_START, REQUESTS_SECOND = 40, 4.0
LINES_START, LINES_SECOND = 80, 2.0


class Formation:
    """A lab of six, what was asked of its API server, and the judgement at the end."""

    def __init__(self, test: "ApiFaults", faults: str = "", **settings: Any) -> None:
        given = {"kubernetes.leaseSeconds": 3, "lab.bookmarkSeconds": 1.0, "lab.backoff": 30,
                 "lab.faults": faults,
                 **{key.replace("__", "."): value for key, value in settings.items()}}
        self.test = test
        self.lab = Lab(pods=PODS, server=test.server, settings=given)
        self.killed: list[str] = []
        self.more_requests = 0
        self.refused = 0

    def __enter__(self) -> "Formation":
        try:
            self.begin = time.monotonic()
            self.lab.up(wait="running")
        except BaseException:
            self.lab.__exit__(*sys.exc_info())
            raise
        return self

    def __exit__(self, *why: Any) -> None:
        try:
            if why[0] is None:
                self.judge()
        except BaseException:
            why = sys.exc_info()
            raise
        finally:
            self.lab.__exit__(*why)

    # -- steering --------------------------------------------------------------------------------

    def fault(self, *specs: str) -> None:
        for spec in specs:
            self.lab.api("fault", spec)

    def clear(self) -> None:
        self.lab.api("fault", "clear")

    def log(self, pod: str) -> str:
        return self.lab.log(pod)

    def say(self, pattern: str, timeout: float = 20, pods: Optional[list[str]] = None) -> None:
        """Wait until the log of each of these pods has a line like this."""
        names = NAMES if pods is None else pods
        wait_until(lambda: all(re.search(pattern, self.log(pod)) for pod in names), timeout,
                   f"every agent says {pattern!r}")

    def stored(self, resource: str) -> list[Any]:
        """Objects as the lab has them, past its API server and the faults."""
        found: list[Any] = self.lab.get(resource)
        return found

    def intent(self, timeout: float = 40) -> None:
        """Wait until the formation is decided and under way."""
        def written() -> bool:
            return any(i["metadata"]["name"] == "muster-muster" for i in self.stored("configmaps"))
        wait_until(written, timeout, "the intent is in the record", period=0.02)
        self.test.assertNotIn("record: formed", "".join(map(self.log, NAMES)))

    def leader(self) -> str:
        holder: str = self.lab.get("leases", "muster-muster")["spec"]["holderIdentity"]
        return holder.partition("_")[0]

    def recorded(self) -> bool:
        """The record says that the cluster is formed."""
        return any('"formed"' in json.dumps(i.get("data", {})).replace('\\"', '"')
                   for i in self.stored("configmaps")
                   if i["metadata"]["name"] == "muster-muster")

    def unformed(self) -> None:
        """Nobody met anybody: the wait is real."""
        for pod in NAMES:
            info = wait_until(lambda: self.lab.text(pod, "CLUSTER", "INFO"), 20, f"{pod} answers")
            self.test.assertIn("cluster_known_nodes:1\r\n", info, pod)

    # -- judging ---------------------------------------------------------------------------------

    def judge(self) -> None:
        test, lab = self.test, self.lab
        lab.wait("formed", timeout=75)
        took = time.monotonic() - self.begin
        views = {pod: lab.text(pod, "CLUSTER", "NODES").splitlines() for pod in NAMES}
        ids = {line.split()[0] for line in views["muster-0"]}
        test.assertEqual(len(ids), PODS)
        for pod, lines in views.items():
            test.assertEqual({line.split()[0] for line in lines}, ids, f"{pod}: one cluster")
        maps = [i["metadata"]["name"] for i in self.stored("configmaps")]
        test.assertEqual(maps.count("muster-muster"), 1)

        def restored() -> bool:
            return all(lab.redis(pod, "CONFIG", "GET", "cluster-node-timeout")[1] == b"15000"
                       for pod in NAMES)
        wait_until(restored, 20, "cluster-node-timeout is given back everywhere")
        stats = lab.api("stats")
        seconds = time.monotonic() - self.begin
        busiest = max(self.requests(stats, pod) for pod in NAMES)
        longest = max(len(self.log(pod).splitlines()) for pod in NAMES)
        print(f"formed after {took:.1f} s; at most {busiest} requests "
              f"({busiest / seconds:.1f}/s) and {longest} log lines of an agent", end=" ")
        self.refused = self.requests(stats, "-", code=401)
        test.assertLessEqual(busiest, REQUESTS_START + self.more_requests +
                             REQUESTS_SECOND * seconds, stats)
        test.assertLessEqual(longest, LINES_START + LINES_SECOND * seconds)
        for pod in NAMES:
            log = self.log(pod)
            test.assertNotRegex(log, "AddressSanitizer|runtime error|assert", pod)
            if pod not in self.killed:
                test.assertNotIn(" starts, restart 1", log, f"{pod}: the agent never died")

    def requests(self, stats: Any, pod: str, **like: Any) -> int:
        return sum(row["count"] for row in stats["requests"] if row["client"] == pod
                   and all(row[key] == value for key, value in like.items()))

    def count(self, pod: str, **like: Any) -> int:
        return self.requests(self.lab.api("stats"), pod, **like)


class ApiFaults(MusterTestCase):
    timeout = 150

    def amid(self, *specs: str, seconds: float = 3.0, **settings: Any) -> None:
        """The faults begin when the intent is written, and end that much later."""
        with Formation(self, **settings) as formation:
            formation.intent()
            formation.fault(*specs)
            time.sleep(seconds)
            formation.clear()
