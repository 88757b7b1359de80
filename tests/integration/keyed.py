# SPDX-License-Identifier: Apache-2.0
"""A lab's cluster with keys over all its slots: written, counted and looked for."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from muster_test import Lab, resp  # noqa: E402

KEYS = 300


class Cluster:
    def __init__(self, lab: Lab, keys: int = KEYS) -> None:
        self.lab = lab
        self.keys = keys

    # -- keys

    def write(self) -> None:
        """Each key to the primary that the servers name."""
        entry = self.lab.address("muster-0")
        for number in range(self.keys):
            self._follow(entry, "SET", f"key:{number}", f"value:{number}")

    def lost(self) -> int:
        """How many of them are not there any more."""
        entry = self.lab.address("muster-0")
        return sum(self._follow(entry, "GET", f"key:{n}") != f"value:{n}".encode()
                   for n in range(self.keys))

    def count(self) -> int:
        """The keys on all primaries, whoever wrote them."""
        return sum(int(self.lab.redis(pod, "DBSIZE")) for pod, role in self.roles().items()
                   if role[0] == b"master")

    def _follow(self, target: str, *words: str) -> Any:
        for _ in range(4):
            try:
                return resp.command(target, *words, access=self.lab.access)
            except resp.RespError as error:
                if not str(error).startswith("MOVED "):
                    raise
                target = str(error).split()[2].rpartition(":")[0]
        raise AssertionError(f"{words}: moved without end")

    # -- what is told

    def events(self) -> set[str]:
        """The reasons of all Events up to now."""
        return {event["reason"] for event in self.lab.get("events")}

    # -- servers

    def roles(self) -> dict[str, Any]:
        """What ROLE says at each pod that answers; one question to the lab, which takes its time."""
        found = {}
        for name, pod in self.lab.pods().items():
            try:
                found[name] = resp.command(pod["ip"], "ROLE", access=self.lab.access)
            except (OSError, resp.RespError):
                pass
        return found

    def role(self, pod: str) -> str:
        role = self.roles().get(pod)
        return resp.text(role[0]) if role else "none"

    def masters(self) -> list[str]:
        return [pod for pod, role in self.roles().items() if role[0] == b"master"]

    def primaries(self) -> list[str]:
        """Those of them whose replica is in sync, which is what the data is safe with."""
        return [pod for pod, role in self.roles().items() if role[0] == b"master" and
                any(int(role[1]) - int(replica[2]) < 200 for replica in role[2])]

    def forget_data(self, pod: str, nodes_conf: bool) -> None:
        """The data set goes while the server runs, which cannot write it once more then."""
        self.lab.redis(pod, "CONFIG", "SET", "save", "")
        data = self.lab.state / "pods" / pod / "data"
        for path in list(data.iterdir()):
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != "nodes.conf" or not nodes_conf:
                path.unlink()

    def restart(self, pod: str, whole_pod: bool) -> None:
        if whole_pod:
            self.lab.delete(pod, wait=False)
        else:
            self.lab.kill(pod, "redis", 9, wait=False)
