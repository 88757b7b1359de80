# SPDX-License-Identifier: Apache-2.0
"""What a rotation does to a running cluster, sampled from outside while it goes on."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any, Iterable, Optional

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from muster_test import Lab, resp, wait_until  # noqa: E402

import access  # noqa: E402  (of the lab)

HTTP_PORT = 8008
PERIOD = 0.2
AFTER_SECONDS = 2            # it goes on: what is broken shows a moment later
SAMPLES_MIN = 50             # fewer say nothing
LINKS_SECONDS = 10           # for the links to be up when it is over


def page(address: str, path: str) -> str:
    with urllib.request.urlopen(f"http://{address}:{HTTP_PORT}{path}", timeout=5) as answer:
        text: str = answer.read().decode()
        return text


def a_replica(lab: Lab) -> str:
    """One that answers as such: with handshakes of TLS a server may be late for the lab's look."""
    found: list[str] = wait_until(lambda: [name for name, pod in lab.pods().items()
                                           if pod["cluster"].get("role") == "replica"], 20, "a replica")
    return found[0]


class With(access.Access):
    """As the lab's own tools, with this password."""

    def __init__(self, lab: Lab, password: str) -> None:
        super().__init__(lab.state)
        self._password = password

    @property
    def login(self) -> tuple[str, ...]:
        return ("AUTH", self._password)


class Witness:
    """How long an agent had no news of a server that it asks, and a replica no link. A context.

    When it is left, the links have LINKS_SECONDS to be up; AssertionError else.
    """

    def __init__(self, lab: Lab, pods: Iterable[str],
                 accesses: Optional[list[access.Access]] = None) -> None:
        self.longest_blind = 0.0     # seconds
        self.longest_down = 0.0
        self.samples = 0
        self._addresses = {pod: lab.address(pod) for pod in pods}
        self._accesses = accesses or [lab.access]
        self._over = threading.Event()
        self._heard: dict[tuple[str, str], float] = {}
        self._up: dict[str, float] = {}
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Witness":
        self._thread.start()
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        time.sleep(AFTER_SECONDS)
        with contextlib.suppress(AssertionError):    # whoever asks for samples is told
            wait_until(lambda: self.samples > SAMPLES_MIN, 30, "samples")
        self._over.set()
        self._thread.join(10)
        if kind is None:
            wait_until(lambda: all(self._link(a) == "up" for a in self._addresses.values()),
                       LINKS_SECONDS, "every replica's link is up")

    def _run(self) -> None:
        while not self._over.wait(PERIOD):
            for pod, address in self._addresses.items():
                self._look_at_agent(address)
                self._look_at_link(pod, address)

    def _look_at_agent(self, address: str) -> None:
        try:
            pods = json.loads(page(address, "/status"))["pods"]
        except OSError:              # a page that is late tells nothing; the next one will
            return
        now = time.monotonic()
        for pod in pods:
            key = (address, pod["name"])
            if pod["ageMs"] is not None:
                self._heard[key] = max(self._heard.get(key, 0), now - pod["ageMs"] / 1000)
            if key in self._heard:
                self.longest_blind = max(self.longest_blind, now - self._heard[key])
                self.samples += 1

    def _look_at_link(self, pod: str, address: str) -> None:
        link, now = self._link(address), time.monotonic()
        if link == "up" or pod not in self._up:
            self._up[pod] = now
        elif link == "down":
            self.longest_down = max(self.longest_down, now - self._up[pod])

    def _link(self, address: str) -> str:
        """"up", "down", or "" where it cannot be told; a primary's is up."""
        for way in self._accesses:
            with contextlib.suppress(resp.RespError):
                info = resp.parse_info(resp.command(address, "INFO", "replication", access=way))
                return info.get("master_link_status", "up")
        return ""
