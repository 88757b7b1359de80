# SPDX-License-Identifier: Apache-2.0
"""What a server's log says about its elections."""

from __future__ import annotations

import math
import re
import time
from dataclasses import dataclass

LINE = re.compile(r"^\d+:[A-Z] (\d\d \w{3} \d{4} \d\d:\d\d:\d\d)\.(\d{3}) . (.*)")
ORDER = re.compile(r"(Manual|Forced) failover user request accepted")
DENIED = re.compile(r"Failover auth denied to ([0-9a-f]{40}).*?: (.*)")


@dataclass
class Order:
    """A hand-over that this server accepted the order for."""

    at: float                    # since the epoch
    line: str
    forced: bool
    after: float                 # seconds since it last asked for votes in this run; infinite if it did not
    won: bool = False


@dataclass
class Denial:
    """A vote that this server refused."""

    at: float
    node: str                    # whom
    why: str


def won_unheld(log: str) -> list[str]:
    """The lines that tell of an election that was won without being held, on old votes (FACTS 0.3)."""
    found, held = [], False
    for line in log.splitlines():
        held |= "Starting a failover election" in line
        if "Failover election won" in line:
            if not held:
                found.append(line)
            held = False
    return found


def _lines(log: str) -> list[tuple[float, str, str]]:
    """When, since the epoch; what was said; the line. What is not a server's line has no time."""
    found = []
    for line in log.splitlines():
        parts = LINE.match(line)
        at = time.mktime(time.strptime(parts[1], "%d %b %Y %H:%M:%S")) + int(parts[2]) / 1000 if parts else 0.0
        found.append((at, parts[3] if parts else "", line))
    return found


def find_orders(log: str) -> list[Order]:
    """In the order in which they were given; one is won if that is said before anything ends it."""
    found: list[Order] = []
    asked, is_open = -math.inf, False
    for at, said, line in _lines(log):
        order = ORDER.search(said)
        if order:
            found.append(Order(at, line, order[1] == "Forced", at - asked))
            is_open = True
        elif "Failover election won" in said:
            if is_open:
                found[-1].won = True
            is_open = False
        elif line.startswith("# container") or "Manual failover timed out" in said:
            is_open = False
        if order or "Starting a failover election" in said:
            asked = at
        elif line.startswith("# container"):
            asked = -math.inf
    return found


def denials(log: str) -> list[Denial]:
    """Those of elections, whoever began them."""
    return [Denial(at, parts[1], parts[2]) for at, said, _ in _lines(log)
            for parts in [DENIED.search(said)] if parts]
