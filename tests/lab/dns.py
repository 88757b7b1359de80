# SPDX-License-Identifier: Apache-2.0
"""The lab's name server, for agents without Kubernetes.

One UDP socket on the API's address, authoritative for `lab`. `muster.lab` has the address of every
pod that exists, as a compose service's name has those of all its containers; `muster-0.lab` has the
pod's own. What it gets wrong is chosen with `lab dns`.
"""

from __future__ import annotations

import asyncio
import ipaddress
import struct
from typing import Callable, Optional, cast

DNS_PORT = 53
NAME = "muster.lab"          # of all servers
TTL = 600                    # longer than any test: who believes it learns nothing new
KINDS = "up down nxdomain servfail empty stale partial=N extra=ADDRESS"

_A, _AAAA, _IN = 1, 28, 1
_SERVFAIL, _NXDOMAIN = 2, 3
_UDP_MAX = 512


def _question(query: bytes) -> tuple[str, int, int]:
    """Name, type and the end of the first question."""
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1:at + 1 + query[at]].decode("ascii"))
        at += 1 + query[at]
    kind, _ = struct.unpack_from("!HH", query, at + 1)
    return ".".join(labels).lower(), kind, at + 5


def _reply(query: bytes, end: int, code: int, kind: int, addresses: list[str]) -> bytes:
    truncated = 0
    packed = [ipaddress.ip_address(a).packed for a in addresses]
    records = b"".join(struct.pack("!HHHIH", 0xc00c, kind, _IN, TTL, len(p)) + p for p in packed)
    if end + len(records) > _UDP_MAX:
        records, packed, truncated = b"", [], 0x0200
    flags = 0x8400 | truncated | (query[2] & 1) << 8 | code
    return (query[:2] + struct.pack("!HHHHH", flags, 1, len(packed), 0, 0) + query[12:end]
            + records)


class NameServer(asyncio.DatagramProtocol):
    """`addresses` tells the pods and their addresses at this moment."""

    def __init__(self, addresses: Callable[[], dict[str, str]]) -> None:
        self._addresses = addresses
        self._transport: Optional[asyncio.DatagramTransport] = None
        self._frozen: dict[str, str] = {}
        self.kind, self.value = "up", ""
        self.queries = 0

    async def start(self, address: str) -> None:
        await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: self, local_addr=(address, DNS_PORT))

    def stop(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def set(self, spec: str) -> None:
        """How to answer from now on: one of KINDS. ValueError for anything else."""
        kind, _, value = spec.partition("=")
        known = {k.partition("=")[0]: "=" in k for k in KINDS.split()}
        if known.get(kind) is not bool(value):
            raise ValueError(f"dns {spec}: not one of {KINDS}")
        if kind == "partial":
            int(value)
        if kind == "extra":
            ipaddress.ip_address(value)
        self._frozen = self._addresses() if kind == "stale" else {}
        self.kind, self.value = kind, value

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        try:
            name, kind, end = _question(data)
        except (IndexError, UnicodeDecodeError, struct.error):
            return
        self.queries += 1
        if self.kind != "down" and self._transport is not None:
            self._transport.sendto(self._answer(data, name, kind, end), addr)

    def _answer(self, query: bytes, name: str, kind: int, end: int) -> bytes:
        if self.kind == "servfail":
            return _reply(query, end, _SERVFAIL, kind, [])
        pods = self._frozen if self.kind == "stale" else self._addresses()
        found = list(pods.values()) if name == NAME else \
            [a for pod, a in pods.items() if name == f"{pod}.lab"]
        if self.kind == "nxdomain" or (not found and name != NAME):
            return _reply(query, end, _NXDOMAIN, kind, [])
        if self.kind == "extra" and name == NAME:
            found.append(self.value)
        version = {_A: 4, _AAAA: 6}.get(kind)
        found = [a for a in found if ipaddress.ip_address(a).version == version]
        if self.kind == "empty":
            found = []
        if self.kind == "partial" and name == NAME:
            # another part each time, as a round robin would give
            turn = self.queries % max(len(found), 1)
            found = (found[turn:] + found[:turn])[:int(self.value)]
        return _reply(query, end, 0, kind, found)
