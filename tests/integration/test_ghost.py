#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A node that was forgotten, and whose process is still there or comes back, stays out (FAULTS C14)."""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path
from typing import Iterator

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from keyed import Cluster  # noqa: E402
from muster_test import Lab, MusterTestCase, main, on_servers  # noqa: E402
from old_process import OldProcess  # noqa: E402

NODE_TIMEOUT = 3000
WHOLE_SECONDS = 180          # Redis bans what was forgotten for 60 s (CLUSTER_BLACKLIST_TTL)
SHORT_SECONDS = 15           # it dials at once, and is ignored


class Ghost(MusterTestCase):
    timeout = 180 + WHOLE_SECONDS

    def known(self, lab: Lab, node: str) -> list[str]:
        return [pod for pod in lab.pods() if node in lab.text(pod, "CLUSTER", "NODES")]

    @contextlib.contextmanager
    def lab_with_keys(self, server: str) -> Iterator[tuple[Lab, Cluster]]:
        with Lab(pods=6, server=server, node_timeout=NODE_TIMEOUT) as lab:
            lab.up()
            cluster = Cluster(lab)
            cluster.write()
            yield lab, cluster

    def forgotten(self, lab: Lab, server: str) -> tuple[OldProcess, str]:
        """A replica's process, which is to be started again, and its id, which nobody knows any more."""
        pod = next(pod for pod in lab.pods() if b"slave" in lab.redis(pod, "ROLE"))
        node, address = lab.text(pod, "CLUSTER", "MYID"), lab.address(pod)
        ghost = OldProcess(lab, pod, address, server, False, NODE_TIMEOUT)
        begin = time.monotonic()
        lab.lose_volume(pod, wait=False)
        self.wait_until(lambda: not self.known(lab, node), 90, "the old id is forgotten")
        print(f"{server}: clean after {time.monotonic() - begin:.1f} s", end="; ")
        lab.wait("formed", timeout=60)
        self.assertNotEqual(lab.address(pod), address)
        return ghost, node

    def stays_out(self, server: str, seconds: int) -> None:
        with self.lab_with_keys(server) as (lab, cluster):
            ghost, node = self.forgotten(lab, server)
            with ghost.start():
                self.wait_until(lambda: ghost.ask("CLUSTER", "MYID").decode() == node, 10,
                                "the ghost knows who it was, and whom it knew")
                end = time.monotonic() + seconds
                while time.monotonic() < end:
                    self.assertEqual(self.known(lab, node), [], "who knows it again")
                    time.sleep(1)
            lab.wait("formed", timeout=20)
            self.assertEqual(cluster.lost(), 0)
            print(f"not known again for {seconds} s")

    @on_servers("redis-7.0")
    def test_what_was_forgotten_stays_out(self, server: str) -> None:
        self.stays_out(server, SHORT_SECONDS)

    @on_servers("redis-7.0", "redis-8.0", first=0)
    def test_what_was_forgotten_stays_out_past_the_ban(self, server: str) -> None:
        self.stays_out(server, WHOLE_SECONDS)

    def is_back(self, lab: Lab, node: str) -> bool:
        """For good: whom it follows is known, too. Before, each MEET makes it known for a moment (FACTS 4)."""
        rows = [line.split() for pod in lab.pods() for line in lab.text(pod, "CLUSTER", "NODES").splitlines()]
        return sum(row[0] == node and row[3] != "-" for row in rows) == len(lab.pods())

    @on_servers("valkey-9", first=0)
    def test_who_meets_us_again_is_told_of_and_forgotten_when_it_ends(self, server: str) -> None:
        """Valkey 9 sends a MEET to whom it knows and who does not dial it (FACTS 4)."""
        with self.lab_with_keys(server) as (lab, cluster):
            ghost, node = self.forgotten(lab, server)
            with ghost.start():
                begin = time.monotonic()
                self.wait_until(lambda: self.is_back(lab, node), WHOLE_SECONDS, "it is back")
                print(f"known again after {time.monotonic() - begin:.1f} s", end="; ")
                told = f"node {node[:8]}"
                self.wait_until(lambda: any(told in lab.log(pod) and "is no pod of" in lab.log(pod)
                                            for pod in lab.pods()), 30, "it is told of")
            begin = time.monotonic()
            self.wait_until(lambda: not self.known(lab, node), 90, "it is forgotten again")
            lab.wait("formed", timeout=30)
            self.assertEqual(cluster.lost(), 0)
            print(f"clean {time.monotonic() - begin:.1f} s after its end")


if __name__ == "__main__":
    main()
