#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Servers that hang or are busy: nobody takes one for dead before Redis does (FAULTS C1, C2)."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path
from typing import Callable

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from cut_case import SETTINGS, CutTestCase  # noqa: E402
from keyed import Cluster, Pulse  # noqa: E402
from muster_test import Lab, main, on_servers, resp  # noqa: E402

NODE_TIMEOUT = 8000
# Of liveness: three failures in a row end a server.
PROBED = {**SETTINGS, "lab.livenessSeconds": 1.0}
# FAULTS asks for that, too (FROZEN_MINUTE=1, by hand).
MINUTE = [("a minute", 60.0)] if os.environ.get("FROZEN_MINUTE") else []
BUSY_SECONDS = 5             # longer than that; and than NODE_TIMEOUT for nobody


class Frozen(CutTestCase):
    @on_servers("redis-7.0", "valkey-9", first=0)
    def test_a_server_that_does_not_answer_is_not_a_dead_one(self, server: str) -> None:
        with Lab(pods=6, server=server, node_timeout=NODE_TIMEOUT, settings=PROBED) as lab:
            cluster = self.formed(lab)
            cluster.write()
            for what, seconds in (("a second", 1.0), ("NT/2", NODE_TIMEOUT / 2000),
                                  ("NT", NODE_TIMEOUT / 1000), ("until another is elected", 0.0),
                                  *MINUTE):
                self.alone(server, cluster, lambda c, w=what, s=seconds: self.hangs(c, w, s))
            self.alone(server, cluster, self.sleeps)
            self.alone(server, cluster, self.computes)

    def alone(self, server: str, cluster: Cluster, step: Callable[[Cluster], str]) -> None:
        """A step in which no agent orders anything and no server ends."""
        self.in_sync(cluster)
        before, restarts = cluster.acts(), self.restarts(cluster.lab)
        print(f"{server}: {step(cluster)}")
        self.assertEqual(cluster.lost(), 0)
        self.assertEqual(self.acts_since(cluster, before), [])
        self.assertEqual(self.restarts(cluster.lab), restarts)

    # -- C1

    def hangs(self, cluster: Cluster, what: str, seconds: float) -> str:
        lab, shards = cluster.lab, cluster.shards()
        pod = sorted(shards)[0]
        (heir,) = shards[pod]
        won, began = self.elected(lab), time.monotonic()
        with Pulse(cluster, shards) as pulse:
            lab.pause(pod, "redis")
            if seconds:
                time.sleep(seconds)
            else:
                self.wait_until(lambda: cluster.role(heir) == "master", 60, f"{heir} is elected", 0.05)
            hung = time.monotonic() - began
            lab.resume(pod, "redis", wait=False)
            self.whole(lab)
        won = self.elected(lab) - won
        self.assertLessEqual(won, int(hung >= NODE_TIMEOUT / 1000))
        return (f"C1 {pod} frozen for {hung:.1f} s ({what}): elections {won}, acts 0, restarts 0, "
                f"longest without a write {pulse.longest[pod]:.1f} s")

    # -- C2

    def sleeps(self, cluster: Cluster) -> str:
        return self.busy(cluster, "DEBUG SLEEP", "DEBUG", "SLEEP", str(BUSY_SECONDS))

    def computes(self, cluster: Cluster) -> str:
        """It answers everybody that it is busy."""
        lab = cluster.lab
        for pod in lab.pods():
            lab.redis(pod, "CONFIG", "SET", "busy-reply-threshold", "500")
        return self.busy(cluster, "a script", "EVAL", "while true do end", "0")

    def busy(self, cluster: Cluster, what: str, *words: str) -> str:
        lab, shards = cluster.lab, cluster.shards()
        pod = sorted(shards)[0]
        thread = threading.Thread(target=self.ask, args=(lab, pod, words), daemon=True)
        with Pulse(cluster, shards) as pulse:
            thread.start()
            time.sleep(BUSY_SECONDS)
            if words[0] == "EVAL":
                self.wait_until(lambda: lab.redis(pod, "SCRIPT", "KILL") == "OK", 10, "it is ended")
            thread.join(30)
            self.assertFalse(thread.is_alive(), "it answers again")
            self.whole(lab)
        self.assertEqual(cluster.shards(), shards, "no role moved")
        self.assertGreater(pulse.longest[pod], BUSY_SECONDS - 1, "it was not busy")
        return (f"C2 {pod} busy with {what} for {BUSY_SECONDS} s: restarts 0, acts 0, longest without "
                f"a write {pulse.longest[pod]:.1f} s")

    @staticmethod
    def ask(lab: Lab, pod: str, words: tuple[str, ...]) -> None:
        try:
            lab.redis(pod, *words, timeout=6.0 * BUSY_SECONDS)
        except resp.RespError:
            pass                 # a script that was ended


if __name__ == "__main__":
    main()
