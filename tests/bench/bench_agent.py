#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What an idle agent costs: memory, CPU and API requests of the leader of six pods, in the lab.

Prints a table for every agent and fails when the leader exceeds the limits that the project
promises. The waiting time is BENCH_IDLE_SECONDS (default 120): memory is sampled over it, and growth
between its first and second half is printed, so that a shorter time still shows a leak.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
LAB = ROOT / "tests/lab/lab"
PODS = 6
IDLE_SECONDS = int(os.environ.get("BENCH_IDLE_SECONDS", "120"))
SETTLE_SECONDS = 15  # after the formation: connections, buffers and pages reach their size
LIMIT_ANON_KIB = 6 * 1024
LIMIT_CPU_PERCENT = 0.5


def lab(*args):
    """Runs a lab command and returns what it printed."""
    done = subprocess.run([str(LAB), *args], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def agent_pid(state, pod):
    """The process whose configuration file is this pod's."""
    wanted = str(pathlib.Path(state) / "pods" / pod / "agent.yaml").encode()
    for proc in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            words = (proc / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if wanted in words and b"agent" in words:
            return int(proc.name)
    raise SystemExit(f"no agent runs for {pod}")


def memory_kib(pid):
    """Anonymous and resident memory."""
    figures = {}
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
        key, _, rest = line.partition(":")
        if key in ("Rss", "Anonymous"):
            figures[key] = int(rest.split()[0])
    return figures["Anonymous"], figures["Rss"]


def cpu_seconds(pid):
    """User and system time together."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def threads(pid):
    """How many tasks the process has."""
    return len(list(pathlib.Path(f"/proc/{pid}/task").iterdir()))


def api_requests(address):
    """The sum over verbs and codes of muster_api_requests_total."""
    with urllib.request.urlopen(f"http://{address}:8008/metrics", timeout=5) as answer:
        text = answer.read().decode()
    return sum(
        float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if line.startswith("muster_api_requests_total{")
    )


def measure(state):
    """One row for each agent."""
    status = json.loads(lab("muster", "--state", state, f"muster-{PODS - 1}", "status", "--json"))
    pods = {pod["name"]: pod["ip"] for pod in status["pods"]}
    pids = {name: agent_pid(state, name) for name in pods}
    before = {n: (cpu_seconds(pids[n]), api_requests(pods[n]), time.monotonic()) for n in pods}
    halves = []
    for _ in range(2):
        time.sleep(IDLE_SECONDS / 2)
        halves.append({n: memory_kib(pids[n])[0] for n in pods})
    rows = []
    for name in sorted(pods):
        cpu, requests, since = before[name]
        seconds = time.monotonic() - since
        anon, rss = memory_kib(pids[name])
        rows.append({
            "pod": name,
            "leader": name == status["leader"],
            "anonKiB": anon,
            "growthKiB": halves[1][name] - halves[0][name],
            "rssKiB": rss,
            "cpuPercent": 100 * (cpu_seconds(pids[name]) - cpu) / seconds,
            "apiPerMinute": 60 * (api_requests(pods[name]) - requests) / seconds,
            "threads": threads(pids[name]),
        })
    return rows


def judge(rows):
    """Prints the table; the list of what is over its limit."""
    print(f"idle agents of {PODS} pods over {IDLE_SECONDS} s")
    print(f"{'pod':10} {'leads':5} {'anon KiB':>9} {'growth':>7} {'rss KiB':>8} {'cpu %':>6} "
          f"{'API/min':>8} {'threads':>7}")
    wrong = []
    for row in rows:
        print(f"{row['pod']:10} {'yes' if row['leader'] else '':5} {row['anonKiB']:9} "
              f"{row['growthKiB']:7} {row['rssKiB']:8} {row['cpuPercent']:6.2f} "
              f"{row['apiPerMinute']:8.1f} {row['threads']:7}")
        if row["anonKiB"] > LIMIT_ANON_KIB:
            wrong.append(f"{row['pod']}: {row['anonKiB']} KiB anonymous, limit {LIMIT_ANON_KIB}")
        if row["cpuPercent"] > LIMIT_CPU_PERCENT:
            wrong.append(f"{row['pod']}: {row['cpuPercent']:.2f} % of a core, "
                         f"limit {LIMIT_CPU_PERCENT}")
        if row["threads"] != 1:
            wrong.append(f"{row['pod']}: {row['threads']} threads")
    if not any(row["leader"] for row in rows):
        wrong.append("nobody leads")
    return wrong


def main():
    """Brings a lab up, measures, tears it down."""
    with tempfile.TemporaryDirectory(prefix="mb-") as base:
        state = f"{base}/lab"
        try:
            lab("up", "--state", state, "--pods", str(PODS))
            time.sleep(SETTLE_SECONDS)
            rows = measure(state)
        finally:
            subprocess.run([str(LAB), "down", "--state", state], check=False,
                           stdout=subprocess.DEVNULL)
    wrong = judge(rows)
    for line in wrong:
        print(f"OVER: {line}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
