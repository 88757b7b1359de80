#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The agent that forms the cluster dies right after its k-th command, for every k there is.

Each point is a lab of its own: six pods of real servers, leaseSeconds 3. The dead agent stays away,
so another must finish: one complete cluster, one record, all settings given back. The points end
with the first k that a whole formation does not reach. CI takes ten of them (test_dead_leader.py).
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Optional

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "lib"), str(HERE.parent / "integration")]

from campaign import write_result  # noqa: E402
from muster_test import Lab, wait_until  # noqa: E402
from test_matrix import ask_all, check_shards, check_views, require  # noqa: E402

PODS = 6
REPLICAS = 1
BATCH = 8                    # points begun at a time; those behind the end are thrown away
POINTS_MAX = 300


def last_rule(log: str) -> str:
    """What the agent was about when it died."""
    rules = re.findall(r" event=turn rule=(\S+)", log)
    return rules[-1] if rules else ""


def kill_after(count: int, server: str, seed: int) -> Optional[dict[str, Any]]:
    """What came of the death after that many commands; None if the formation has fewer."""
    with tempfile.TemporaryDirectory(prefix="mlt-mark-", dir="/tmp") as directory:
        mark = Path(directory) / "dead"
        settings = {"kubernetes.leaseSeconds": 3, "lab.firstBackoff": 300, "lab.lateSeconds": 0.5,
                    "lab.seed": seed * POINTS_MAX + count, "lab.agentEnv":
                    f"MUSTER_TEST_EXIT_AFTER={count} MUSTER_TEST_EXIT_MARK={mark}"}
        with Lab(pods=PODS, replicas_per_primary=REPLICAS, server=server,
                 settings=settings) as lab:
            lab.up(wait="running")
            wait_until(lambda: mark.exists() or record_state(lab) == "formed", 60,
                       "a death, or the end")
            if not mark.exists():
                time.sleep(3)                    # nothing is sent any more
                if not mark.exists():
                    return None
            begin = mark.stat().st_mtime
            # not `lab wait formed`: the dead agent's pod may never have been ready
            wait_until(lambda: lab.status()["formed"], 60, "a complete cluster")
            took = time.time() - begin
            wait_until(lambda: record_state(lab) == "formed", 20, "the record says formed")
            servers = ask_all(lab)
            check_views(servers, PODS)
            check_shards(servers, PODS, REPLICAS)
            records = [m["metadata"]["name"] for m in lab.get("configmaps")]
            require(records == ["muster-muster"], f"records: {records}")
            dead = [pod["name"] for pod in lab.status()["pods"] if pod["pids"]["agent"] is None]
            require(len(dead) == 1, f"the agents of {dead} are away")
            leaders = wait_until(lambda: after(leading(lab), dead), 30, "another leads")
            return {"after": count, "rule": last_rule(lab.log(dead[0])), "died": dead[0],
                    "then": leaders, "completeAfterSeconds": round(took, 1)}


def leading(lab: Lab) -> list[str]:
    """The pods whose agent has led."""
    return [pod for pod in lab.pods() if " event=leading " in lab.log(pod)]


def after(leaders: list[str], dead: list[str]) -> list[str]:
    return [pod for pod in leaders if pod not in dead]


def record_state(lab: Lab) -> str:
    for item in lab.get("configmaps"):
        if item["metadata"]["name"] == "muster-muster":
            return str(json.loads(item["data"]["record.json"])["state"])
    return "absent"


def run_point(count: int, server: str, seed: int) -> Optional[dict[str, Any]]:
    try:
        return kill_after(count, server, seed)
    except (AssertionError, OSError) as error:
        return {"after": count, "failed": str(error)}


def run_all(server: str, seed: int, jobs: int, first: int, last: int) -> list[dict[str, Any]]:
    points: list[dict[str, Any]] = []
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for begin in range(first, last + 1, BATCH):
            batch = range(begin, min(begin + BATCH, last + 1))
            for point in pool.map(lambda k: run_point(k, server, seed), batch):
                if point is None:
                    return points
                points.append(point)
                print(" ".join(f"{k}={v}" for k, v in point.items()), flush=True)
    return points


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--server", default="redis-7.0")
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--last", type=int, default=POINTS_MAX)
    args = parser.parse_args()
    begin = time.monotonic()
    points = run_all(args.server, args.seed, args.jobs, args.first, args.last)
    failed = [point["after"] for point in points if "failed" in point]
    print(f"{len(points)} points, {len(failed)} failed{f': {failed}' if failed else ''}")
    if (args.first, args.last) == (1, POINTS_MAX):
        write_result("formation_kill_points", args.seed, begin, server=args.server, pods=PODS,
                     jobs=args.jobs, passed=not failed, points=points)
    return 1 if failed or not points else 0


if __name__ == "__main__":
    sys.exit(main())
