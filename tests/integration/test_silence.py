#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The API server falls silent on open connections: no FIN, no RST, not one packet (FAULTS A3).

Nothing but the agents' own means can tell them. Until then, and after, the data path stays as it is.
"""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from muster_test import Lab, LabError, MusterTestCase, main, on_servers  # noqa: E402

NAMES = [f"muster-{i}" for i in range(3)]
WATCHED = {"pods", "statefulset", "record"}
NOTICED_SECONDS = 60         # FAULTS A3; keepalive gives a connection up after 35 s
BACK_SECONDS = 30            # until the next try, and what it brings


@on_servers("redis-7.0", "valkey-9")
class Silence(MusterTestCase):
    timeout = 180

    def test_a3_packets_that_are_dropped(self) -> None:
        # without bookmarks there is no difference between a calm watch and a dead one but keepalive
        settings = {"kubernetes.leaseSeconds": 3, "lab.bookmarkSeconds": 600.0}
        with Lab(pods=len(NAMES), server=self.server, replicas_per_primary=0,
                 settings=settings) as lab:
            lab.up()
            self.wait_until(lambda: "record: formed" in "".join(map(lab.log, NAMES)), 20,
                            "nothing is left to be done")
            marks = {pod: len(lab.log(pod)) for pod in NAMES}

            def missed(pod: str) -> set[str]:
                return set(re.findall(r"event=watch_lost what=(\S+)", lab.log(pod)[marks[pod]:]))
            begin = time.monotonic()
            try:
                lab.api("cut")
            except LabError as error:
                self.skipTest(str(error))
            lab.scale(4, wait=False)         # what nobody is told of
            self.wait_until(lambda: all(missed(pod) >= WATCHED for pod in NAMES),
                            NOTICED_SECONDS, "every agent misses all of its watches")
            print(f"noticed after {time.monotonic() - begin:.1f} s", end=" ")
            self.the_data_path_is_as_it_was(lab, marks)
            lab.api("up")
            begin = time.monotonic()
            self.wait_until(lambda: all("event=api-well" in lab.log(pod)[marks[pod]:]
                                        for pod in NAMES), BACK_SECONDS, "watched again")
            for pod in NAMES:
                self.wait_until(lambda: "muster-3" in self.known(lab, pod), BACK_SECONDS,
                                f"{pod} knows of muster-3")
            print(f"up to date {time.monotonic() - begin:.1f} s after the API is back", end=" ")

    def the_data_path_is_as_it_was(self, lab: Lab, marks: dict[str, int]) -> None:
        pods = lab.pods()
        for pod in NAMES:
            self.assertIn("cluster_state:ok", lab.text(pod, "CLUSTER", "INFO"), pod)
            self.assertTrue(pods[pod]["ready"], pod)
            self.assertNotIn("event=did", lab.log(pod)[marks[pod]:], pod)
            self.assertNotIn("muster-3", self.known(lab, pod), "the cut is none")

    def known(self, lab: Lab, pod: str) -> set[str]:
        return {p["name"] for p in lab.muster_json(pod, "status")["pods"]}


if __name__ == "__main__":
    main()
