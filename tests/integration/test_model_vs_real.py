#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The simulator's model of Redis Cluster against real servers, on the facts that matter most.

Both figures are printed side by side. The tolerance is wide, for the machine is shared: a figure may
be off by a factor or by some tenths of a second, whichever is more; what must not happen is that the
model is right about order and wrong about kind. Errors and states must be equal.
"""

from __future__ import annotations

import concurrent.futures
import os
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path
from typing import Any, Callable, Optional

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO / "tests/lab"))

import resp  # noqa: E402
from config import server_program  # noqa: E402
from network import Addresses  # noqa: E402

BUILD = Path(os.environ.get("MUSTER_BUILD", str(REPO / "build/dev")))
SIM = BUILD / "bin/muster-sim"
SERVERS = ("redis-7.0", "valkey-9")
SLOTS = ((0, 5460), (5461, 10922), (10923, 16383))
FACTOR = 3.0
SLACK_MS = 1500


class Bench:
    """Plain servers on loopback addresses; server i may be restarted at another address."""

    def __init__(self, server: str, node_timeout: int) -> None:
        self.program = server_program(server)
        self.node_timeout = node_timeout
        self.directory = Path(tempfile.mkdtemp(prefix="muster-model-", dir="/tmp"))
        self.addresses = Addresses([6379, 16379])    # nobody else's as long as we live
        self.hosts: list[str] = []
        self.processes: list[Optional[subprocess.Popen[bytes]]] = []

    def __enter__(self) -> "Bench":
        return self

    def __exit__(self, *_: Any) -> None:
        for i in range(len(self.processes)):
            self.stop(i)
        shutil.rmtree(self.directory, ignore_errors=True)

    def add(self, count: int) -> None:
        for _ in range(count):
            self.hosts.append(self.addresses.fresh())
            self.processes.append(None)
            self.start(len(self.hosts) - 1)
        if self.wait(lambda: all(map(self.answers, self.everyone())), 30) >= 30000:
            raise AssertionError("a server does not answer")

    def start(self, i: int) -> None:
        data = self.directory / str(i)
        data.mkdir(exist_ok=True)
        host = self.hosts[i]
        with open(data / "log", "ab") as log:
            self.processes[i] = subprocess.Popen(
                [self.program, "--port", "6379", "--bind", host, "--bind-source-addr", host,
                 "--cluster-announce-ip", host, "--protected-mode", "no",
                 "--cluster-enabled", "yes", "--dir", str(data), "--save", "",
                 "--appendonly", "yes", "--repl-diskless-sync-delay", "0",
                 "--cluster-node-timeout", str(self.node_timeout)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def stop(self, i: int) -> None:
        process = self.processes[i]
        if process is not None:
            process.kill()
            process.wait()
        self.processes[i] = None

    def readdress(self, i: int) -> None:
        self.stop(i)
        self.hosts[i] = self.addresses.fresh()
        self.start(i)

    def call(self, i: int, *args: Any) -> Any:
        return resp.command(self.hosts[i], *args, timeout=5.0)

    def error(self, i: int, *args: Any) -> str:
        try:
            self.call(i, *args)
        except resp.RespError as error:
            return str(error)
        return ""

    def answers(self, i: int) -> bool:
        return self.error(i, "PING") == ""

    def nodes(self, i: int) -> list[resp.ClusterNode]:
        return list(resp.parse_nodes(self.call(i, "CLUSTER", "NODES")))

    def info(self, i: int, command: tuple[str, ...]) -> dict[str, str]:
        return resp.parse_info(self.call(i, *command))

    @staticmethod
    def wait(done: Callable[[], Any], seconds: float) -> float:
        """Milliseconds until it is so; the limit if it never is."""
        start = time.monotonic()
        while time.monotonic() - start < seconds:
            try:
                if done():
                    break
            except (resp.RespError, OSError):
                pass
            time.sleep(0.01)
        return (time.monotonic() - start) * 1000

    def everyone(self) -> range:
        return range(len(self.hosts))

    def meet_all(self) -> None:
        for i in self.everyone():
            for k in range(i):
                self.call(i, "CLUSTER", "MEET", self.hosts[k], 6379)

    def known(self) -> bool:
        return all(len(nodes) == len(self.hosts) and not any("handshake" in n.flags for n in nodes)
                   for nodes in map(self.nodes, self.everyone()))

    def in_order(self) -> bool:
        for i in self.everyone():
            if self.info(i, ("CLUSTER", "INFO"))["cluster_state"] != "ok":
                return False
            replication = self.info(i, ("INFO", "replication"))
            if replication["role"] == "slave" and replication["master_link_status"] != "up":
                return False
        return all(n.connected for i in self.everyone() for n in self.nodes(i))

    def slots(self) -> None:
        for i, (first, last) in enumerate(SLOTS):
            self.call(i, "CLUSTER", "SET-CONFIG-EPOCH", i + 1)
            self.call(i, "CLUSTER", "ADDSLOTSRANGE", first, last)

    def replicate(self) -> None:
        for i in range(3, 6):
            self.call(i, "CLUSTER", "REPLICATE", resp.text(self.call(i - 3, "CLUSTER", "MYID")))

    def form(self) -> None:
        self.add(6)
        time.sleep(2.5)
        self.slots()
        self.meet_all()
        self.wait(self.known, 10)
        self.wait(lambda: not any(self.error(i, "CLUSTER", "REPLICATE", resp.text(
            self.call(i - 3, "CLUSTER", "MYID"))) for i in range(3, 6)), 5)
        if self.wait(self.in_order, 30) >= 30000:
            raise AssertionError("the bench did not form")
        time.sleep(self.node_timeout / 1000)


def model_figures() -> dict[tuple[str, str], int]:
    out = subprocess.run([str(SIM), "--figures"], check=True, stdout=subprocess.PIPE, text=True)
    figures = {}
    for line in out.stdout.splitlines():
        server, name, value = line.split()
        figures[server, name] = int(value)
    return figures


class ModelVersusReal(unittest.TestCase):
    model: dict[tuple[str, str], int] = {}

    @classmethod
    def setUpClass(cls) -> None:
        cls.model = model_figures()

    def on_each(self, node_timeout: int, test: Callable[[str, Bench], None],
                servers: tuple[str, ...] = SERVERS) -> None:
        """The test on each of the servers, all at once: they mostly wait."""
        def one(server: str) -> None:
            with Bench(server, node_timeout) as bench:
                test(server, bench)
        with concurrent.futures.ThreadPoolExecutor(len(servers)) as pool:
            running = {server: pool.submit(one, server) for server in servers}
            for server, future in running.items():
                with self.subTest(server):
                    future.result()

    def compare(self, server: str, name: str, real: float) -> None:
        model = self.model[server, name]
        print(f"{server:10} {name:30} model {model:6} real {real:8.0f}", flush=True)
        low = min(model / FACTOR, model - SLACK_MS)
        high = max(model * FACTOR, model + SLACK_MS)
        self.assertTrue(low <= real <= high, f"{server} {name}: model {model}, real {real:.0f}")

    def test_formation(self) -> None:
        def form(server: str, b: Bench) -> None:
            b.add(6)
            time.sleep(3)
            for i in b.everyone():
                b.call(i, "CONFIG", "SET", "cluster-node-timeout", 500)
            b.slots()
            start = time.monotonic()
            b.meet_all()
            b.wait(b.known, 20)
            self.compare(server, "all-pairs-known-ms", (time.monotonic() - start) * 1000)
            b.replicate()
            b.wait(b.in_order, 20)
            self.compare(server, "formed-ms", (time.monotonic() - start) * 1000)
        self.on_each(15000, form)

    def test_addresses(self) -> None:
        def move(server: str, b: Bench) -> None:
            b.form()
            ids = [resp.text(b.call(i, "CLUSTER", "MYID")) for i in b.everyone()]
            b.readdress(0)
            b.wait(lambda: b.answers(0), 5)
            self.compare(server, "one-new-address-seen-ms", b.wait(lambda: all(
                n.host == b.hosts[0] for i in range(1, 6) for n in b.nodes(i)
                if n.id == ids[0]), 20))
            b.wait(b.in_order, 20)
            for i in b.everyone():
                b.readdress(i)
            time.sleep(1)
            b.wait(lambda: all(b.answers(i) for i in b.everyone()), 5)
            start = time.monotonic()
            b.meet_all()
            b.wait(b.in_order, 20)
            self.compare(server, "all-new-addresses-healed-ms",
                         (time.monotonic() - start) * 1000)
            self.assertEqual(ids, [resp.text(b.call(i, "CLUSTER", "MYID"))
                                   for i in b.everyone()])
        self.on_each(2000, move)

    def test_failover(self) -> None:
        def kill(server: str, b: Bench) -> None:
            b.form()
            b.stop(0)
            took = b.wait(lambda: b.info(3, ("INFO", "replication"))["role"] == "master", 30)
            self.compare(server, "failover-at-2000-ms", took)
        self.on_each(2000, kill)

    def test_another_id_at_a_primary_s_address(self) -> None:
        def replace(server: str, b: Bench) -> None:
            b.form()
            old = resp.text(b.call(0, "CLUSTER", "MYID"))
            b.stop(0)
            shutil.rmtree(b.directory / "0")
            b.start(0)
            b.wait(lambda: b.answers(0), 5)
            time.sleep(2)
            flags = [n.flags for n in b.nodes(1) if n.id == old][0]
            real = ("noaddr" in flags) + ("noaddr" in flags and "fail" in flags)
            model = self.model[server, "new-id-at-address"]
            print(f"{server:10} {'new-id-at-address':30} model {model:6} real {real:8}")
            self.assertEqual(model, real, f"flags {flags}")
        self.on_each(5000, replace)

    def test_errors(self) -> None:
        """The words are the same in the model (tests/sim/model_command.c)."""
        def ask(server: str, b: Bench) -> None:
            b.add(2)
            node = resp.text(b.call(0, "CLUSTER", "MYID"))
            self.assertIn("Unknown node", b.error(1, "CLUSTER", "REPLICATE", node))
            b.call(0, "CLUSTER", "SET-CONFIG-EPOCH", 1)
            self.assertIn("non-zero", b.error(0, "CLUSTER", "SET-CONFIG-EPOCH", 2))
            b.call(0, "CLUSTER", "ADDSLOTSRANGE", 0, 99)
            self.assertIn("busy", b.error(0, "CLUSTER", "ADDSLOTSRANGE", 50, 150))
            self.assertIn("Invalid node address", b.error(0, "CLUSTER", "MEET", "example", 1))
            b.meet_all()
            b.wait(b.known, 10)
            self.assertIn("does not know any other node",
                          b.error(1, "CLUSTER", "SET-CONFIG-EPOCH", 2))
            other = resp.text(b.call(1, "CLUSTER", "MYID"))
            self.assertIn("must be empty", b.error(0, "CLUSTER", "REPLICATE", other))
            self.assertIn("forget myself", b.error(0, "CLUSTER", "FORGET", node))
        self.on_each(15000, ask)

    def test_forgotten_node_comes_back_by_meet_only(self) -> None:
        """Redis 7.0. On valkey 9 a living node that is forgotten introduces itself again within
        seconds, which the model leaves out: only dead nodes are forgotten."""
        def forget(server: str, b: Bench) -> None:
            b.add(3)
            b.meet_all()
            b.wait(b.known, 10)
            node = resp.text(b.call(2, "CLUSTER", "MYID"))
            for i in (0, 1):
                self.assertIn(b.error(i, "CLUSTER", "FORGET", node), ("", "ERR Unknown node"))
            time.sleep(5)
            self.assertFalse(any(n.id == node for i in (0, 1) for n in b.nodes(i)))
            b.call(0, "CLUSTER", "MEET", b.hosts[2], 6379)
            back = b.wait(lambda: any(n.id == node for n in b.nodes(0)), 10)
            self.assertLess(back, 5000)
        self.on_each(2000, forget, ("redis-7.0",))

    def test_replication_follows_an_address_that_gossip_has_corrected(self) -> None:
        """On redis 7.0 a replica goes on asking the old address of its primary when gossip, not the
        primary's own ping, brought the new one: an agent has to mend it. Valkey 9 follows."""
        def correct(server: str, b: Bench) -> None:
            b.form()
            replica = resp.text(b.call(3, "CLUSTER", "MYID"))
            b.stop(0)
            b.hosts[0] = b.addresses.fresh()
            conf = b.directory / "0/nodes.conf"
            lines = conf.read_text().splitlines()
            for at, line in enumerate(lines):
                if line.startswith(replica):
                    fields = line.split(" ")
                    fields[1] = ":0@0" + fields[1][fields[1].find(","):] \
                        if "," in fields[1] else ":0@0"
                    fields[2] = "noaddr," + fields[2]
                    lines[at] = " ".join(fields)
            conf.write_text("\n".join(lines) + "\n")
            # the replica must suspect its primary, and not have taken over yet
            b.call(3, "CONFIG", "SET", "cluster-replica-no-failover", "yes")
            b.wait(lambda: any("fail" in flag for n in b.nodes(3) if n.id != replica
                               for flag in n.flags), 10)
            b.start(0)
            b.wait(lambda: any(n.host == b.hosts[0] for n in b.nodes(3)), 15)
            time.sleep(3)
            listed = any(n.host == b.hosts[0] for n in b.nodes(3))
            follows = b.info(3, ("INFO", "replication"))["master_host"]
            print(f"{server:10} gossip corrected the address: {listed}; replicates from "
                  f"{'the new one' if follows == b.hosts[0] else 'the old one'}", flush=True)
            self.assertTrue(listed)
            self.assertEqual(follows == b.hosts[0], server == "valkey-9")
        self.on_each(1000, correct)


if __name__ == "__main__":
    unittest.main(verbosity=2)
