#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A zone without power: only on the cluster that tests/e2e/cluster started (E2E_STATE), whose nodes can be cut off."""

from __future__ import annotations

import os
import sys
import time
import unittest

from release import SLOTS, Release, figure, wait_until
from witness import cluster

KEYS = 300


@unittest.skipUnless(os.environ.get("E2E_STATE"), "the nodes of a given cluster are not ours to cut off")
class PowerCut(unittest.TestCase):
    """Three zones with one node each."""

    def setUp(self) -> None:
        self.release = Release("e2e-powercut")
        self.addCleanup(self.release.remove)
        # before that, for a pod of a dead node does not end
        self.addCleanup(cluster, "up")
        self.release.remove()
        self.release.create_namespace()
        self.release.install()
        self.status = self.release.wait_formed()

    def write(self) -> bool:
        """Whether every key can be written now."""
        # without power nothing refuses: a client waits
        client = self.release.client("timeout 10")
        answers = self.release.shell(f"for i in $(seq {KEYS}); do echo set key:$i value:$i; done | {client} "
                                     "| grep -c OK || true")
        return int(answers) == KEYS

    def read(self) -> int:
        """How many keys are there as they were written."""
        return int(self.release.shell(f"for i in $(seq {KEYS}); do echo get key:$i; done | {self.release.client()} "
                                      "| grep -c ^value: || true"))

    def test_the_others_serve_every_slot_and_what_was_away_comes_back_with_its_data(self) -> None:
        self.assertTrue(self.write())
        nodes = {one["name"]: one["node"] for one in self.status["pods"]}
        ids = {one["name"]: one["nodeId"] for one in self.status["pods"]}
        # one with a primary, but not that of the pod in which commands are run
        victim = next(nodes[shard["primary"]] for shard in self.status["shards"]
                      if nodes[shard["primary"]] != nodes[self.release.pods[0]])
        try:
            cluster("cut", victim)
            cut = time.monotonic()
            wait_until(self.write, 120, "every key writable without " + victim)
            figure(f"PowerCut: every key writable again {time.monotonic() - cut:.1f} s after a zone's power cut "
                   "(cluster-node-timeout 15 s)")
            cluster("up")
            status = self.release.wait_formed(300)
        except BaseException:
            print(self.release.describe(), file=sys.stderr)
            raise
        self.assertEqual({one["name"]: one["nodeId"] for one in status["pods"]}, ids)
        self.assertEqual(status["cluster"]["slotsCovered"], SLOTS)
        self.assertEqual(self.read(), KEYS)


if __name__ == "__main__":
    unittest.main(verbosity=2)
