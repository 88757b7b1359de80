#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A cluster forms in every pair of circumstances, complete and as it was planned.

Every two values of two FACTORS meet in at least one row; a row is one lab. What "complete" means is
asked of the servers only, and then of `muster check`.

    test_matrix.py                 the rows below thirty pods, MATRIX_JOBS (3) at a time
    SERVERS=rest test_matrix.py    those of thirty (SERVERS=all: all); CI runs both
    test_matrix.py --list          the rows, numbered
    test_matrix.py --row 7 [...]   only these
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import itertools
import json
import os
import sys
import threading
import time
import unittest
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterable, Iterator

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

import pairwise  # noqa: E402
from muster_test import CLIENT_PORT, Lab, MusterTestCase, main, on_servers, resp  # noqa: E402

SEED = 1
NODES = 3
NODE_TIMEOUT = 15000         # the lab's default: what must be there again at the end
DISKLESS_DELAY = 5           # the servers' default
LATE_SECONDS = 3.0
UP_SECONDS = 360             # with the machine busy; on a quiet one thirty pods take a tenth of it
PODS_AT_ONCE = 36            # more of them and two cores do nothing but time out and begin again
VERSIONS_SHARE = 3           # of the four that tests/run.sh runs at a time: thirty pods each

FACTORS: dict[str, list[Any]] = {
    "pods": [6, 7, 8, 12, 30],
    "replicas": [0, 1, 2],                   # of each primary
    "zones": [1, 3],
    "server": ["redis-7.0", "redis-8.0", "valkey-8.1", "valkey-9"],
    "ordered": [False, True],                # podManagementPolicy
    "discovery": ["kubernetes", "dns", "static"],
    "auth": ["no", "password", "user"],      # the default user's password, or an ACL user
    "tls": [False, True],
    "ipv6": [False, True],
    "late": [False, True],                   # each pod at a random moment, in random order
}


def is_possible(row: pairwise.Row) -> bool:
    """What there is, and what two cores can run; every pair of values is left."""
    hosts = row.get("discovery") in ("dns", "static")
    if hosts and row.get("ordered"):
        return False         # hosts have no order of start
    # a DNS answer over UDP has no room for thirty IPv6 addresses
    return not (row.get("pods") == 30 and row.get("discovery") == "dns" and row.get("ipv6"))


def matrix() -> list[pairwise.Row]:
    """The largest first: they last longest."""
    return sorted(pairwise.rows(FACTORS, is_possible, SEED), key=lambda row: -int(row["pods"]))


def make_lab(row: pairwise.Row, seed: int) -> Lab:
    settings: dict[str, Any] = {"lab.readinessSeconds": 0.3}
    if row["auth"] == "user":
        settings["lab.user"] = "muster"
    if row["late"]:
        # one after another they add up
        settings["lab.lateSeconds"] = LATE_SECONDS / (row["pods"] if row["ordered"] else 1)
        settings["lab.seed"] = seed
    return Lab(settings=settings, pods=row["pods"], replicas_per_primary=row["replicas"],
               zones=row["zones"], nodes=NODES, server=row["server"], ordered=row["ordered"],
               discovery=row["discovery"], auth=row["auth"] != "no", tls=row["tls"],
               ipv6=row["ipv6"])


# -- what the servers say ------------------------------------------------------------------------

@dataclass
class Server:
    """One server's own words, and where its pod runs."""

    pod: str
    node: str
    zone: str
    info: dict[str, str]
    replication: dict[str, str]
    nodes: list[resp.ClusterNode]
    node_timeout: int
    diskless_delay: int

    @property
    def myself(self) -> resp.ClusterNode:
        return next(n for n in self.nodes if "myself" in n.flags)


def ask_all(lab: Lab) -> list[Server]:
    pods = lab.status()["pods"]
    words: list[tuple[resp.Argument, ...]] = [
        ("CLUSTER", "INFO"), ("INFO", "replication"), ("CLUSTER", "NODES"),
        ("CONFIG", "GET", "cluster-node-timeout"), ("CONFIG", "GET", "repl-diskless-sync-delay")]

    async def ask() -> list[list[Any]]:
        return list(await asyncio.gather(*(resp.pipeline(
            p["ip"], CLIENT_PORT, list(words), 10.0, lab.access) for p in pods)))

    return [Server(pod["name"], pod["node"], pod["zone"], resp.parse_info(r[0]),
                   resp.parse_info(r[1]), list(resp.parse_nodes(r[2])), int(r[3][1]), int(r[4][1]))
            for pod, r in zip(pods, asyncio.run(ask()))]


# -- what must be --------------------------------------------------------------------------------

def require(condition: bool, what: str) -> None:
    if not condition:
        raise AssertionError(what)


def check_views(servers: list[Server], pods: int) -> None:
    """Every server is well, knows the same nodes, and has its own settings again."""
    ids = {s.myself.id for s in servers}
    require(len(servers) == pods and len(ids) == pods, f"{len(servers)} servers, {len(ids)} ids")
    addresses = {n.id: (n.host, n.port) for n in servers[0].nodes}
    for s in servers:
        require(s.info["cluster_state"] == "ok", f"{s.pod}: {s.info}")
        require(s.info["cluster_slots_ok"] == str(resp.SLOTS), f"{s.pod}: {s.info}")
        require({n.id for n in s.nodes} == ids, f"{s.pod} knows other nodes")
        require({n.id: (n.host, n.port) for n in s.nodes} == addresses,
                f"{s.pod} and {servers[0].pod} know other addresses")
        for n in s.nodes:
            require(not n.flags & {"fail", "fail?", "handshake", "noaddr"} and not n.open_slots,
                    f"{s.pod} lists {n}")
        require(s.replication["role"] == "master" or
                s.replication["master_link_status"] == "up", f"{s.pod}: {s.replication}")
        require(s.node_timeout == NODE_TIMEOUT, f"{s.pod}: cluster-node-timeout {s.node_timeout}")
        require(s.diskless_delay == DISKLESS_DELAY,
                f"{s.pod}: repl-diskless-sync-delay {s.diskless_delay}")


def check_shards(servers: list[Server], pods: int, replicas: int) -> dict[str, list[Server]]:
    """All slots once, in every view alike, over floor(pods / (1 + replicas)) even shards."""
    shards: dict[str, list[Server]] = {s.myself.id: [s] for s in servers if s.myself.is_primary}
    require(len(shards) == pods // (1 + replicas), f"{len(shards)} shards")
    for s in servers:
        if not s.myself.is_primary:
            require(s.myself.primary in shards, f"{s.pod} follows no primary")
            shards[s.myself.primary].append(s)
        slots = Counter(slot for n in s.nodes if n.is_primary
                        for first, last in n.slots for slot in range(first, last + 1))
        require(len(slots) == resp.SLOTS and set(slots.values()) == {1},
                f"{s.pod}: {len(slots)} slots, some more than once")
        require({n.id: (n.primary, sorted(n.slots)) for n in s.nodes} ==
                {n.id: (n.primary, sorted(n.slots)) for n in servers[0].nodes},
                f"{s.pod} and {servers[0].pod} see other roles")
    sizes = [len(copies) - 1 for copies in shards.values()]
    require(min(sizes) >= replicas and max(sizes) - min(sizes) <= 1, f"replicas {sizes}")
    counts = [copies[0].myself.slot_count for copies in shards.values()]
    require(max(counts) - min(counts) <= 1, f"slots {counts}")
    return shards


def splits(total: int, most: list[int]) -> Iterable[tuple[int, ...]]:
    """The ways to take `total` things out of places that hold so many."""
    for taken in itertools.product(*(range(min(total, m) + 1) for m in most)):
        if sum(taken) == total:
            yield taken


def can_be_apart(places: list[int], shards: int, replicas: int) -> bool:
    """Whether no replica need be where its primary is, with so many pods in each place."""
    most = replicas + -(-(sum(places) - shards * (1 + replicas)) // shards)
    for primaries in splits(shards, places):
        left = [n - p for n, p in zip(places, primaries)]
        # of each place's replicas, how many follow the primaries of each other place
        ways = [list(splits(n, [0 if i == j else n for j in range(len(places))]))
                for i, n in enumerate(left)]
        for chosen in itertools.product(*ways):
            follow = [sum(way[j] for way in chosen) for j in range(len(places))]
            if all(p * replicas <= f <= p * most for f, p in zip(follow, primaries)):
                return True
    return False


def check_spread(shards: dict[str, list[Server]], place: str, replicas: int) -> None:
    """Where pods are placed so that it can be, no replica is where its primary is."""
    places = Counter(str(getattr(s, place)) for copies in shards.values() for s in copies)
    if not replicas or len(places) < 2 or \
            not can_be_apart(list(places.values()), len(shards), replicas):
        return
    for primary, *others in shards.values():
        require(all(getattr(s, place) != getattr(primary, place) for s in others),
                f"{primary.pod} has a replica in its own {place}")


def survives(shards: dict[str, list[Server]], place: str) -> bool:
    """Whether every loss of one place leaves each shard a copy and a majority of the primaries."""
    for lost in {str(getattr(s, place)) for copies in shards.values() for s in copies}:
        voting = sum(getattr(copies[0], place) != lost for copies in shards.values())
        if voting * 2 <= len(shards) or any(
                all(getattr(s, place) == lost for s in copies) for copies in shards.values()):
            return False
    return True


def check_promises(lab: Lab, row: pairwise.Row, shards: dict[str, list[Server]]) -> None:
    """`muster check`: 0, or 1 for no other reason than a loss that this layout cannot survive."""
    # without Kubernetes nobody says which hosts share a machine: each counts as one of its own
    by_node = "node" if row["discovery"] == "kubernetes" else "pod"
    broken = {"node-loss"} if not survives(shards, by_node) else set()
    if row["zones"] > 1 and not survives(shards, "zone"):
        broken.add("zone-loss")
    end = time.monotonic() + 60
    while True:
        done = lab.muster("muster-1", "check", "--json")
        said = json.loads(done.stdout) if done.returncode in (0, 1) else {}
        if done.returncode == (1 if broken else 0) and broken == {
                p["name"] for p in said["promises"] if p["held"] == "no"}:
            return
        require(time.monotonic() < end,
                f"muster check exits {done.returncode}, expected {broken or 'nothing'} broken: "
                f"{done.stdout} {done.stderr}")
        time.sleep(0.3)


class Room:
    """For so many pods at once; who comes first goes first."""

    def __init__(self, pods: int) -> None:
        self._left = pods
        self._freed = threading.Condition()
        self._door = threading.Lock()        # the next to enter waits here for its room

    @contextlib.contextmanager
    def take(self, pods: int) -> Iterator[None]:
        with self._door, self._freed:
            self._freed.wait_for(lambda: self._left >= pods)
            self._left -= pods
        try:
            yield
        finally:
            with self._freed:
                self._left += pods
                self._freed.notify_all()


def settled(lab: Lab, pods: int) -> list[Server]:
    """All servers, once their views are whole: the last settings are given back as the cluster is formed."""
    end = time.monotonic() + 15
    while True:
        servers = ask_all(lab)
        try:
            check_views(servers, pods)
            return servers
        except AssertionError:
            if time.monotonic() >= end:
                raise
        time.sleep(0.3)


def run_row(row: pairwise.Row, seed: int, room: Room) -> float:
    """Seconds until it was formed; raises when anything is not as it must be."""
    with room.take(row["pods"]), make_lab(row, seed) as lab:
        begin = time.monotonic()
        lab.up(timeout=UP_SECONDS)
        took = time.monotonic() - begin
        servers = settled(lab, row["pods"])
        shards = check_shards(servers, row["pods"], row["replicas"])
        check_spread(shards, "zone", row["replicas"])
        if row["discovery"] == "kubernetes":
            check_spread(shards, "node", row["replicas"])
        check_promises(lab, row, shards)
        return took


def show(row: pairwise.Row) -> str:
    return " ".join(f"{name}={value}" for name, value in row.items())


class Layouts(unittest.TestCase):
    """The judge itself."""

    def test_when_replicas_can_be_apart(self) -> None:
        for places, shards, replicas, possible in (
                ([2, 2, 2], 3, 1, True), ([2, 2, 2], 2, 2, True), ([6], 3, 1, False),
                ([5, 1], 3, 1, False), ([3, 3], 3, 1, True), ([4, 2], 2, 2, True), ([5, 1], 2, 2, False),
                ([3, 2, 2], 3, 1, True), ([10, 10, 10], 10, 2, True)):
            with self.subTest(places=places, shards=shards, replicas=replicas):
                self.assertEqual(can_be_apart(places, shards, replicas), possible)


class Matrix(MusterTestCase):
    timeout = 1500
    only: list[int] = []

    # two cores need as long for the few of thirty pods as for all others
    @on_servers("below", "thirty")
    def test_every_pair_of_circumstances_forms(self, part: str) -> None:
        rows = list(enumerate(matrix()))
        chosen = [(i, row) for i, row in rows
                  if (i in self.only if self.only else (row["pods"] < 30) == (part == "below"))]
        begin, failures, room = time.monotonic(), [], Room(PODS_AT_ONCE)
        with concurrent.futures.ThreadPoolExecutor(int(os.environ.get("MATRIX_JOBS", "3"))) as pool:
            futures = {pool.submit(run_row, row, SEED + i, room): (i, row) for i, row in chosen}
            for future in concurrent.futures.as_completed(futures):
                index, row = futures[future]
                error = future.exception()
                if error is None:
                    print(f"row {index:2} {show(row)}: formed after {future.result():.1f} s",
                          flush=True)
                else:
                    failures.append(f"row {index} {show(row)}: {error}")
                    print(f"FAILED {failures[-1]}", flush=True)
        print(f"{len(chosen)} rows in {time.monotonic() - begin:.0f} s")
        self.assertEqual(failures, [], f"{len(failures)} of {len(chosen)} rows")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--list"]:
        for place, one in enumerate(matrix()):
            print(place, show(one))
        sys.exit(0)
    if sys.argv[1:2] == ["--row"]:
        Matrix.only = [int(word) for word in sys.argv[2:]]
        sys.argv[1:] = ["Matrix"]
    main()
