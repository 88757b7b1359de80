# SPDX-License-Identifier: Apache-2.0
"""A slow and lossy network between a lab's pods: connections of their servers and agents to servers go
through a proxy, to which iptables leads them. There is no netem everywhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import subprocess
import threading
import time
from typing import Any, Iterator

from drain_case import BUS_PORT
from muster_test import CLIENT_PORT, Lab

SO_ORIGINAL_DST = 80
# What TCP waits at least before it sends again what was lost.
RETRANSMIT_SECONDS = 0.2
CHUNK = 65536


class Slow:
    """One-way delay and loss between all pods; both may be changed at any time. A context."""

    def __init__(self, lab: Lab, seed: int = 1) -> None:
        self.delay = 0.0             # seconds
        self.loss = 0.0              # of the packets
        self.lost = 0
        self._random = random.Random(seed)
        pods = sorted(lab.pods())
        self._addresses = [lab.address(pod) for pod in pods]
        self._groups = [lab.ask("identity", pod=pod)["group"] for pod in pods]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._listening = threading.Event()
        self._port = 0
        self._rules: list[list[str]] = []

    def __enter__(self) -> "Slow":
        self._thread.start()
        assert self._listening.wait(10), "the proxy does not start"
        try:
            for group, address in self._pairs():
                self._add("nat", group, address, "DNAT", "--to-destination", f"127.0.0.1:{self._port}")
            # what was connected before ends, and comes back through the proxy
            before = len(self._rules)
            for group, address in self._pairs():
                self._add("filter", group, address, "REJECT", "--reject-with", "tcp-reset")
            time.sleep(3)
            self._remove(before)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: Any) -> None:
        self._remove(0)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    # -- the rules

    def _pairs(self) -> Iterator[tuple[str, str]]:
        """Whom a pod speaks to: the servers of the others."""
        for mine, group in zip(self._addresses, self._groups):
            for address in self._addresses:
                if address != mine:
                    yield str(group), address

    def _add(self, table: str, group: str, address: str, *target: str) -> None:
        rule = [table, "-o", "lo", "-p", "tcp", "-d", address, "-m", "multiport", "--dports",
                f"{CLIENT_PORT},{BUS_PORT}", "-m", "owner", "--gid-owner", group, "-j", *target]
        self._iptables("-I", rule)
        self._rules.append(rule)

    def _remove(self, keep: int) -> None:
        while len(self._rules) > keep:
            self._iptables("-D", self._rules.pop())

    @staticmethod
    def _iptables(verb: str, rule: list[str]) -> None:
        table, *words = rule
        subprocess.run(["iptables", "-w", "5", "-t", table, verb, "OUTPUT", *words], check=True)

    # -- the proxy

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._accept, "127.0.0.1", 0))
        self._port = server.sockets[0].getsockname()[1]
        self._listening.set()
        self._loop.run_forever()
        self._loop.set_exception_handler(lambda *_: None)    # of those that are cancelled
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        end: socket.socket = writer.get_extra_info("socket")
        port, packed = struct.unpack_from("!2xH4s", end.getsockopt(socket.SOL_IP, SO_ORIGINAL_DST, 16))
        client = writer.get_extra_info("peername")[0]
        try:
            # a server tells its replicas' addresses by where they come from
            other, answer = await asyncio.open_connection(socket.inet_ntoa(packed), port,
                                                          local_addr=(client, 0))
        except OSError:
            writer.close()
            return
        await asyncio.gather(self._pass(reader, answer), self._pass(other, writer))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """In order, each later by the delay; behind what is lost everything waits."""
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        sender = asyncio.ensure_future(self._send(queue, writer))
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                again = self._random.random() < self.loss
                self.lost += again
                queue.put_nowait((time.monotonic() + self.delay + RETRANSMIT_SECONDS * again, data))
        queue.put_nowait((0.0, b""))
        await sender

    @staticmethod
    async def _send(queue: "asyncio.Queue[tuple[float, bytes]]", writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while True:
                due, data = await queue.get()
                if not data:
                    break
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                writer.write(data)
                await writer.drain()
        writer.close()
