# SPDX-License-Identifier: Apache-2.0
"""RESP2 for the lab: a parser, a blocking and an asyncio client, and what CLUSTER NODES says."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass, field
from typing import Any, Iterator, Optional, Union

from access import Access

Argument = Union[str, bytes, int]
SLOTS = 16384
INCOMPLETE = object()


class RespError(Exception):
    """An error reply of the server (or, in the clients, no reply at all)."""


class Parser:
    """Incremental: feed bytes, take replies. Errors are returned as RespError values."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._at = 0

    def feed(self, data: bytes) -> None:
        if self._at > 65536:
            del self._data[:self._at]
            self._at = 0
        self._data += data

    def take(self) -> Any:
        """The next whole reply, or INCOMPLETE."""
        start = self._at
        reply = self._parse()
        if reply is INCOMPLETE:
            self._at = start
        return reply

    def _line(self) -> Optional[bytes]:
        end = self._data.find(b"\r\n", self._at)
        if end < 0:
            return None
        line = bytes(self._data[self._at:end])
        self._at = end + 2
        return line

    def _parse(self) -> Any:
        line = self._line()
        if line is None:
            return INCOMPLETE
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return rest.decode()
        if kind == b"-":
            return RespError(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return self._bulk(int(rest))
        if kind == b"*":
            return self._array(int(rest))
        raise RespError(f"not RESP: {line[:40]!r}")

    def _bulk(self, size: int) -> Any:
        if size < 0:
            return None
        if len(self._data) < self._at + size + 2:
            return INCOMPLETE
        value = bytes(self._data[self._at:self._at + size])
        self._at += size + 2
        return value

    def _array(self, count: int) -> Any:
        if count < 0:
            return None
        items = []
        for _ in range(count):
            item = self._parse()
            if item is INCOMPLETE:
                return INCOMPLETE
            items.append(item)
        return items


def encode_command(*args: Argument) -> bytes:
    parts = [b"*%d\r\n" % len(args)]
    for arg in args:
        data = arg if isinstance(arg, bytes) else str(arg).encode()
        parts.append(b"$%d\r\n%s\r\n" % (len(data), data))
    return b"".join(parts)


def text(reply: Any) -> str:
    return reply.decode("utf-8", "replace") if isinstance(reply, bytes) else str(reply)


class Client:
    """Blocking: one connection, one command at a time."""

    def __init__(self, host: str, port: int = 6379, timeout: float = 2.0,
                 access: Optional[Access] = None) -> None:
        self.host, self.port = host, port
        try:
            self._socket = socket.create_connection((host, port), timeout)
            if access is not None and access.context is not None:
                self._socket = access.context.wrap_socket(self._socket, server_hostname=host)
        except OSError as error:
            raise RespError(f"{host}:{port}: {error}") from error
        self._parser = Parser()
        if access is not None and access.login:
            try:
                self.call(*access.login)
            except RespError:
                self.close()
                raise

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: Any) -> None:
        self._socket.close()

    def close(self) -> None:
        self._socket.close()

    def call(self, *args: Argument) -> Any:
        """Send a command; error replies and transport errors are raised as RespError."""
        try:
            self._socket.sendall(encode_command(*args))
            while True:
                reply = self._parser.take()
                if reply is not INCOMPLETE:
                    break
                data = self._socket.recv(65536)
                if not data:
                    raise RespError(f"{self.host}:{self.port}: connection closed")
                self._parser.feed(data)
        except OSError as error:
            raise RespError(f"{self.host}:{self.port}: {error}") from error
        if isinstance(reply, RespError):
            raise reply
        return reply


def command(host: str, *args: Argument, port: int = 6379, timeout: float = 2.0,
            access: Optional[Access] = None) -> Any:
    """One command on a connection of its own."""
    with Client(host, port, timeout, access) as client:
        return client.call(*args)


async def pipeline(host: str, port: int, commands: list[tuple[Argument, ...]],
                   timeout: float = 2.0, access: Optional[Access] = None) -> list[Any]:
    """Several commands on one new connection; error replies stay in the list as values."""
    login = access.login if access is not None else ()

    async def run() -> list[Any]:
        context = access.context if access is not None else None
        reader, writer = await asyncio.open_connection(
            host, port, ssl=context, server_hostname=host if context else None)
        try:
            if login:
                commands.insert(0, login)
            writer.write(b"".join(encode_command(*c) for c in commands))
            parser, replies = Parser(), []
            while len(replies) < len(commands):
                reply = parser.take()
                if reply is not INCOMPLETE:
                    replies.append(reply)
                    continue
                data = await reader.read(65536)
                if not data:
                    raise RespError(f"{host}:{port}: connection closed")
                parser.feed(data)
            return replies[1:] if login else replies
        finally:
            writer.close()
    try:
        return await asyncio.wait_for(run(), timeout)
    except asyncio.TimeoutError as error:
        raise RespError(f"{host}:{port}: no answer within {timeout:g} s") from error
    except OSError as error:
        raise RespError(f"{host}:{port}: {error}") from error


def parse_info(reply: Any) -> dict[str, str]:
    """INFO and CLUSTER INFO: key:value lines."""
    pairs = (line.partition(":") for line in text(reply).splitlines() if ":" in line)
    return {key: value.strip() for key, _, value in pairs}


@dataclass
class ClusterNode:
    """A line of CLUSTER NODES."""

    id: str
    host: str
    port: int
    flags: set[str]
    primary: str                     # "" for a primary
    epoch: int
    connected: bool
    slots: list[tuple[int, int]] = field(default_factory=list)
    open_slots: list[str] = field(default_factory=list)

    @property
    def is_primary(self) -> bool:
        return "master" in self.flags

    @property
    def slot_count(self) -> int:
        return sum(last - first + 1 for first, last in self.slots)


def parse_nodes(reply: Any) -> Iterator[ClusterNode]:
    for line in text(reply).splitlines():
        fields = line.split()
        if len(fields) < 8:
            continue
        address = fields[1].split(",")[0].split("@")[0]
        host, _, port = address.rpartition(":")
        node = ClusterNode(fields[0], host, int(port or 0), set(fields[2].split(",")),
                           "" if fields[3] == "-" else fields[3], int(fields[6]),
                           fields[7] == "connected")
        for part in fields[8:]:
            if part.startswith("["):
                node.open_slots.append(part)
            else:
                first, _, last = part.partition("-")
                node.slots.append((int(first), int(last or first)))
        yield node


def slot_ranges(slots: list[tuple[int, int]]) -> str:
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in sorted(slots))
