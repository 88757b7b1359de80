#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What Muster costs at 6, 30 and 100 pods, and that it grows no faster than they do.

    bench_scale.py [--sizes 6,30,100] [--seconds 20]

In the lab, formed and at rest: anonymous memory of each agent, commands and bytes a second that each
server sees of all agents together (INFO stats, which does not count the cluster bus), and requests to
the Kubernetes API per agent. Replication's own bytes are counted by Redis as well: a server at rest
sends and gets few.

A figure of the largest size may be a quarter above the straight line through the two smaller ones.
That is linear growth: a cost of all pairs would be at three times that line. Exit 1 when it is not so,
or an agent of 100 pods holds more than 16 MiB.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import bench_agent as agents

ROOT = pathlib.Path(__file__).resolve().parents[2]
LAB = ROOT / "tests/lab/lab"
sys.path.insert(0, str(ROOT / "tests/lab"))

import resp  # noqa: E402

SETTLE_SECONDS = 10       # connections, buffers and pages reach their size
FORM_SECONDS = 150
LIMIT_ANON_KIB = 16 * 1024
LINE_FACTOR = 1.25
FIGURES = (("anonKiB", "anonymous KiB per agent"), ("commands", "commands/s per server"),
           ("bytesIn", "bytes/s into a server"), ("bytesOut", "bytes/s out of a server"),
           ("api", "API requests/min per agent"))
COUNTERS = {"commands": "total_commands_processed", "bytesIn": "total_net_input_bytes",
            "bytesOut": "total_net_output_bytes"}


def lab(state, *args):
    """Runs a lab command and returns what it printed."""
    return subprocess.run([str(LAB), "--state", state, *args], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, text=True, check=True).stdout


def agent_pids(state):
    """Of each pod's agent, by the pod's name: its configuration file tells."""
    found = {}
    prefix = f"{pathlib.Path(state)}/pods/".encode()
    for proc in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            words = (proc / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        config = next((w for w in words if w.startswith(prefix) and w.endswith(b"/agent.yaml")), b"")
        if config and b"agent" in words:
            found[config[len(prefix):].split(b"/")[0].decode()] = int(proc.name)
    return found


def counters(pods):
    """What INFO stats of each server and each agent's metrics count now, and when."""
    now = {}
    for name, ip in pods.items():
        info = resp.parse_info(resp.command(ip, "INFO", "stats", timeout=10))
        now[name] = {key: int(info[field]) for key, field in COUNTERS.items()}
        now[name]["api"] = agents.api_requests(ip)
        now[name]["at"] = time.monotonic()
    return now


def measure(size, seconds, state):
    """The mean and the largest of each figure over all pods, by figure."""
    lab(state, "up", "--pods", str(size), "--timeout", str(FORM_SECONDS),
        "--set", "lab.readinessSeconds=5")
    time.sleep(SETTLE_SECONDS)
    pods = {pod["metadata"]["name"]: pod["status"]["podIP"]
            for pod in json.loads(lab(state, "get", "pods"))}
    pids = agent_pids(state)
    if set(pids) != set(pods):
        raise SystemExit(f"{len(pids)} agents run for {len(pods)} pods")
    before = counters(pods)
    time.sleep(seconds)
    after = counters(pods)
    values = {key: [] for key, _ in FIGURES}
    for name in pods:
        took = after[name]["at"] - before[name]["at"]
        for key in COUNTERS:
            values[key].append((after[name][key] - before[name][key]) / took)
        values["api"].append((after[name]["api"] - before[name]["api"]) / took * 60)
        values["anonKiB"].append(agents.memory_kib(pids[name])[0])
    return {key: (sum(of) / len(of), max(of)) for key, of in values.items()}


def line(points, size):
    """The straight line through the first two points, at this size; it does not fall."""
    (n1, y1), (n2, y2) = points[0], points[1]
    return max(y1, y2, y2 + (y2 - y1) / (n2 - n1) * (size - n2))


def judge(results):
    """What is not as promised; a sentence for each."""
    wrong = []
    sizes = sorted(results)
    largest = sizes[-1]
    if largest >= 100 and results[largest]["anonKiB"][1] > LIMIT_ANON_KIB:
        wrong.append(f"an agent of {largest} pods holds {results[largest]['anonKiB'][1]:.0f} KiB, "
                     f"limit {LIMIT_ANON_KIB}")
    for key, title in FIGURES if len(sizes) >= 3 else ():
        for which, word in enumerate(("mean", "largest")):
            points = [(n, results[n][key][which]) for n in sizes]
            limit = LINE_FACTOR * line(points, largest)
            if points[-1][1] > limit:
                wrong.append(f"{title} ({word}): {points[-1][1]:.1f} at {largest} pods, "
                             f"{limit:.1f} would be linear")
    return wrong


def main():
    """Measures each size in a lab of its own, prints, judges."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="6,30,100")
    parser.add_argument("--seconds", type=float, default=20)
    args = parser.parse_args()
    results = {}
    print(f"load average before: {os.getloadavg()[0]:.1f}; mean and largest over the pods")
    for size in map(int, args.sizes.split(",")):
        with tempfile.TemporaryDirectory(prefix="mb-", dir="/tmp") as base:
            try:
                results[size] = measure(size, args.seconds, f"{base}/lab")
            finally:
                subprocess.run([str(LAB), "--state", f"{base}/lab", "down"], check=False,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for key, title in FIGURES:
            mean, largest = results[size][key]
            print(f"{size:4} pods  {title:28} {mean:12.1f} {largest:12.1f}", flush=True)
    wrong = judge(results)
    for sentence in wrong:
        print(f"NOT KEPT: {sentence}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
