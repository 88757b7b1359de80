# SPDX-License-Identifier: Apache-2.0
"""A lab's cluster with keys over all its slots: written, counted and looked for."""

from __future__ import annotations

import itertools
import re
import shutil
import sys
import threading
import time
from pathlib import Path
from typing import Any, Iterable

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from muster_test import Lab, resp  # noqa: E402

KEYS = 300
PATIENCE = 5.0      # s: the machine is busy, and a server that is late is no server that is gone


class Cluster:
    def __init__(self, lab: Lab, keys: int = KEYS) -> None:
        self.lab = lab
        self.keys = keys

    # -- keys

    def write(self, entry: str = "muster-0") -> None:
        """Each key to the primary that the servers name, this pod's first."""
        entry = self.lab.address(entry)
        for number in range(self.keys):
            self._follow(entry, "SET", f"key:{number}", f"value:{number}")

    def lost(self, entry: str = "muster-0") -> int:
        """How many of them are not there any more."""
        entry = self.lab.address(entry)
        return sum(self._follow(entry, "GET", f"key:{n}") != f"value:{n}".encode()
                   for n in range(self.keys))

    def count(self) -> int:
        """The keys on all primaries, whoever wrote them."""
        return sum(int(self.lab.redis(pod, "DBSIZE")) for pod, role in self.roles().items()
                   if role[0] == b"master")

    def key_at(self, pod: str) -> str:
        """A key beside those of write(), in a slot of this primary."""
        for number in range(self.keys):
            try:
                self.lab.redis(pod, "GET", f"key:{number}")
                return f"pulse:{{key:{number}}}"
            except resp.RespError as error:
                if not str(error).startswith("MOVED "):
                    raise
        raise AssertionError(f"none of {self.keys} keys is at {pod}")

    def follow(self, *words: str) -> Any:
        """A command of one key, sent to whom the servers name."""
        return self._follow(self.lab.address("muster-0"), *words)

    def _follow(self, target: str, *words: str) -> Any:
        for _ in range(4):
            try:
                return resp.command(target, *words, timeout=PATIENCE, access=self.lab.access)
            except resp.RespError as error:
                if not str(error).startswith("MOVED "):
                    raise
                target = str(error).split()[2].rpartition(":")[0]
        raise resp.RespError(f"{words}: moved without end")

    # -- what is told

    def events(self) -> set[str]:
        """The reasons of all Events up to now."""
        return {event["reason"] for event in self.lab.get("events")}

    # -- servers

    def roles(self) -> dict[str, Any]:
        """What ROLE says at each pod that answers."""
        found = {}
        for name, address in self.lab.ask("addresses").items():
            try:
                found[name] = resp.command(address, "ROLE", access=self.lab.access)
            except (OSError, resp.RespError):
                pass
        return found

    def role(self, pod: str) -> str:
        """"none" of a server that does not answer."""
        try:
            role = resp.command(self.lab.ask("addresses")[pod], "ROLE", timeout=PATIENCE,
                                access=self.lab.access)
        except (KeyError, OSError, resp.RespError):
            return "none"
        return resp.text(role[0])

    def masters(self) -> list[str]:
        return [pod for pod, role in self.roles().items() if role[0] == b"master"]

    def primaries(self) -> list[str]:
        """Those of them whose replica is in sync, which is what the data is safe with."""
        return [pod for pod, role in self.roles().items() if role[0] == b"master" and
                any(int(role[1]) - int(replica[2]) < 200 for replica in role[2])]

    def shards(self) -> dict[str, list[str]]:
        """The replicas of each primary, as they say themselves."""
        roles, addresses = self.roles(), {p["ip"]: n for n, p in self.lab.pods().items()}
        found: dict[str, list[str]] = {pod: [] for pod, r in roles.items() if r[0] == b"master"}
        for pod, role in roles.items():
            if role[0] == b"slave":
                primary = addresses.get(resp.text(role[1]), "")
                if primary not in found:
                    raise resp.RespError(f"the primary of {pod} does not answer as one")
                found[primary].append(pod)
        return found

    def acts(self) -> list[str]:
        """What the agents have sent that changes the cluster, by their logs."""
        return [line for pod in sorted(self.lab.pods()) for line in self.lab.log(pod).splitlines()
                if re.search(r'event=did cmd="?CLUSTER ', line)]

    def forget_data(self, pod: str, nodes_conf: bool) -> None:
        """The data set goes while the server runs, which cannot write it once more then."""
        self.lab.redis(pod, "CONFIG", "SET", "save", "")
        data = self.lab.state / "pods" / pod / "data"
        for path in list(data.iterdir()):
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != "nodes.conf" or not nodes_conf:
                path.unlink(missing_ok=True)

    def restart(self, pod: str, whole_pod: bool) -> None:
        if whole_pod:
            self.lab.delete(pod, wait=False)
        else:
            self.lab.kill(pod, "redis", 9, wait=False)


class Pulse:
    """Writes to some shards, all the time: how long each took none. A context."""

    PERIOD = 0.02

    def __init__(self, cluster: Cluster, primaries: Iterable[str]) -> None:
        lab = cluster.lab
        addresses = {name: pod["ip"] for name, pod in lab.pods().items()}
        self.longest = dict.fromkeys(primaries, 0.0)     # seconds, by the first primary
        self.refused = dict.fromkeys(self.longest, 0)    # by a cluster that is down
        self._lab, self._over = lab, threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True, args=(
            pod, cluster.key_at(pod), [addresses[pod], *addresses.values()]))
            for pod in list(self.longest)]

    def __enter__(self) -> "Pulse":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(10)

    def _run(self, pod: str, key: str, servers: list[str]) -> None:
        others = itertools.cycle(servers)
        owner = target = next(others)
        last = time.monotonic()
        while not self._over.wait(self.PERIOD):
            refusal = ""
            try:
                resp.command(target, "SET", key, "x", timeout=0.3, access=self._lab.access)
            except resp.RespError as error:
                refusal = str(error)
            now = time.monotonic()
            self.longest[pod] = max(self.longest[pod], now - last)
            if not refusal:
                last, owner = now, target
            elif refusal.startswith("MOVED "):
                target = refusal.split()[2].rpartition(":")[0]
            else:
                self.refused[pod] += target == owner and refusal.startswith("CLUSTERDOWN ")
                target = next(others)
