#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""An image change under load, to a newer server and to an older one, and FAULTS F8: twelve pods."""

from __future__ import annotations

import re
import sys
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from drain_case import SWIFT, DrainTestCase, gaps, told  # noqa: E402
from keyed import Cluster  # noqa: E402
from muster_test import Lab, main, on_servers, resp  # noqa: E402

RESYNC_SECONDS = 6           # a new primary is followed within a second (FACTS 3); the machine is busy
GRACE = 20
LOOKS = 10                   # seconds of a roll that does not go on
VERSIONS_SHARE = 2           # of the four that tests/run.sh runs at a time: two clusters at once, each under load
NEWER = {"redis-7.0": "redis-8.0", "valkey-8.1": "valkey-9"}


def version(lab: Lab, pod: str) -> str:
    told_by = resp.parse_info(lab.redis(pod, "INFO", "server"))
    return told_by.get("valkey_version") or told_by["redis_version"]


def owners(lab: Lab) -> dict[str, str]:
    """The versions of those that own slots, as each says itself: one that starts, and ends again because it cannot
    read its data, says for a moment that it is a primary."""
    found = {}
    for pod in lab.pods():
        try:
            nodes = resp.parse_nodes(lab.redis(pod, "CLUSTER", "NODES"))
            if any("myself" in node.flags and node.is_primary and node.slots for node in nodes):
                found[pod] = version(lab, pod)
        except (OSError, resp.RespError):
            pass
    return found


class Versions(DrainTestCase):
    @on_servers("redis-7.0", "valkey-8.1")
    def test_an_upgrade_goes_to_the_newer_ones(self, server: str) -> None:
        with Lab(pods=6, server=server, settings=SWIFT) as lab:
            self.formed(lab)
            old = {pod: version(lab, pod) for pod in lab.pods()}
            lab.load_start()
            began = time.monotonic()
            lab.roll(server=NEWER[server], timeout=300)
            took = time.monotonic() - began
            self.whole(lab)
            lab.load_stop()
            report = self.nothing_lost(lab, f"{server} to {NEWER[server]}")
            new = {pod: version(lab, pod) for pod in lab.pods()}
            self.assertEqual([pod for pod in new if new[pod] == old[pod]], [])
            heirs = re.findall(r" to=(\S+)", "\n".join(told(lab, "handed-over")))
            self.assertGreaterEqual(len(heirs), 3)
            # Highest ordinal first: with three primaries and three replicas nobody goes twice.
            self.assertEqual(len(heirs), 3, heirs)
            self.assertEqual([kept for kept in told(lab, "drained") if "level=warn" in kept], [])
            print(f"{server} to {NEWER[server]}: six pods in {took:.0f} s, three hand-overs, to "
                  f"{', '.join(heirs)}, median gap {self.median_gap(lab)} ms, longest gap of a "
                  f"client {report['longestGapMs']} ms, lost {report['lost']}")

    @on_servers("redis-8.0", "valkey-9", first=0)
    def test_a_downgrade_makes_no_older_server_a_primary(self, server: str) -> None:
        """Older servers cannot load what newer ones wrote: the roll stops at the first of them."""
        older = next(old for old, new in NEWER.items() if new == server)
        with Lab(pods=6, server=server, grace=GRACE, settings=SWIFT) as lab:
            self.formed(lab)
            newer = version(lab, "muster-0")
            lab.load_start()
            lab.roll(server=older, wait=False)
            self.wait_until(lambda: "version" in lab.log("muster-5", "redis").split("restart 0")[-1],
                            30, "muster-5 starts as the older one")
            for _ in range(LOOKS):
                primaries = owners(lab)
                self.assertEqual((len(primaries), set(primaries.values())), (3, {newer}), primaries)
                time.sleep(1)
            self.assertFalse(lab.pods()["muster-5"]["ready"])
            said = lab.log("muster-5", "redis").strip().splitlines()[-1]
            lab.roll(server=server, timeout=120)
            self.whole(lab)
            lab.load_stop()
            report = self.nothing_lost(lab, f"{server} to {older}")
            print(f"{server} to {older}: stopped at muster-5, whose server says: {said!r}; lost "
                  f"{report['lost']}, longest gap {report['longestGapMs']} ms")


class Twelve(DrainTestCase):
    """F8: four shards of three over three zones."""

    @on_servers("redis-7.0", "valkey-9", first=0)
    def test_twelve_pods(self, server: str) -> None:
        with Lab(pods=12, replicas_per_primary=2, server=server, settings=SWIFT) as lab:
            cluster = self.formed(lab, shards=4)
            lab.load_start()
            began = time.monotonic()
            with Copies(cluster) as copies:
                lab.roll(timeout=300)
                took = time.monotonic() - began
                self.whole(lab)
            lab.load_stop()
            report = self.nothing_lost(lab, f"F8 {server}")
            self.assertLess(copies.longest, RESYNC_SECONDS, "a shard without a synced replica")
            self.assertEqual([kept for kept in told(lab, "drained") if "level=warn" in kept], [])
            print(f"F8 {server}: twelve pods in {took:.0f} s, {len(gaps(lab))} hand-overs, median "
                  f"gap {self.median_gap(lab)} ms, longest of a client {report['longestGapMs']} ms, "
                  f"longest of a shard without a synced replica {copies.longest:.1f} s "
                  f"({copies.looks} looks), lost {report['lost']}")


class Copies:
    """For how long a primary had no replica in sync, looked at five times a second. A context."""

    def __init__(self, cluster: Cluster) -> None:
        self.longest, self.looks = 0.0, 0        # seconds
        self._cluster, self._over = cluster, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Copies":
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._over.set()
        self._thread.join(10)

    def _run(self) -> None:
        since: dict[str, float] = {}
        while not self._over.wait(0.2):
            roles, now = self._cluster.roles(), time.monotonic()
            alone = [pod for pod, role in roles.items() if role[0] == b"master" and not role[2]]
            since = {pod: since.get(pod, now) for pod in alone}
            self.longest = max([self.longest, *(now - began for began in since.values())])
            self.looks += 1


if __name__ == "__main__":
    main()
