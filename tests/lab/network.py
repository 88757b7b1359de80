# SPDX-License-Identifier: Apache-2.0
"""Addresses and cuts.

Each lab has a number of its own, and with it one 127.N.0.0/16, or with --ipv6 one unique local
fd6d:7573:7465:N::/64 whose addresses are put on `lo` and taken away again. It hands every pod
incarnation an address that was never used in it before. Cuts are iptables (ip6tables) rules in a
chain of the lab's own. A server's packets carry its address; an agent's connections start from
wherever the kernel likes, so every pod also runs under a group id of its own, which the owner match
sees on the way out.
"""

from __future__ import annotations

import ipaddress
import json
import random
import shutil
import socket
import subprocess
from typing import Iterable, Optional

from config import ConfigError

GROUP_BASE = 1_000_000
_NUMBERS = range(20, 250)    # of labs
_LISTEN = "0A"               # TCP_LISTEN in /proc/net/tcp
_V6_SITE = ipaddress.IPv6Network("fd6d:7573:7465::/48")
_V6_BATCH = 64               # addresses put on lo at a time


def _listeners(table_name: str) -> set[tuple[str, int]]:
    """(address, port) of every listener in /proc/net/tcp or tcp6."""
    found = set()
    with open(f"/proc/net/{table_name}", encoding="ascii") as table:
        for line in table.readlines()[1:]:
            fields = line.split()
            if fields[3] != _LISTEN:
                continue
            words, port = fields[1].split(":")
            # 32-bit words in the machine's own order
            raw = b"".join(bytes.fromhex(words[i:i + 8])[::-1] for i in range(0, len(words), 8))
            found.add((str(ipaddress.ip_address(raw)), int(port, 16)))
    return found


def _claim(number: int) -> Optional[socket.socket]:
    """The lab's number, for as long as the socket is open; None if another lab has it."""
    # An abstract socket's name is free again when its owner is gone, however it went.
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        claim.bind(f"\0muster-lab-127.{number}")
    except OSError:
        claim.close()
        return None
    return claim


def _run(command: list[str], text: str = "") -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        why = (done.stderr.strip().splitlines() or ["no reason given"])[0]
        raise ConfigError(f"{' '.join(command)} failed: {why}")
    return done.stdout


def _v6_network(number: int) -> ipaddress.IPv6Network:
    base = int(_V6_SITE.network_address) | number << 64
    return ipaddress.IPv6Network((base, 64))


def _v6_change(verb: str, addresses: Iterable[ipaddress.IPv6Address]) -> None:
    """Put on lo, or take from it, all at once."""
    option = " nodad" if verb == "add" else ""
    lines = [f"addr {verb} {address}/128 dev lo{option}\n" for address in addresses]
    if lines:
        _run(["ip", "-6", "-batch", "-"], "".join(lines))


def _v6_on_lo() -> dict[int, list[ipaddress.IPv6Address]]:
    """The addresses of labs that are on lo now, by the lab's number."""
    found: dict[int, list[ipaddress.IPv6Address]] = {}
    for link in json.loads(_run(["ip", "-6", "-json", "addr", "show", "dev", "lo"]) or "[]"):
        for info in link.get("addr_info", []):
            address = ipaddress.IPv6Address(info["local"])
            if address in _V6_SITE:
                found.setdefault(int(address) >> 64 & 0xffff, []).append(address)
    return found


def _v6_remove_stale(own: int) -> None:
    """Take away what labs left on lo that were killed; `own` is this lab's number."""
    for number, addresses in _v6_on_lo().items():
        claim = None if number == own else _claim(number)
        if number == own or claim is not None:
            _v6_change("del", addresses)
        if claim is not None:
            claim.close()


class Addresses:
    """A number, claimed for as long as the daemon lives, and the addresses that go with it."""

    def __init__(self, ports: Iterable[int], ipv6: bool = False) -> None:
        self.ipv6 = ipv6
        listeners = _listeners("tcp6" if ipv6 else "tcp")
        everywhere = "::" if ipv6 else "0.0.0.0"
        taken = sorted(p for a, p in listeners if a == everywhere and p in set(ports))
        if taken:
            raise ConfigError(f"port {taken[0]} is in use on every address of this machine; "
                              "the lab's servers need it on theirs")
        self._claim: Optional[socket.socket] = None
        for number in random.sample(_NUMBERS, len(_NUMBERS)):
            if any(a.startswith(f"127.{number}.") for a, _ in listeners):
                continue
            self._claim = _claim(number)
            if self._claim is not None:
                self.number = number
                break
        if self._claim is None:
            raise ConfigError("no free 127.x.0.0/16 on this machine")
        self._next = 0
        self._ready = 0          # IPv6: how many are on lo
        if ipv6:
            self._v6_begin()

    def _v6_begin(self) -> None:
        _v6_remove_stale(self.number)
        _v6_change("add", [ipaddress.IPv6Address(self.api)])

    @property
    def network(self) -> str:
        """All addresses of this lab."""
        return str(_v6_network(self.number)) if self.ipv6 else f"127.{self.number}.0.0/16"

    @property
    def api(self) -> str:
        """Where the API server listens; never a pod's."""
        if self.ipv6:
            return str(_v6_network(self.number)[1 << 32])
        return f"127.{self.number}.255.1"

    def fresh(self) -> str:
        """An address no pod of this lab ever had."""
        third, fourth = divmod(self._next, 250)
        if third > 250:
            raise ConfigError("the lab has used up its addresses")
        self._next += 1
        if not self.ipv6:
            return f"127.{self.number}.{third}.{fourth + 1}"
        network = _v6_network(self.number)
        if self._next > self._ready:
            _v6_change("add", [network[self._ready + 1 + i] for i in range(_V6_BATCH)])
            self._ready += _V6_BATCH
        return str(network[self._next])

    def remove(self) -> None:
        """Take this lab's addresses from lo."""
        if self.ipv6:
            _v6_change("del", _v6_on_lo().get(self.number, []))

    def group(self, ordinal: int) -> int:
        """The group id of a pod's processes."""
        return GROUP_BASE + self.number * 2000 + ordinal


class Partition:
    """Who is cut from whom, and the chain that does it."""

    def __init__(self, addresses: Addresses) -> None:
        self._addresses = addresses
        self.chain = f"MUSTER-LAB-{addresses.number}"
        self._tool = "ip6tables" if addresses.ipv6 else "iptables"
        self._bits = 128 if addresses.ipv6 else 32
        self.pods: set[str] = set()
        self.without_api: set[str] = set()
        self.api_cut = False     # nobody's packets reach the API, nor its own anybody
        self._installed = False

    def available(self) -> None:
        """Raise with a sentence unless iptables can be used here."""
        if shutil.which(self._tool) is None or shutil.which(f"{self._tool}-restore") is None:
            raise ConfigError(f"{self._tool} is missing; tests/lib/setup.sh lab installs it")
        self._iptables("-L", "OUTPUT", "-n")

    def apply(self, pods: dict[str, tuple[str, int]]) -> None:
        """Put the present cut into force for pods {name: (address, group)}, in one transaction."""
        if not self.pods and not self.without_api and not self.api_cut:
            self.remove()
            return
        lines = ["*filter", f":{self.chain} - [0:0]"]
        if self.api_cut:
            api = f"{self._addresses.api}/{self._bits}"
            lines += [f"-A {self.chain} {way} {api} -j DROP" for way in ("-s", "-d")]
        inside = {n: p for n, p in pods.items() if n in self.pods}
        outside = {n: p for n, p in pods.items() if n not in self.pods}
        for address, group in inside.values():
            for other, other_group in outside.values():
                lines += [self._drop(source=address, target=other),
                          self._drop(source=other, target=address),
                          self._drop(group=group, target=other),
                          self._drop(group=other_group, target=address)]
        for name in self.without_api:
            if name in pods:
                address, group = pods[name]
                lines += [self._drop(group=group, target=self._addresses.api),
                          self._drop(source=self._addresses.api, target=address),
                          self._drop(source=address, target=self._addresses.api)]
        lines.append("COMMIT")
        _run([f"{self._tool}-restore", "--noflush", "-w", "5"], "\n".join(lines) + "\n")
        if not self._installed:
            self._iptables("-I", "OUTPUT", "1", "-o", "lo", "-j", self.chain)
            self._installed = True

    def _drop(self, target: str, source: str = "", group: int = 0) -> str:
        sender = f"-s {source}/{self._bits}" if source else f"-m owner --gid-owner {group}"
        return f"-A {self.chain} {sender} -d {target}/{self._bits} -j DROP"

    def remove_stale(self) -> None:
        """Take away what labs with our number left behind when they were killed."""
        for tool in ("iptables", "ip6tables"):
            if shutil.which(tool) is None:
                continue
            there = subprocess.run([tool, "-w", "5", "-S", self.chain], capture_output=True, check=False)
            if there.returncode != 0:        # nearly always: a process for each tool, no transaction
                continue
            for args in (("-D", "OUTPUT", "-o", "lo", "-j", self.chain), ("-F", self.chain),
                         ("-X", self.chain)):
                subprocess.run([tool, "-w", "5", *args], capture_output=True, check=False)

    def remove(self) -> None:
        """Take the chain away, if it was ever made."""
        if not self._installed:
            return
        self._iptables("-D", "OUTPUT", "-o", "lo", "-j", self.chain)
        self._iptables("-F", self.chain)
        self._iptables("-X", self.chain)
        self._installed = False

    def _iptables(self, *args: str) -> None:
        _run([self._tool, "-w", "5", *args])
