# SPDX-License-Identifier: Apache-2.0
"""Where the copies of each shard are, and how well hand-overs could spread their primaries; random
faults that pile them up; and what the servers' logs say of each order to hand over.
"""

from __future__ import annotations

import collections
import itertools
import random
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Iterable

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from drain_case import SWIFT, orders  # noqa: E402
from keyed import Cluster  # noqa: E402
from muster_test import Lab, resp, wait_until  # noqa: E402
from votes import Order, denials, find_orders, won_unheld  # noqa: E402

ZONE = "topology.kubernetes.io/zone"
ENFORCE = {"policy.placement": "enforce", "policy.placementMinInterval": 5}
# Faults are denser than in life: else containers would be back after minutes only.
STRUCK = {**SWIFT, **ENFORCE, "policy.crashHandover": "auto", "lab.backoff": 1}
STILL_SECONDS = 25           # twice the quiet time: long enough for a move that should not be
WHOLE_SECONDS = 120
ROLL_SECONDS = 400
ORDER_SECONDS = 6            # an order is won by then, or never (core/action.h)


# -- places

@dataclass
class Seats:
    """The pods of each shard, its primary first, and where each pod is."""

    shards: list[list[str]]
    node: dict[str, str]
    zone: dict[str, str]

    def cost(self, primaries: Iterable[str]) -> tuple[int, ...]:
        """How far these are from DESIGN 5.9's goals, the most important first."""
        half, pods = len(self.shards) // 2, list(primaries)
        loads = [collections.Counter(place[pod] for pod in pods).values()
                 for place in (self.node, self.zone)]
        return (*(sum(max(0, load - half) for load in one) for one in loads),
                *(sum(load * load for load in one) for one in reversed(loads)))

    def today(self) -> list[str]:
        return [shard[0] for shard in self.shards]

    def best(self) -> list[str]:
        """What hand-overs can reach, with the fewest of them: one copy of each shard is its primary."""
        return list(min(itertools.product(*self.shards), key=lambda choice: (
            self.cost(choice), sum(one != now for one, now in zip(choice, self.today())))))

    def is_spread(self) -> bool:
        return self.cost(self.today()) == self.cost(self.best())

    def together(self) -> int:
        """Copies of a shard that share a zone with another one."""
        return sum(len(shard) - len({self.zone[pod] for pod in shard}) for shard in self.shards)

    def majorities(self) -> list[str]:
        """Nodes and zones with more than half of the primaries."""
        return [name for place in (self.node, self.zone) for name, load in
                collections.Counter(place[pod] for pod in self.today()).items()
                if 2 * load > len(self.shards)]

    def held(self) -> list[int]:
        """How many primaries each zone holds that holds any."""
        return sorted(collections.Counter(self.zone[pod] for pod in self.today()).values())


def look(cluster: Cluster) -> Seats:
    """RespError while a server does not answer, and LabError while a pod has no node."""
    lab = cluster.lab
    zones = {one["metadata"]["name"]: one["metadata"]["labels"][ZONE] for one in lab.get("nodes")}
    node = {name: str(pod["node"]) for name, pod in lab.pods().items() if pod["node"]}
    shards = [[primary, *sorted(replicas)] for primary, replicas in sorted(cluster.shards().items())]
    if any(pod not in node for shard in shards for pod in shard):
        raise resp.RespError("a pod has no node yet")
    return Seats(shards, node, {pod: zones[name] for pod, name in node.items()})


def wait_spread(cluster: Cluster, seconds: float, what: str) -> float:
    """Seconds until the primaries are spread as well as hand-overs can spread them."""
    began = time.monotonic()
    wait_until(lambda: look(cluster).is_spread(), seconds, f"{what}: the primaries are spread")
    return time.monotonic() - began


def done(cluster: Cluster) -> tuple[int, int]:
    """What agents have sent, and what servers took for an order."""
    return len(cluster.acts()), orders(cluster.lab)


def wait_still(cluster: Cluster, seconds: float = STILL_SECONDS) -> int:
    """Nothing is done for so long. A role that Redis moved by itself begins the time anew, twice at
    most: how often."""
    for again in range(3):
        before, roles = done(cluster), sorted(cluster.masters())
        time.sleep(seconds)
        if done(cluster) == before:
            return again
        if sorted(cluster.masters()) == roles:
            break
    raise AssertionError(f"an act for nothing: {cluster.acts()[before[0]:]}")


# -- a person

def wait_votes(lab: Lab, node_timeout: int) -> None:
    """Until no server gave a vote for so long that an order does no harm (FACTS 0.3)."""
    seconds = max(4 * node_timeout / 1000, 4.0) + 2

    def votes() -> int:
        return sum(lab.log(pod, "redis").count("Failover auth granted") for pod in lab.pods())
    end, seen, since = time.monotonic() + 10 * seconds, votes(), time.monotonic()
    while time.monotonic() - since < seconds:
        assert time.monotonic() < end, "votes without end"
        time.sleep(0.5)
        if votes() != seen:
            seen, since = votes(), time.monotonic()


def hand_over(cluster: Cluster, heir: str) -> None:
    """CLUSTER FAILOVER by hand."""
    cluster.lab.redis(heir, "CLUSTER", "FAILOVER")
    wait_until(lambda: cluster.role(heir) == "master", 20, f"{heir} takes over", 0.05)


# -- faults

@dataclass
class Fault:
    """One that has struck: when, and how long it took until all was whole again."""

    kind: str
    pods: list[str]
    shards: list[list[str]]      # of which they were
    began: float                 # since the epoch
    seconds: float = 0.0
    lost: int = 0

    def planned(self) -> bool:
        return not self.kind.startswith("kill")


class Faults:
    """Faults drawn from a seed, one after the other in a cluster that is whole."""

    WEIGHTS = {"kill": 3, "kill-both": 2, "delete": 3, "delete-two": 2, "by-hand": 2, "roll": 1}

    def __init__(self, cluster: Cluster, node_timeout: int, seed: int, rolls: bool = True) -> None:
        self.struck: list[Fault] = []
        self.ordered: list[tuple[str, float]] = []       # by hand: whom, when since the epoch
        self.cluster, self._node_timeout = cluster, node_timeout
        self._random = random.Random(seed)
        self._weights = {kind: weight for kind, weight in self.WEIGHTS.items() if rolls or kind != "roll"}

    def strike(self) -> Fault:
        """The next one, and until all is whole again."""
        kind = self._random.choices(list(self._weights), list(self._weights.values()))[0]
        if kind == "by-hand":
            wait_votes(self.cluster.lab, self._node_timeout)
        shards = look(self.cluster).shards
        self._random.shuffle(shards)
        pods = [self._random.choice(shard) for shard in shards[:2]]
        act: Callable[[list[str]], list[str]] = getattr(self, "_" + kind.replace("-", "_"))
        began, start = time.monotonic(), time.time()
        struck = act([*pods, self._random.choice(shards[0][1:])])
        fault = Fault(kind, struck, [one for one in shards if set(one) & set(struck)], start)
        self.cluster.lab.wait("formed", timeout=WHOLE_SECONDS)
        fault.seconds = round(time.monotonic() - began, 1)
        self.struck.append(fault)
        return fault

    def pile(self) -> None:
        """By hand, unless the faults have left something to put right."""
        seats = look(self.cluster)
        if not seats.is_spread():
            return
        wait_votes(self.cluster.lab, self._node_timeout)
        shard = next(shard for shard in seats.shards if seats.cost(
            [shard[1] if one == shard[0] else one for one in seats.today()]) > seats.cost(seats.today()))
        self._by_hand(["", "", shard[1]])

    def pause(self) -> None:
        """Mostly too short for a move, sometimes long enough to be in the midst of one."""
        time.sleep(self._random.choice((self._random.uniform(0, 4), self._random.uniform(0, 4),
                                        self._random.uniform(10, 15))))

    # Each is given pods of two shards, and a replica of the first; the answer is whom it struck.

    def _kill(self, pods: list[str]) -> list[str]:
        self.cluster.lab.kill(pods[0], "redis", wait=False)
        return pods[:1]

    def _kill_both(self, pods: list[str]) -> list[str]:
        """The agent first: it would have the replica take over."""
        for container in ("agent", "redis"):
            self.cluster.lab.kill(pods[0], container, wait=False)
        return pods[:1]

    def _delete(self, pods: list[str]) -> list[str]:
        self.cluster.lab.delete(pods[0], timeout=WHOLE_SECONDS)
        return pods[:1]

    def _delete_two(self, pods: list[str]) -> list[str]:
        self.cluster.lab.delete(*pods[:2], timeout=WHOLE_SECONDS)
        return pods[:2]

    def _by_hand(self, pods: list[str]) -> list[str]:
        self.ordered.append((pods[2], time.time()))
        hand_over(self.cluster, pods[2])
        return pods[2:]

    def _roll(self, _: list[str]) -> list[str]:
        self.cluster.lab.roll(timeout=ROLL_SECONDS)
        return []


# -- orders

def judge_orders(cluster: Cluster, faults: Faults, node_timeout: int) -> dict[str, Any]:
    """What became of the agents' orders, by the servers' logs: `notWon` though nobody killed a process
    of that shard then, `early` for the votes that a server keeps (FACTS 0.3), `refused` by a voter, `unheld`."""
    lab = cluster.lab
    logs = {pod: lab.log(pod, "redis") for pod in sorted(lab.pods())}
    ids = {lab.text(pod, "CLUSTER", "MYID"): pod for pod in logs}
    kills = [fault for fault in faults.struck if not fault.planned()]

    def of_an_agent(pod: str, order: Order) -> bool:
        return not any(pod == heir and abs(order.at - at) < 1 for heir, at in faults.ordered)

    def excused(pod: str, order: Order) -> bool:
        return any(order.at - 1 <= fault.began <= order.at + ORDER_SECONDS and pod in shard
                   for fault in kills for shard in fault.shards)
    found = [(pod, order) for pod, log in logs.items() for order in find_orders(log)]
    mine = [(pod, order) for pod, order in found if of_an_agent(pod, order)]
    least = max(4 * node_timeout / 1000, 4.0)
    refused = [f"{voter} to {pod}, {one.at - order.at:.2f} s after '{order.line}': {one.why}"
               for voter, log in logs.items() for one in denials(log) for pod, order in mine
               if ids.get(one.node) == pod and 0 <= one.at - order.at <= ORDER_SECONDS]
    return {"ordered": len(mine), "forced": sum(order.forced for _, order in mine),
            "won": sum(order.won for _, order in mine), "byHand": len(faults.ordered),
            "notWon": [f"{pod}: {order.line}" for pod, order in mine if not order.won and not excused(pod, order)],
            "notWonBesideKills": sum(not order.won and excused(pod, order) for pod, order in mine),
            "early": [f"{pod}: {order.after:.1f} s: {order.line}" for pod, order in mine if order.after < least],
            "refused": refused,
            "unheld": [f"{pod}: {line}" for pod, log in logs.items() for line in won_unheld(log)]}


def find_broken(told: dict[str, Any], server: str) -> list[str]:
    """What must not be: Valkey keeps no votes, and a minority may not have heard yet whom the heir
    follows (DESIGN 5.5, rules 1 and 3)."""
    return [*told["notWon"], *told["unheld"], *(told["early"] if server.startswith("redis") else []),
            *(line for line in told["refused"] if not line.endswith("it is a master node"))]


def of_kind(faults: Iterable[Fault]) -> dict[str, dict[str, Any]]:
    """How many of each kind, what they lost, and how long they took at most until all was whole."""
    result: dict[str, dict[str, Any]] = {}
    for fault in sorted(faults, key=lambda one: one.kind):
        one = result.setdefault(fault.kind, {"count": 0, "lost": 0, "longestSeconds": 0.0})
        one["count"] += 1
        one["lost"] += fault.lost
        one["longestSeconds"] = max(one["longestSeconds"], fault.seconds)
    return result
