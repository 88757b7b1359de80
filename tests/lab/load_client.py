# SPDX-License-Identifier: Apache-2.0
"""A cluster client for the load: pipelined connections, a slot map, keys for every slot.

It is built for measuring gaps: nothing waits for an answer before the next attempt, a refused
connection is tried again at the next tick, and a silent one is given up after a second.
"""

from __future__ import annotations

import asyncio
import binascii
import collections
import time
from dataclasses import dataclass
from typing import Any, Callable, Optional

from access import Access
from resp import INCOMPLETE, SLOTS, Parser, RespError, encode_command, parse_nodes

REPLY_SECONDS = 1.0          # a connection without an answer for so long is given up
CONNECT_SECONDS = 0.3
PENDING_MAX = 5000

Address = tuple[str, int]
NO_ANSWER = object()        # nobody knows what became of the command
Done = Callable[[Any], None]


def slot_tags() -> list[str]:
    """A short hash tag for every slot, found by trying (CRC16 XMODEM is Redis's)."""
    tags: list[Optional[str]] = [None] * SLOTS
    missing, number = SLOTS, 0
    while missing:
        text = f"{number:x}"
        slot = binascii.crc_hqx(text.encode(), 0) % SLOTS
        if tags[slot] is None:
            tags[slot] = text
            missing -= 1
        number += 1
    return [t for t in tags if t is not None]


class Connection(asyncio.Protocol):
    """One pipelined connection to one server; re-opened by `send` whenever it is down."""

    def __init__(self, address: Address, access: Optional[Access] = None) -> None:
        self.address = address
        self._access = access
        self.up = False
        self._loop = asyncio.get_running_loop()
        self._transport: Optional[asyncio.Transport] = None
        self._connecting: Optional[asyncio.Task[None]] = None
        self._pending: collections.deque[tuple[Done, float]] = collections.deque()
        self._parser = Parser()

    def connect(self) -> None:
        if not self.up and (self._connecting is None or self._connecting.done()):
            self._connecting = self._loop.create_task(self._open())

    async def _open(self) -> None:
        context = self._access.context if self._access else None
        try:
            await asyncio.wait_for(self._loop.create_connection(
                lambda: self, *self.address, ssl=context,
                server_hostname=self.address[0] if context else None), CONNECT_SECONDS)
        except (OSError, asyncio.TimeoutError):
            pass

    def send(self, data: bytes, *done: Done) -> bool:
        """Send a command (or several); False, and nothing was sent, when there is no connection."""
        if not self.up or self._transport is None or len(self._pending) > PENDING_MAX:
            self.connect()
            return False
        now = time.monotonic()
        for callback in done:
            self._pending.append((callback, now))
        self._transport.write(data)
        return True

    def give_up_silence(self, now: float) -> None:
        if self._pending and now - self._pending[0][1] > REPLY_SECONDS and self._transport:
            self._transport.abort()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # -- asyncio.Protocol --

    def connection_made(self, transport: Any) -> None:
        self._transport, self._parser, self.up = transport, Parser(), True
        login = self._access.login if self._access else ()
        if login:
            self.send(encode_command(*login), lambda _: None)   # refused: so is what follows

    def data_received(self, data: bytes) -> None:
        self._parser.feed(data)
        while True:
            reply = self._parser.take()
            if reply is INCOMPLETE:
                return
            done, _ = self._pending.popleft()
            done(reply)

    def connection_lost(self, exc: Optional[Exception]) -> None:
        self.up, self._transport = False, None
        pending, self._pending = self._pending, collections.deque()
        for done, _ in pending:
            done(NO_ANSWER)


@dataclass
class Redirect:
    """What -MOVED and -ASK say."""

    ask: bool
    slot: int
    address: Address


def redirect_of(error: RespError) -> Optional[Redirect]:
    words = str(error).split()
    if len(words) != 3 or words[0] not in ("MOVED", "ASK"):
        return None
    host, _, port = words[2].rpartition(":")
    return Redirect(words[0] == "ASK", int(words[1]), (host, int(port)))


class Cluster:
    """Who owns which slot, as far as the servers said, and the connections to them."""

    def __init__(self, access: Optional[Access] = None) -> None:
        self._access = access
        self.connections: dict[Address, Connection] = {}
        self.owner: list[Optional[Address]] = [None] * SLOTS
        self.replicas: dict[Address, list[Address]] = {}     # of each primary
        self._asked = 0
        self._waiting = False

    def at(self, address: Address) -> Connection:
        connection = self.connections.get(address)
        if connection is None:
            connection = self.connections[address] = Connection(address, self._access)
            connection.connect()
        return connection

    def refresh(self) -> None:
        """Ask the next server that has a connection for its view."""
        if self._waiting:
            return
        up = [c for c in self.connections.values() if c.up]
        for connection in self.connections.values():
            connection.connect()
        if up:
            self._asked += 1
            chosen = up[self._asked % len(up)]
            self._waiting = chosen.send(encode_command("CLUSTER", "NODES"), self._learn)

    def _learn(self, reply: Any) -> None:
        self._waiting = False
        if reply is NO_ANSWER or isinstance(reply, RespError):
            return
        nodes = {n.id: n for n in parse_nodes(reply)
                 if n.host and not n.flags & {"noaddr", "handshake"}}
        replicas: dict[Address, list[Address]] = {}
        for node in nodes.values():
            self.at((node.host, node.port))
            if node.primary in nodes:
                up = nodes[node.primary]
                replicas.setdefault((up.host, up.port), []).append((node.host, node.port))
            for first, last in node.slots:
                self.owner[first:last + 1] = [(node.host, node.port)] * (last - first + 1)
        self.replicas = replicas
        known = {(n.host, n.port) for n in nodes.values()}
        for address in [a for a in self.connections if a not in known]:
            if not self.connections[address].up:
                del self.connections[address]

    def moved(self, redirect: Redirect) -> None:
        if not redirect.ask and redirect.address[0]:
            self.owner[redirect.slot] = redirect.address

    def give_up_silence(self) -> None:
        now = time.monotonic()
        for connection in list(self.connections.values()):
            connection.give_up_silence(now)
