# SPDX-License-Identifier: Apache-2.0
"""How long a cluster takes to serve again whose servers come back at addresses that nobody knows beforehand.

Counted from the last server's first PONG until every shard has taken a write. A Redis primary does not serve within 2 s
of its start (CLUSTER_WRITABLE_DELAY), which is the floor of every figure.
"""

from __future__ import annotations

import binascii
import sys
import time
from pathlib import Path
from typing import Any, Callable, Iterable, Optional

sys.path.append(str(Path(__file__).resolve().parents[1] / "lab"))

import resp  # noqa: E402
from access import Access  # noqa: E402

Ranges = list[tuple[int, int]]
ASK_SECONDS = 0.5
PERIOD_SECONDS = 0.01


class Password:
    """An Access for servers that are not a lab's."""

    context = None

    def __init__(self, password: str) -> None:
        self.login = ("AUTH", password)


def shards(nodes: Any, addresses: dict[str, str]) -> dict[str, Ranges]:
    """By name: the slots of each primary by CLUSTER NODES."""
    names = {address: name for name, address in addresses.items()}
    return {names[node.host]: node.slots for node in resp.parse_nodes(nodes) if node.slots}


def slot_of(key: str) -> int:
    return binascii.crc_hqx(key.encode(), 0) % resp.SLOTS


def owner_of(key: str, owned: dict[str, Ranges]) -> str:
    slot = slot_of(key)
    return next(name for name, ranges in owned.items() if any(a <= slot <= b for a, b in ranges))


def probe_keys(owned: dict[str, Ranges]) -> dict[str, str]:
    """By primary: a key of its own, which is overwritten by who counts the time."""
    found: dict[str, str] = {}
    number = 0
    while len(found) < len(owned):
        found.setdefault(owner_of(f"probe:{number}", owned), f"probe:{number}")
        number += 1
    return found


def parts(nodes: Any) -> dict[str, tuple[str, str]]:
    """What each node follows and owns by CLUSTER NODES; equal before and after when no role has changed."""
    return {node.id: (node.primary, resp.slot_ranges(node.slots)) for node in resp.parse_nodes(nodes)}


def ask(address: str, *words: str, access: Optional[Access] = None) -> Any:
    """The reply, or None when there is none or an error."""
    try:
        return resp.command(address, *words, timeout=ASK_SECONDS, access=access)
    except (OSError, resp.RespError):
        return None


def seconds_to_serve(names: Iterable[str], owned: dict[str, Ranges], addresses: Callable[[], dict[str, str]],
                     limit: float, access: Optional[Access] = None) -> float:
    """Asks all servers again and again; AssertionError when they do not serve within `limit` seconds.

    `addresses` tells the new addresses known so far, by name; it is asked until it has told all.
    """
    unwritten, found = probe_keys(owned), {}
    silent, last, until = set(names), 0.0, time.monotonic() + limit
    count = len(silent)
    while silent or unwritten:
        if len(found) < count:
            found = addresses()
        for name in sorted(silent & set(found)):
            if ask(found[name], "PING", access=access) is not None:
                silent.discard(name)
                last = time.monotonic()
        for name, key in list(unwritten.items()):
            if name in found and name not in silent and ask(found[name], "SET", key, "1", access=access) == "OK":
                del unwritten[name]
        done = time.monotonic()
        if done > until:
            raise AssertionError(f"after {limit:g} s: no PONG from {sorted(silent)}, no write at {sorted(unwritten)}")
        time.sleep(PERIOD_SECONDS)
    return done - last
