#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Issue 9, done when: random faults under load, then quiet, and placement has put everything right again.

A hundred in clusters of 6, 9 and 12 pods over three zones at a cluster-node-timeout of 1 s, ten at 15 s: kills
of servers, with and without their agents, pods deleted, one or two of different shards, rolling restarts, hand-overs
by hand. After each everything is whole again; after every fifth, left alone, primaries are spread over zones and nodes
as well as hand-overs can spread them, and in the end nobody does anything any more. What was planned has lost no
acknowledged write, no order of an agent was too early for the votes that servers keep, nor came to nothing. One lab at
a time, whatever --jobs says. --run does one of the RUNS and keeps the others' results.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "lib"), str(HERE.parent / "integration")]

from campaign import REPO, find_machine, find_version  # noqa: E402
from keyed import Cluster  # noqa: E402
from muster_test import Lab, wait_until  # noqa: E402
from place_case import (STRUCK, Faults, find_broken, judge_orders, look, of_kind, wait_spread,  # noqa: E402
                        wait_still)

RESULT = REPO / "tests/soak/results/placing.json"
SERVER = "redis-7.0"
# Acknowledged by a process that was killed before its socket had taken them (README).
UNSENT_MAX = 100
QUIET_EVERY = 5


@dataclass
class Run:
    """A cluster, and what is done to it."""

    pods: int
    faults: int
    number: int                  # the seeds of two runs differ by it
    replicas: int = 1
    nodes: int = 3
    node_timeout: int = 1000

    def spread_seconds(self) -> float:
        """For each of a few moves the quiet time, two elections' pauses, and a busy machine."""
        return 90 + 3 * max(4 * self.node_timeout / 1000, 4)


RUNS = {"six": Run(6, 25, 0), "six-on-six-nodes": Run(6, 25, 1, nodes=6),
        "nine": Run(9, 25, 2, replicas=2), "twelve": Run(12, 25, 3, nodes=6),
        "slow": Run(6, 10, 4, node_timeout=15000)}


def strike(lab: Lab, faults: Faults, run: Run) -> list[dict[str, Any]]:
    """All of them, and what each has lost: all that was ever acknowledged is read after it. What quiet times
    found and made of it."""
    lost, quiets = 0, []
    for number in range(run.faults):
        fault = faults.strike()
        report = lab.load_report()
        fault.lost, lost = report["lost"] - lost, report["lost"]
        print(f"{number + 1}: {fault.kind} {' '.join(fault.pods)}: whole after {fault.seconds} s, lost "
              f"{fault.lost}, primaries by zone {look(faults.cluster).held()}", flush=True)
        if (number + 1) % QUIET_EVERY:
            faults.pause()
            continue
        before = look(faults.cluster).held()
        took = wait_spread(faults.cluster, run.spread_seconds(), f"after fault {number + 1}")
        quiets.append({"primariesByZone": before, "spreadAfterSeconds": round(took, 1)})
        print(f"quiet: spread after {took:.1f} s", flush=True)
    return quiets


def place(run: Run, server: str, seed: int) -> dict[str, Any]:
    with Lab(pods=run.pods, replicas_per_primary=run.replicas, nodes=run.nodes, zones=3, server=server,
             node_timeout=run.node_timeout, settings=STRUCK) as lab:
        lab.up()
        cluster = Cluster(lab)
        shards = run.pods // (1 + run.replicas)
        wait_until(lambda: len(cluster.primaries()) == shards, 60, "replicas in sync")
        lab.load_start(writers=1)
        began = time.monotonic()
        faults = Faults(cluster, run.node_timeout, 100 * seed + run.number)
        quiets = strike(lab, faults, run)
        by_redis = wait_still(cluster)
        took = round(time.monotonic() - began)
        lab.load_stop()
        lab.wait("formed", timeout=60)
        report, seats = lab.load_report(), look(cluster)
        moves = sum(one.get("count", 1) for one in lab.get("events") if one["reason"] == "PrimaryMoved")
        return {"server": server, "pods": run.pods, "replicasPerPrimary": run.replicas, "nodes": run.nodes,
                "zones": 3, "nodeTimeoutMs": run.node_timeout, "seed": 100 * seed + run.number,
                "seconds": took, "faults": of_kind(faults.struck), "primariesByZone": seats.held(),
                "quiets": quiets, "isSpread": seats.is_spread(), "majorities": seats.majorities(),
                "copiesTogether": seats.together(), "rolesMovedByRedisInQuiet": by_redis,
                "moves": moves, "orders": judge_orders(cluster, faults, run.node_timeout),
                "acknowledged": report["acknowledged"],
                "acknowledgedPerSecond": report["acknowledgedPerSecond"], "lost": report["lost"],
                "lostAfterTheFaults": report["lost"] - sum(one.lost for one in faults.struck),
                "stale": report["stale"], "unreadable": report["unreadable"]}


def is_kept(result: dict[str, Any]) -> bool:
    """The promise of each line of the module's text."""
    planned = [one for kind, one in result["faults"].items() if not kind.startswith("kill")]
    kills = [one for kind, one in result["faults"].items() if kind.startswith("kill")]
    return result["isSpread"] and not result["majorities"] and not result["copiesTogether"] and \
        not result["lostAfterTheFaults"] and not any(one["lost"] for one in planned) and \
        all(one["lost"] <= UNSENT_MAX * one["count"] for one in kills) and not result["unreadable"] and \
        not find_broken(result["orders"], result["server"])


def keep(name: str, result: dict[str, Any]) -> None:
    """Beside those of the other runs, each with what it was of."""
    old = json.loads(RESULT.read_text()) if RESULT.exists() else {"campaign": "placing", "runs": {}}
    old["runs"][name] = {"date": time.strftime("%Y-%m-%d"), "version": find_version(),
                         "machine": find_machine(), **result}
    RESULT.write_text(json.dumps(old, indent=1) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--server", default=SERVER)
    parser.add_argument("--run", choices=RUNS, action="append")
    parser.add_argument("--faults", type=int, help="fewer than the run's; nothing is written")
    args = parser.parse_args()
    passed = True
    for name in args.run or RUNS:
        run = RUNS[name]
        run.faults = args.faults or run.faults
        result = place(run, args.server, args.seed)
        result["passed"] = is_kept(result)
        passed &= result["passed"]
        print(json.dumps({name: result}, indent=1), flush=True)
        if not args.faults:
            keep(name if args.server == SERVER else f"{name} {args.server}", result)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
