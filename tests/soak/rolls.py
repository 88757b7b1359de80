#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Ten rolling restarts of all pods in a row under load, on each server.

No acknowledged write may be lost, and no client waits longer for a shard than DESIGN's 100 ms for a
hand-over. One lab at a time, whatever --jobs says: the machine must keep the load's beat, or the
figures are void. --seed is the load's.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "lib"), str(HERE.parent / "integration")]

from campaign import run_under_load  # noqa: E402
from drain_case import old_votes, told  # noqa: E402
from keyed import Cluster  # noqa: E402
from muster_test import Lab, wait_until  # noqa: E402

PODS = 6
ROLLS = 10
SERVERS = ("redis-7.0", "redis-8.0", "valkey-8.1", "valkey-9")


def roll_often(server: str, rolls: int, seed: int) -> dict[str, Any]:
    with Lab(pods=PODS, server=server, settings={"lab.seed": seed}) as lab:
        lab.up()
        cluster = Cluster(lab)
        wait_until(lambda: len(cluster.primaries()) == PODS / 2, 60, "replicas in sync")
        lab.load_start(real_time=True)
        took = []
        for _ in range(rolls):
            began = time.monotonic()
            lab.roll(timeout=300)
            took.append(round(time.monotonic() - began, 1))
        lab.load_stop()
        lab.wait("formed", timeout=60)
        report = lab.load_report()
        handed = len(told(lab, "handed-over"))
        kept = [line for line in told(lab, "drained") if "level=warn" in line]
        gaps = report["longestGapsMs"][:handed]
        return {"server": server, "rolls": rolls, "rollSeconds": took, "handOvers": handed,
                "acknowledged": report["acknowledged"], "lost": report["lost"],
                "stale": report["stale"], "unreadable": report["unreadable"],
                "acknowledgedPerSecond": report["acknowledgedPerSecond"],
                "longestGapMs": gaps[0], "medianGapMs": statistics.median(gaps),
                "attemptGapP99Ms": report["attemptGapP99Ms"],
                "attemptGapMaxMs": report["attemptGapMaxMs"],
                "stoppedAsPrimary": len(kept), "wonOnOldVotes": old_votes(lab)}


def is_whole(result: dict[str, Any]) -> bool:
    """Each primary of each roll handed over."""
    return not result["stoppedAsPrimary"] and result["handOvers"] >= result["rolls"] * PODS / 2


if __name__ == "__main__":
    sys.exit(run_under_load("rolls", __doc__, SERVERS, "rolls", ROLLS, roll_often, is_whole,
                            pods=PODS))
