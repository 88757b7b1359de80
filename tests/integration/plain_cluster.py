# SPDX-License-Identifier: Apache-2.0
"""A Redis Cluster of plain servers, formed by hand: for tests that need one without Muster."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO / "tests/lab"))

import resp  # noqa: E402
from config import server_program  # noqa: E402
from network import Addresses  # noqa: E402


class PlainCluster:
    """`shards` primaries, each with `replicas` replicas, on loopback addresses."""

    def __init__(self, shards: int = 3, replicas: int = 0, server: str = "redis-7.0") -> None:
        self.program = server_program(server)
        self.directory = Path(tempfile.mkdtemp(prefix="muster-plain-", dir="/tmp"))
        self.addresses = Addresses([6379, 16379])    # nobody else's as long as we live
        self.shards = shards
        self.hosts = [self.addresses.fresh() for _ in range(shards * (1 + replicas))]
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> "PlainCluster":
        try:
            for host in self.hosts:
                self._start(host)
            self._form()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _start(self, host: str) -> None:
        data = self.directory / host
        data.mkdir(exist_ok=True)
        with open(data / "log", "ab") as log:
            self.processes[host] = subprocess.Popen(
                [self.program, "--port", "6379", "--bind", host, "--bind-source-addr", host,
                 "--protected-mode", "no", "--cluster-enabled", "yes", "--dir", str(data),
                 "--save", "", "--appendonly", "no", "--cluster-node-timeout", "15000"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def call(self, host: str, *args: resp.Argument) -> Any:
        return resp.command(host, *args, timeout=5.0)

    def _form(self) -> None:
        self._until(lambda: all(self._answers(h) for h in self.hosts), "servers do not answer")
        size = resp.SLOTS // self.shards
        for i, host in enumerate(self.hosts):
            self.call(host, "CLUSTER", "SET-CONFIG-EPOCH", i + 1)
            self.call(self.hosts[0], "CLUSTER", "MEET", host, 6379)
        for i, host in enumerate(self.hosts[:self.shards]):
            last = resp.SLOTS - 1 if i == self.shards - 1 else (i + 1) * size - 1
            self.call(host, "CLUSTER", "ADDSLOTSRANGE", i * size, last)
        self._until(lambda: all(self._knows_all(h) for h in self.hosts), "MEET did not spread")
        for i, host in enumerate(self.hosts[self.shards:]):
            primary = self.call(self.hosts[i % self.shards], "CLUSTER", "MYID")
            self.call(host, "CLUSTER", "REPLICATE", primary)
        self._until(lambda: all("cluster_state:ok" in resp.text(self.call(h, "CLUSTER", "INFO"))
                                for h in self.hosts), "cluster_state is not ok")

    def _answers(self, host: str) -> bool:
        try:
            return bool(self.call(host, "PING"))
        except resp.RespError:
            return False

    def _knows_all(self, host: str) -> bool:
        nodes = list(resp.parse_nodes(self.call(host, "CLUSTER", "NODES")))
        return len(nodes) == len(self.hosts) and not any("handshake" in n.flags for n in nodes)

    @staticmethod
    def _until(done: Any, why: str, timeout: float = 20.0) -> None:
        end = time.monotonic() + timeout
        while not done():
            if time.monotonic() > end:
                raise RuntimeError(why)
            time.sleep(0.05)

    def stop_server(self, host: str, seconds: float) -> None:
        """SIGSTOP for a while."""
        os.kill(self.processes[host].pid, signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(self.processes[host].pid, signal.SIGCONT)
