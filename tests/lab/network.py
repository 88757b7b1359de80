# SPDX-License-Identifier: Apache-2.0
"""Addresses and cuts.

Each lab owns one 127.x.0.0/16 and hands every pod incarnation an address that was never used in it
before. Cuts are iptables rules in a chain of the lab's own. A server's packets carry its address;
an agent's connections start from wherever the kernel likes, so every pod also runs under a group id
of its own, which the owner match sees on the way out.
"""

from __future__ import annotations

import random
import shutil
import socket
import subprocess
from typing import Iterable, Optional

from config import ConfigError

GROUP_BASE = 1_000_000
_LISTEN = "0A"               # TCP_LISTEN in /proc/net/tcp


def _listeners() -> set[tuple[str, int]]:
    """(address, port) of every IPv4 listener of this machine."""
    found = set()
    with open("/proc/net/tcp", encoding="ascii") as table:
        for line in table.readlines()[1:]:
            fields = line.split()
            if fields[3] != _LISTEN:
                continue
            address, port = fields[1].split(":")
            found.add((socket.inet_ntoa(bytes.fromhex(address)[::-1]), int(port, 16)))
    return found


class Addresses:
    """A /16 of loopback, claimed for as long as the daemon lives, and the addresses in it."""

    def __init__(self, ports: Iterable[int]) -> None:
        listeners = _listeners()
        taken = sorted(p for a, p in listeners if a == "0.0.0.0" and p in set(ports))
        if taken:
            raise ConfigError(f"port {taken[0]} is in use on every address of this machine; "
                              "the lab's servers need it on theirs")
        self._claim: Optional[socket.socket] = None
        for second in random.sample(range(20, 250), 200):
            if any(a.startswith(f"127.{second}.") for a, _ in listeners):
                continue
            # An abstract socket's name is free again when its owner is gone, however it went.
            claim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                claim.bind(f"\0muster-lab-127.{second}")
            except OSError:
                claim.close()
                continue
            self._claim, self.second = claim, second
            break
        if self._claim is None:
            raise ConfigError("no free 127.x.0.0/16 on this machine")
        self._next = 0

    @property
    def api(self) -> str:
        """Where the API server listens; never a pod's."""
        return f"127.{self.second}.255.1"

    def fresh(self) -> str:
        """An address no pod of this lab ever had."""
        third, fourth = divmod(self._next, 250)
        if third > 250:
            raise ConfigError("the lab has used up its addresses")
        self._next += 1
        return f"127.{self.second}.{third}.{fourth + 1}"

    def group(self, ordinal: int) -> int:
        """The group id of a pod's processes."""
        return GROUP_BASE + self.second * 2000 + ordinal


class Partition:
    """Who is cut from whom, and the chain that does it."""

    def __init__(self, addresses: Addresses) -> None:
        self._addresses = addresses
        self.chain = f"MUSTER-LAB-{addresses.second}"
        self.pods: set[str] = set()
        self.without_api: set[str] = set()
        self._installed = False

    def available(self) -> None:
        """Raise with a sentence unless iptables can be used here."""
        if shutil.which("iptables") is None or shutil.which("iptables-restore") is None:
            raise ConfigError("iptables is missing; tests/lib/setup.sh lab installs it")
        self._iptables("-L", "OUTPUT", "-n")

    def apply(self, pods: dict[str, tuple[str, int]]) -> None:
        """Put the present cut into force for pods {name: (address, group)}, in one transaction."""
        if not self.pods and not self.without_api:
            self.remove()
            return
        lines = ["*filter", f":{self.chain} - [0:0]"]
        inside = {n: p for n, p in pods.items() if n in self.pods}
        outside = {n: p for n, p in pods.items() if n not in self.pods}
        for address, group in inside.values():
            for other, other_group in outside.values():
                lines += [f"-A {self.chain} -s {address}/32 -d {other}/32 -j DROP",
                          f"-A {self.chain} -s {other}/32 -d {address}/32 -j DROP",
                          f"-A {self.chain} -d {other}/32 -m owner --gid-owner {group} -j DROP",
                          f"-A {self.chain} -d {address}/32 -m owner --gid-owner {other_group} "
                          "-j DROP"]
        for name in self.without_api:
            if name in pods:
                address, group = pods[name]
                lines += [f"-A {self.chain} -d {self._addresses.api}/32 -m owner "
                          f"--gid-owner {group} -j DROP",
                          f"-A {self.chain} -s {self._addresses.api}/32 -d {address}/32 -j DROP",
                          f"-A {self.chain} -s {address}/32 -d {self._addresses.api}/32 -j DROP"]
        lines.append("COMMIT")
        self._run(["iptables-restore", "--noflush", "-w", "5"], "\n".join(lines) + "\n")
        if not self._installed:
            self._iptables("-I", "OUTPUT", "1", "-o", "lo", "-j", self.chain)
            self._installed = True

    def remove_stale(self) -> None:
        """Take away what a lab with our number left behind when it was killed."""
        if shutil.which("iptables") is not None:
            for args in (("-D", "OUTPUT", "-o", "lo", "-j", self.chain), ("-F", self.chain),
                         ("-X", self.chain)):
                subprocess.run(["iptables", "-w", "5", *args], capture_output=True, check=False)

    def remove(self) -> None:
        """Take the chain away, if it was ever made."""
        if not self._installed:
            return
        self._iptables("-D", "OUTPUT", "-o", "lo", "-j", self.chain)
        self._iptables("-F", self.chain)
        self._iptables("-X", self.chain)
        self._installed = False

    def _iptables(self, *args: str) -> None:
        self._run(["iptables", "-w", "5", *args], "")

    @staticmethod
    def _run(command: list[str], text: str) -> None:
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            why = (done.stderr.strip().splitlines() or ["no reason given"])[0]
            raise ConfigError(f"{' '.join(command)} failed: {why}")
