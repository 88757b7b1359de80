#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""FAULTS F2: a thousand hand-overs under load, on each server, spaced by the agents' own rules.

preStop's program asks in the pod of each shard's primary in turn, and is called off as soon as its
agent has ordered the hand-over: the primaries go to and fro between the two pods of their shards, and no server
ends. No acknowledged write may be lost, and no client waits longer for a shard than DESIGN's 100 ms
for a hand-over. One lab at a time, whatever --jobs says. --seed is the load's.
"""

from __future__ import annotations

import concurrent.futures
import statistics
import sys
import time
from pathlib import Path
from typing import Any, Sequence

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "lib"), str(HERE.parent / "integration")]

from campaign import run_under_load  # noqa: E402
from drain_case import QUICK, ask_to_drain, old_votes  # noqa: E402
from keyed import Cluster  # noqa: E402
from muster_test import Lab, wait_until  # noqa: E402

SHARDS = 4
HAND_OVERS = 1000
SERVERS = ("redis-7.0", "valkey-9")
NODE_TIMEOUT = 1000          # a candidate's old votes count for 4 times as long (FACTS 0.3)
RETRIES = 20
SPACED_SECONDS = 3.2         # about a primary nothing is ordered twice within 6 s (core/action.h)


def is_primary(lab: Lab, pod: str) -> bool:
    return bool(lab.redis(pod, "ROLE")[0] == b"master")


def is_ordered(log: Path, behind: int) -> bool:
    with log.open("rb") as lines:
        lines.seek(behind)
        return b"Manual failover user request accepted" in lines.read()


def hand_over(lab: Lab, pods: Sequence[str]) -> int:
    """Once, from whichever of the two is the primary; how often its agent's rules had it wait."""
    pod, heir = sorted(pods, key=lambda pod: not is_primary(lab, pod))
    log = lab.state / "pods" / heir / "logs/redis.log"
    for refused in range(RETRIES):
        behind = log.stat().st_size
        with ask_to_drain(lab, pod) as asks:
            try:     # whoever was told that it may stop is nobody's heir for a minute
                wait_until(lambda: is_ordered(log, behind) or asks.poll() is not None, 60,
                           f"{pod} hands over, or gives up", 0.002)
            finally:
                asks.kill()
        if is_ordered(log, behind):
            wait_until(lambda: not is_primary(lab, pod), 10, f"{pod} handed over", 0.02)
            return refused
        time.sleep(1)
    raise AssertionError(f"{pod} does not hand over: {lab.log(pod)[-500:]}")


def to_and_fro(lab: Lab, pods: Sequence[str], count: int, start: float) -> int:
    refused = 0
    for number in range(count):
        time.sleep(max(0.0, start + number * SPACED_SECONDS - time.monotonic()))
        refused += hand_over(lab, pods)
    return refused


def hand_over_often(server: str, count: int, seed: int) -> dict[str, Any]:
    settings = {**QUICK, "lab.seed": seed}
    with Lab(pods=2 * SHARDS, server=server, node_timeout=NODE_TIMEOUT, settings=settings) as lab:
        lab.up()
        cluster = Cluster(lab)
        wait_until(lambda: len(cluster.primaries()) == SHARDS, 60, "replicas in sync")
        shards = [(primary, *replicas) for primary, replicas in cluster.shards().items()]
        lab.load_start(gaps=count, real_time=True)
        began = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(SHARDS) as pool:
            refused = sum(pool.map(lambda at: to_and_fro(
                lab, shards[at], count // SHARDS, began + at * SPACED_SECONDS / SHARDS), range(SHARDS)))
        took = round(time.monotonic() - began)
        lab.load_stop()
        lab.wait("formed", timeout=60)
        report = lab.load_report()
        longest = report["longestGapsMs"]
        return {"server": server, "handOvers": count, "waitedForRules": refused, "seconds": took,
                "acknowledged": report["acknowledged"], "lost": report["lost"],
                "stale": report["stale"], "unreadable": report["unreadable"],
                "acknowledgedPerSecond": report["acknowledgedPerSecond"],
                "longestGapMs": longest[0], "p99GapMs": longest[count // 100],
                "medianGapMs": statistics.median(longest[:count]),
                "attemptGapP99Ms": report["attemptGapP99Ms"],
                "attemptGapMaxMs": report["attemptGapMaxMs"],
                "wonOnOldVotes": old_votes(lab)}


if __name__ == "__main__":
    sys.exit(run_under_load("hand_overs", __doc__, SERVERS, "count", HAND_OVERS, hand_over_often,
                            pods=2 * SHARDS, nodeTimeoutMs=NODE_TIMEOUT))
