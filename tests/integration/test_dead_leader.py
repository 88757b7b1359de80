#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The agent that forms the cluster dies; another finishes what it began."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from muster_test import Lab, MusterTestCase, main, on_servers  # noqa: E402

PODS = 6
# Of a formation of six: the intent (1), settings, epochs and slots (2-22), MEET (23-37), REPLICATE
# (38-40), settings back (41-52), formed (53).
KILL_AFTER = (1, 2, 9, 17, 23, 30, 37, 39, 44, 53)
SERVERS = ("redis-7.0", "valkey-9")
# each point on one server by turns, then on the other
POINTS = [(SERVERS[(place + other) % 2], after)
          for other in (0, 1) for place, after in enumerate(KILL_AFTER)]


class DeadLeader(MusterTestCase):
    """The agent that forms the cluster dies right after its k-th command; another finishes."""

    timeout = 480
    parallel = 2

    def died(self, lab: Lab) -> list[str]:
        return [pod for pod in lab.pods() if " starts, restart 1" in lab.log(pod)]

    def leaders(self, lab: Lab) -> set[str]:
        log = "".join(lab.log(pod) for pod in lab.pods())
        return set(re.findall(r"pod=(\S+) event=leading", log))

    @on_servers(*POINTS, first=len(KILL_AFTER))
    def test_another_finishes_from_ten_points(self, point: tuple[str, int]) -> None:
        for again in (True, True, False):
            if self.goes_on(*point, again):
                return

    def goes_on(self, server: str, after: int, again: bool) -> bool:
        """False if the machine was so busy that two led before the k-th command: nobody dies then."""
        mark = Path(f"/tmp/mlt-mark-{server}-{after}-{time.monotonic_ns()}")
        settings: dict[str, Any] = {
            "kubernetes.leaseSeconds": 3, "lab.backoff": 30,
            "lab.agentEnv": f"MUSTER_TEST_EXIT_AFTER={after} MUSTER_TEST_EXIT_MARK={mark}"}
        try:
            with Lab(pods=PODS, server=server, settings=settings) as lab:
                begin = time.monotonic()
                lab.up(wait="running")
                self.wait_until(lambda: mark.exists() or len(self.leaders(lab)) > 1, 30,
                                f"an agent dies after its command {after}")
                if again and not mark.exists():
                    return False
                lab.wait("formed", timeout=60)
                took = time.monotonic() - begin
                self.wait_until(lambda: self.died(lab), 40, "the dead agent is restarted")
                records = [cm for cm in lab.get("configmaps") if "muster" in cm["metadata"]["name"]]
                self.assertEqual(len(records), 1)
                print(f"{server}: after command {after:2}: formed {took:.1f} s later, led by "
                      f"{self.leaders(lab)}")
                return True
        finally:
            mark.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
