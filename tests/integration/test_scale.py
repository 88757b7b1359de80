#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`kubectl scale` out and in under load, with `policy.scaling: auto`: slots follow the StatefulSet's
size, pods above it are held in preStop until they are empty, and nothing is lost.
"""

from __future__ import annotations

import random
import sys
import threading
import time
from pathlib import Path
from typing import Any, Callable

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from muster_test import Lab, LabError, main, on_servers, resp  # noqa: E402
from scale_case import ScaleTestCase  # noqa: E402


class Scale(ScaleTestCase):
    @on_servers("redis-7.0", "valkey-9", "redis-8.0", "valkey-8.1", first=1)
    def test_out_and_in_under_load(self, server: str) -> None:
        """And out again: who comes back has its old volume (E11)."""
        with self.lab(server) as lab:
            cluster = self.loaded(lab)
            took = []
            for pods, shards in ((8, 4), (10, 5), (6, 3), (8, 4)):
                took.append(f"{pods} pods {self.scaled(cluster, pods, shards):.1f} s")
                self.assertEqual(cluster.lost(), 0)
            self.unloaded(cluster, f"{server}: 6, 8, 10, 6, 8 pods")
            self.assertEqual(self.left_with_slots(lab), [])
            print(f"{server}: {', '.join(took)}, slots moved {self.moved(lab)}, longest MIGRATE "
                  f"{self.longest(lab)} ms")

    @on_servers("redis-7.0", "valkey-9", first=0)
    def test_another_size_in_the_middle(self, server: str) -> None:
        """The last one wins (E2)."""
        with self.lab(server) as lab:
            cluster = self.loaded(lab)
            for pods in (8, 6, 10, 8, 6, 8):
                lab.scale(pods, wait=False)
                time.sleep(random.uniform(1, 8))
            took = self.scaled(cluster, 6, 3)
            self.unloaded(cluster, f"{server}: six other sizes in the middle")
            print(f"{server}: {took:.1f} s after the last one, slots moved {self.moved(lab)}")

    @on_servers("valkey-9", first=0)
    def test_servers_are_killed_while_slots_move(self, server: str) -> None:
        """What was written before is there: of what is written meanwhile a crash loses some (README)."""
        with self.lab(server) as lab:
            cluster = self.loaded(lab, load=False)
            took = 0.0
            for pods, shards in ((8, 4), (6, 3)):
                with Killer(lab, "redis", lambda pod: self.moves(lab, pod)) as killer:
                    took += self.scaled(cluster, pods, shards)
                self.assertGreater(killer.killed, 0)
            self.assertEqual(cluster.lost(), 0)
            print(f"{server}: servers killed in 6, 8, 6 pods, {took:.1f} s")


class Killer:
    """Kills a container of pods that are fit for it, some times, at any moment. A context."""

    TIMES = 5
    PAUSE = 2.0                  # s between two, at most

    def __init__(self, lab: Lab, container: str, fits: Callable[[str], bool]) -> None:
        self._lab, self._container, self._fits = lab, container, fits
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.killed = 0

    def __enter__(self) -> "Killer":
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._over.set()
        self._thread.join(60)
        print(f"{self._container}: killed {self.killed} times")

    def _run(self) -> None:
        while self.killed < self.TIMES and not self._over.wait(0.02):
            pod = random.choice(sorted(self._lab.pods()))
            try:
                if not self._fits(pod):
                    continue
                self._lab.kill(pod, self._container, 9, wait=False)
            except (LabError, OSError, resp.RespError, StopIteration):
                continue
            self.killed += 1
            self._over.wait(random.uniform(0, self.PAUSE))


if __name__ == "__main__":
    main()
