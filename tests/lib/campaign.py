# SPDX-License-Identifier: Apache-2.0
"""What the campaigns of tests/soak share: the servers one after the other under load, what is judged
of each, and what a result says beside its figures: of which commit, on which machine.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import time
from pathlib import Path
from typing import Any, Callable, Sequence

REPO = Path(__file__).resolve().parents[2]
# What a hand-over may cost a client, and how often it must have tried for that to be known.
LONGEST_GAP_MS, MEDIAN_GAP_MS, LEAST_WRITES, ATTEMPTS_MS = 100, 50, 500, 2


def find_machine() -> dict[str, Any]:
    cpu = next((line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").open()
                if line.startswith("model name")), platform.processor())
    return {"cpu": cpu, "cores": os.cpu_count(), "kernel": platform.release()}


def find_version() -> dict[str, str]:
    """Of what is tested: the commit, and whether files were changed since."""
    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", str(REPO), *words], stdout=subprocess.PIPE, text=True,
                              stderr=subprocess.DEVNULL, check=False).stdout.strip()
    dirty = git("status", "--porcelain", "--", ":/agent")
    return {"commit": git("rev-parse", "--short", "HEAD"),
            "agentSources": "changed since" if dirty else "as committed"}


def write_result(campaign: str, seed: int, began: float, **figures: Any) -> None:
    """`began` by time.monotonic()."""
    result = {"campaign": campaign, "date": time.strftime("%Y-%m-%d"), "version": find_version(),
              "machine": find_machine(), "seed": seed,
              "seconds": round(time.monotonic() - began), **figures}
    path = REPO / f"tests/soak/results/{campaign}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")


AFTER_SECONDS = 1.0          # a server that handed over ends within this, empty as it is


def gaps_around(report: dict[str, Any], hand_overs: Sequence[tuple[float, int]]) -> list[float]:
    """Of each hand-over (when it was done, since the epoch, and for how many ms its agent had writes paused)
    the longest gap that a client saw from its order until its old primary's server has ended, ms. Others, as
    of a client that had to wait itself, have other causes."""
    ends = list(zip(report["longestGapsMs"], report["longestGapsEnded"]))
    return [max((ms for ms, ended in ends
                 if ended >= done - paused / 1000 - 0.05 and ended - ms / 1000 <= done + AFTER_SECONDS),
                default=ends[-1][0])         # shorter than any that was kept
            for done, paused in hand_overs]


def judge_times(result: dict[str, Any]) -> str:
    """A client that is late now and then, as on every machine that others share, sees a gap too long
    by that, never too short: what it saw within the limits was within them."""
    if result["acknowledgedPerSecond"] < LEAST_WRITES or result["attemptGapP99Ms"] > ATTEMPTS_MS:
        return "void"
    if result["longestGapMs"] <= LONGEST_GAP_MS and result["medianGapMs"] <= MEDIAN_GAP_MS:
        return "kept"
    late = result["medianGapMs"] <= MEDIAN_GAP_MS and \
        result["longestGapMs"] - result["attemptGapMaxMs"] <= LONGEST_GAP_MS
    return "void" if late else "too long"


def has_lost_nothing(result: dict[str, Any]) -> bool:
    return (result["lost"], result["stale"], result["unreadable"]) == (0, 0, 0) and \
        not result["wonOnOldVotes"]


def run_under_load(name: str, doc: str | None, servers: Sequence[str], unit: str, count: int,
                   run: Callable[[str, int, int], dict[str, Any]],
                   is_whole: Callable[[dict[str, Any]], bool] = lambda _: True,
                   **figures: Any) -> int:
    """The command line of a campaign. `run`: a server, how many `unit`, the seed of the load; one lab
    at a time, whatever --jobs says. Only what was run whole is written."""
    parser = argparse.ArgumentParser(description=(doc or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--server", choices=servers)
    parser.add_argument(f"--{unit}", dest="count", type=int, default=count)
    args = parser.parse_args()
    began = time.monotonic()
    results = []
    for server in [args.server] if args.server else servers:
        result = run(server, args.count, args.seed)
        result["times"] = judge_times(result)
        results.append(result)
        print(" ".join(f"{k}={v}" for k, v in result.items()), flush=True)
    passed = all(has_lost_nothing(result) and is_whole(result) and result["times"] != "too long"
                 for result in results)
    if not args.server and args.count == count:
        write_result(name, args.seed, began, **figures, passed=passed, servers=results,
                     limitMs={"longest": LONGEST_GAP_MS, "median": MEDIAN_GAP_MS})
    return 0 if passed else 1
