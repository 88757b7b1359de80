#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What people and races leave behind in a cluster is put right: FAULTS C14, C15, C16, NOTES' limbo."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from muster_test import Lab, MusterTestCase, main, on_servers, resp  # noqa: E402


@on_servers("redis-7.0", "valkey-9")
class Healing(MusterTestCase):
    """One cluster of eight, which every case leaves whole again."""

    timeout = 240
    server: str
    lab: Lab
    addresses: dict[str, str]

    @classmethod
    def setUpClass(cls) -> None:
        # a handshake that leads nowhere lasts as long as the node timeout
        cls.lab = Lab(pods=8, server=cls.server, node_timeout=5000)
        cls.addClassCleanup(cls.lab.down)
        cls.lab.up()
        cls.addresses = {name: pod["ip"] for name, pod in cls.lab.pods().items()}

    def call(self, pod: str, *words: resp.Argument) -> Any:
        return resp.command(self.addresses[pod], *words)

    def nodes(self, pod: str) -> dict[str, resp.ClusterNode]:
        return {node.id: node for node in resp.parse_nodes(self.call(pod, "CLUSTER", "NODES"))}

    def myself(self, pod: str) -> resp.ClusterNode:
        return next(node for node in self.nodes(pod).values() if "myself" in node.flags)

    def ids(self) -> dict[str, str]:
        return {pod: resp.text(self.call(pod, "CLUSTER", "MYID")) for pod in self.addresses}

    def agents(self, verb: str) -> None:
        for pod in self.addresses:
            getattr(self.lab, verb)(pod, "agent")

    def whole(self, ids: dict[str, str]) -> None:
        begin = time.monotonic()
        self.lab.wait("formed", timeout=60)
        print(f"{self.server}: whole {time.monotonic() - begin:.1f} s later", end=" ")
        # On valkey 9 the news that a node was forgotten may come once more after it is back.
        for pod in self.addresses:
            self.wait_until(lambda p=pod: set(self.nodes(p)) == set(ids.values()), 20,
                            f"{pod} knows all members and nobody else")

    def empty_primary(self, pod: str, ids: dict[str, str]) -> None:
        """A replica becomes a primary without slots, which everyone knows."""
        self.call(pod, "CLUSTER", "RESET", "SOFT")

        def knows(other: str) -> bool:
            node = self.nodes(other).get(ids[pod])
            return node is not None and node.is_primary and "handshake" not in node.flags

        def introduced() -> bool:
            # Again for who has lost it meanwhile: on Valkey 9 the news that another test had it
            # forgotten may come once more, and bans it from the gossip for a minute.
            strangers = [other for other in ids if not knows(other)]
            for other in strangers:
                if other != pod:
                    self.call(other, "CLUSTER", "MEET", self.addresses[pod], 6379)
            return not strangers
        self.wait_until(introduced, 60, f"everyone knows {pod} as a primary", period=3)

    def test_a_chain_of_replicas_is_flattened(self) -> None:
        """C16. Redis 7.0 and 8.0 leave it so for ever; Valkey 8.1 and 9 mend it themselves."""
        lab, ids = self.lab, self.ids()
        replicas = [pod for pod in ids if not self.myself(pod).is_primary]
        middle, end = replicas[-1], replicas[-2]
        top = next(pod for pod in ids if self.myself(pod).slots)
        before = {pod: self.myself(pod).primary for pod in (middle, end)}
        flattens = self.server == "valkey-9"
        self.agents("pause")
        try:
            self.empty_primary(middle, ids)
            self.call(end, "CLUSTER", "REPLICATE", ids[middle])
            self.wait_until(lambda: all(self.nodes(p)[ids[end]].primary == ids[middle]
                                        for p in ids), 30, "everyone knows the follower")
            self.call(middle, "CLUSTER", "REPLICATE", ids[top])
            if flattens:
                self.wait_until(lambda: self.myself(end).primary == ids[top], 20, "it mends itself")
            else:
                time.sleep(2)
                self.assertEqual(self.myself(end).primary, ids[middle])
        finally:
            self.agents("resume")
        self.wait_until(lambda: self.myself(end).primary == ids[top], 40, "it follows the primary")
        self.assertEqual("which is a replica itself: pointing it to" in
                         "".join(lab.log(pod) for pod in ids), not flattens)
        for pod, primary in before.items():     # their own shards have no other replica
            self.call(pod, "CLUSTER", "REPLICATE", primary)
        self.whole(ids)

    def test_an_empty_primary_gets_a_shard(self) -> None:
        ids = self.ids()
        pod = next(p for p in reversed(list(ids)) if not self.myself(p).is_primary)
        self.agents("pause")
        try:
            self.empty_primary(pod, ids)
        finally:
            self.agents("resume")
        self.wait_until(lambda: not self.myself(pod).is_primary, 40, "it follows a primary again")
        self.whole(ids)

    def test_a_server_that_was_reset_is_met_again(self) -> None:
        """It knows nobody, and everybody thinks it fails: the same id, at the same address."""
        ids = self.ids()
        pod = next(p for p in reversed(list(ids)) if not self.myself(p).is_primary)
        self.call(pod, "CLUSTER", "RESET", "SOFT")
        self.wait_until(lambda: len(self.nodes(pod)) == len(ids) and
                        not self.myself(pod).is_primary, 60, "it is back in the cluster")
        self.whole(ids)

    def test_a_handshake_that_leads_nowhere_ends(self) -> None:
        """Somebody met an address where nobody is; nobody is harmed, and nothing stays of it."""
        lab, ids = self.lab, self.ids()
        self.call("muster-1", "CLUSTER", "MEET", "127.0.0.1", 6399)
        lab.wait("formed", timeout=60)
        self.wait_until(lambda: set(self.nodes("muster-1")) == set(ids.values()), 40,
                        "the handshake is given up")
        self.whole(ids)

    def test_a_forgotten_member_that_lives_is_met_again(self) -> None:
        """C14's other half: who belongs comes back, though somebody banned it for a minute."""
        ids = self.ids()
        pod = next(p for p in reversed(list(ids)) if not self.myself(p).is_primary)
        for other in ids:
            if other != pod:
                self.call(other, "CLUSTER", "FORGET", ids[pod])
        self.wait_until(lambda: all(set(self.nodes(p)) == set(ids.values()) for p in ids), 60,
                        "everyone knows it again")
        self.whole(ids)
        if self.server == "redis-7.0":    # valkey 9 introduces it by itself
            self.wait_until(lambda: any(event["reason"] == "NodesIntroduced"
                                        for event in self.lab.get("events")), 20, "an Event tells it")

    def test_equal_config_epochs_are_told_apart(self) -> None:
        """C15: Redis's own work, which nothing of ours disturbs."""
        ids = self.ids()
        owners = [pod for pod in ids if self.myself(pod).slots]
        self.call(owners[0], "CLUSTER", "BUMPEPOCH")
        self.call(owners[1], "CLUSTER", "BUMPEPOCH")

        def apart() -> bool:
            return len({self.myself(pod).epoch for pod in owners}) == len(owners)
        self.wait_until(apart, 60, "every primary has an epoch of its own")
        self.whole(ids)


if __name__ == "__main__":
    main()
