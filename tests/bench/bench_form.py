#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How long until a cluster is complete: Muster against `redis-cli --cluster create`.

    bench_form.py [--sizes 6,30,100] [--start warm,cold]

Both on this machine, one after the other, with stock servers (NT 15000, diskless delay 5, the stock
save points, every server on a loopback address of its own). Complete is the same for both and asked
of the servers by the same code: cluster_state ok on all with 16384 slots, every node known, as many
primaries as there are shards, every replica's link up, NT and diskless delay as they were.

warm  The servers have been up for 5 s before anything else starts. Muster's are started by the lab
      without `muster-hook`, which would hold them back for their agents; all the agents are started
      together then (lab.agentsAfter). The clock starts with the first agent's own first log line, and
      with the start of redis-cli.
cold  Servers and agents start together, as pods do, the gate included; redis-cli starts as soon as
      the last server answers. The clock starts for both when the last server says in its log that it
      accepts connections, which is before anybody's first PONG.

What has a limit is measured so often (ROUNDS) in turn, and the medians are judged: redis-cli asks once
a second whether it is done, and took 15 to 28 s for the same thirty servers.

A Redis primary does not serve within 2 s of its start (CLUSTER_WRITABLE_DELAY), which is the floor of
every cold figure. The limits are the project's promises; exit 1 when one is not kept.
"""
import argparse
import datetime
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
LAB = ROOT / "tests/lab/lab"
sys.path.insert(0, str(ROOT / "tests/lab"))

import resp  # noqa: E402
from config import persistence_args, server_program  # noqa: E402

NODE_TIMEOUT = 15000
DISKLESS_DELAY = 5
WARM_SECONDS = 5.0
REPLICAS = {6: 1, 30: 2, 100: 1}          # per primary, by the number of servers
GIVE_UP_SECONDS = {6: 60, 30: 120, 100: 240}
LIMIT_WARM_RATIO = {6: 0.2, 30: 0.1}
ROUNDS = 3                                # of the sizes that have limits
LIMIT_COLD_SECONDS = {6: 3.0, 30: 3.0}
READY = re.compile(r"^\d+:M (\d+ \w+ \d+ [\d:.]+) \* Ready to accept connections", re.MULTILINE)
STARTED = re.compile(r"^ts=(\S+) .*event=started", re.MULTILINE)


class GaveUp(Exception):
    """The cluster was not complete in time; the message says what was missing."""


def accepts_since(log):
    """When the server with this log began to accept connections (Unix time), or None."""
    found = READY.search(log.read_text(errors="replace")) if log.exists() else None
    if not found:
        return None
    return datetime.datetime.strptime(found[1], "%d %b %Y %H:%M:%S.%f").timestamp()


def wait_for(check, seconds, what):
    """Polls every 20 ms; the first true value."""
    end = time.monotonic() + seconds
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > end:
            raise GaveUp(f"{what} within {seconds:g} s")
        time.sleep(0.02)


class Watcher:
    """Asks the servers themselves, over one connection to each, whether the cluster is complete."""

    def __init__(self, hosts, replicas):
        self.hosts = hosts
        self.shards = len(hosts) // (1 + replicas)
        self.clients = {}

    def why_not(self, host):
        """Why this server is no part of a complete cluster yet; "" when it is. And its role."""
        try:
            if host not in self.clients:
                self.clients[host] = resp.Client(host, timeout=10.0)
            call = self.clients[host].call
            info = resp.parse_info(call("CLUSTER", "INFO"))
            for key, value in (("state", "ok"), ("slots_ok", str(resp.SLOTS)),
                               ("known_nodes", str(len(self.hosts))), ("size", str(self.shards))):
                if info.get(f"cluster_{key}") != value:
                    return f"{host}: cluster_{key} is {info.get(f'cluster_{key}')}", ""
            replication = resp.parse_info(call("INFO", "replication"))
            role = replication.get("role", "")
            if role == "slave" and replication.get("master_link_status") != "up":
                return f"{host}: its link is {replication.get('master_link_status')}", role
            for name, value in (("cluster-node-timeout", NODE_TIMEOUT),
                                ("repl-diskless-sync-delay", DISKLESS_DELAY)):
                now = resp.text(call("CONFIG", "GET", name)[1])
                if now != str(value):
                    return f"{host}: {name} is {now}", role
            return "", role
        except resp.RespError as error:
            self.clients.pop(host, None)
            return str(error), ""

    def wait(self, seconds):
        """When all were found complete in one round (Unix time). One server is polled at a time."""
        end = time.monotonic() + seconds
        at = 0
        while True:
            why, _ = self.why_not(self.hosts[at])
            if why:
                if time.monotonic() > end:
                    raise GaveUp(f"not complete within {seconds} s: {why}")
                time.sleep(0.02)
                continue
            at += 1
            if at < len(self.hosts):
                continue
            at = 0
            judged = [self.why_not(host) for host in self.hosts]
            primaries = sum(role == "master" for _, role in judged)
            if not any(why for why, _ in judged) and primaries == self.shards:
                return time.time()

    def close(self):
        """Ends the connections."""
        for client in self.clients.values():
            client.close()


class Plain:
    """The servers that redis-cli makes a cluster of: what the lab starts, without lab and hook."""

    def __init__(self, size, base):
        self.program = server_program("redis-7.0")
        self.directory = pathlib.Path(base) / "plain"
        self.hosts = [f"127.{size % 200 + 12}.{i // 200}.{i % 200 + 1}" for i in range(size)]
        self.processes = []

    def start(self):
        """All of them, as fast as processes start."""
        for host in self.hosts:
            data = self.directory / host
            data.mkdir(parents=True)
            with open(data / "log", "wb") as log:
                self.processes.append(subprocess.Popen(
                    [self.program, "--port", "6379", "--bind", host, "--bind-source-addr", host,
                     "--protected-mode", "no", "--cluster-enabled", "yes", "--dir", str(data),
                     "--cluster-node-timeout", str(NODE_TIMEOUT), *persistence_args("rdb")],
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log))

    def accepts(self):
        """When the last of them began to accept connections, or None."""
        times = [accepts_since(self.directory / host / "log") for host in self.hosts]
        return max(times) if all(times) else None

    def stop(self):
        """Kills them and removes their files."""
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


def redis_cli(size, start, base):
    """Seconds that `redis-cli --cluster create` takes until the cluster is complete."""
    plain = Plain(size, base)
    watcher = Watcher(plain.hosts, REPLICAS[size])
    program = pathlib.Path(plain.program).with_name("redis-cli")
    command = [str(program if program.exists() else "redis-cli"), "--cluster", "create",
               *(f"{host}:6379" for host in plain.hosts),
               "--cluster-replicas", str(REPLICAS[size]), "--cluster-yes"]
    try:
        plain.start()
        begin = wait_for(plain.accepts, 60, "the servers do not accept connections")
        if start == "warm":
            time.sleep(max(0.0, begin + WARM_SECONDS - time.time()))
            begin = time.time()
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True) as cli:
            try:
                output, _ = cli.communicate(timeout=GIVE_UP_SECONDS[size])
            except subprocess.TimeoutExpired:
                cli.kill()
                raise GaveUp(f"redis-cli is not done after {GIVE_UP_SECONDS[size]} s") from None
        if cli.returncode != 0:
            raise GaveUp(f"redis-cli exits {cli.returncode}: {output.strip().splitlines()[-1]}")
        left = GIVE_UP_SECONDS[size] - (time.time() - begin)
        return watcher.wait(max(left, 1)) - begin
    finally:
        watcher.close()
        plain.stop()


def lab(state, *args):
    """Runs a lab command and returns what it printed."""
    done = subprocess.run([str(LAB), "--state", state, *args], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise GaveUp(f"lab {args[0]}: {done.stderr.strip()}")
    return done.stdout


def lab_hosts(state, size):
    """The pods' addresses once all have one, else None."""
    hosts = [pod["status"].get("podIP") for pod in json.loads(lab(state, "get", "pods"))]
    return sorted(hosts) if len(hosts) == size and all(hosts) else None


def lab_accepts(state, size):
    """When the last server of the lab began to accept connections, or None."""
    times = [accepts_since(pathlib.Path(state) / f"pods/muster-{i}/logs/redis.log")
             for i in range(size)]
    return max(times) if all(times) else None


def first_agent(state):
    """When the first agent said that it started (Unix time), or None."""
    times = []
    for log in pathlib.Path(state).glob("pods/*/logs/agent.log"):
        found = STARTED.search(log.read_text(errors="replace"))
        if found:
            times.append(datetime.datetime.fromisoformat(found[1].replace("Z", "+00:00")).timestamp())
    return min(times) if times else None


def muster(size, start, base):
    """Seconds that Muster takes until the cluster is complete."""
    state = f"{base}/lab"
    gate = pathlib.Path(base) / "agents-may-start"
    words = ["up", "--pods", str(size), "--replicas-per-primary", str(REPLICAS[size]),
             "--node-timeout", str(NODE_TIMEOUT), "--persistence", "rdb", "--wait", "none"]
    if size > 30:                        # a process for each probe of each pod is a load of its own
        words += ["--set", "lab.readinessSeconds=5"]
    if start == "warm":
        words += ["--set", f"lab.agentsAfter={gate}"]
    watcher = None
    try:
        lab(state, *words)
        hosts = wait_for(lambda: lab_hosts(state, size), 60, "the pods have no addresses")
        watcher = Watcher(hosts, REPLICAS[size])
        begin = wait_for(lambda: lab_accepts(state, size), 60, "servers do not accept connections")
        if start == "warm":
            time.sleep(max(0.0, begin + WARM_SECONDS - time.time()))
            gate.touch()
        end = watcher.wait(GIVE_UP_SECONDS[size])
        return end - (first_agent(state) if start == "warm" else begin)
    finally:
        if watcher:
            watcher.close()
        subprocess.run([str(LAB), "--state", state, "down"], check=False,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        gate.unlink(missing_ok=True)
        shutil.rmtree(state, ignore_errors=True)


def timed(how, size, start):
    """Seconds, or None and why on the standard output."""
    with tempfile.TemporaryDirectory(prefix="mb-", dir="/tmp") as base:
        try:
            return how(size, start, base)
        except GaveUp as error:
            print(f"  {how.__name__}, {size} servers, {start}: {error}", flush=True)
            return None


def judge(size, start, ours, theirs):
    """What is not as promised; a sentence for each."""
    if ours is None:
        return [f"{size} servers, {start}: Muster's cluster is not complete"]
    wrong = []
    if start == "cold" and ours > LIMIT_COLD_SECONDS.get(size, ours):
        wrong.append(f"{size} servers, cold: {ours:.2f} s, limit {LIMIT_COLD_SECONDS[size]:g} s")
    if start == "warm" and size in LIMIT_WARM_RATIO:
        if theirs is None:
            wrong.append(f"{size} servers, warm: nothing to compare with")
        elif ours / theirs > LIMIT_WARM_RATIO[size]:
            wrong.append(f"{size} servers, warm: {ours / theirs:.3f} of redis-cli's time, "
                         f"limit {LIMIT_WARM_RATIO[size]}")
    return wrong


def middle(figures):
    """The median; None if one of them was not complete in time."""
    return None if None in figures else statistics.median(figures)


def shown(seconds):
    return "-" if seconds is None else f"{seconds:.2f}"


def main():
    """Measures and judges."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="6,30,100")
    parser.add_argument("--start", default="warm,cold")
    args = parser.parse_args()
    sizes = [int(size) for size in args.sizes.split(",")]
    if not set(sizes) <= set(REPLICAS):
        parser.error(f"sizes are of {sorted(REPLICAS)}")
    print(f"seconds to complete; load average before: {os.getloadavg()[0]:.1f}")
    print(f"{'servers':>7} {'start':5} {'muster':>8} {'redis-cli':>9} {'ratio':>6}", flush=True)
    wrong = []
    for size in sizes:
        for start in args.start.split(","):
            rounds = [(timed(muster, size, start), timed(redis_cli, size, start))
                      for _ in range(ROUNDS if size in LIMIT_WARM_RATIO else 1)]
            ours, theirs = (middle(column) for column in zip(*rounds))
            ratio = f"{ours / theirs:.3f}" if ours and theirs else "-"
            print(f"{size:7} {start:5} {shown(ours):>8} {shown(theirs):>9} {ratio:>6}   "
                  + ", ".join("/".join(map(shown, pair)) for pair in rounds), flush=True)
            wrong += judge(size, start, ours, theirs)
    for line in wrong:
        print(f"NOT KEPT: {line}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
