#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A pod deleted by force whose process lives on, as on a node without a kubelet (FAULTS B9)."""

from __future__ import annotations

import socket
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from keyed import Cluster  # noqa: E402
from muster_test import CLIENT_PORT, Lab, LabError, MusterTestCase, main, resp  # noqa: E402
from old_process import OldProcess  # noqa: E402

NODE_TIMEOUT = 3000
NAMED = "node {} still answers at {}, which is no pod's"
MUTE = "most servers are connected to node {} at {}, which is no pod's, and a server that wants a password"
TAKEN = 20                   # writes that the old process acknowledges while the new pod waits
CALM_SECONDS = 4             # longer than a silence that is taken for its end


def listens(address: str) -> bool:
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex((address, CLIENT_PORT)) == 0


class Twin(MusterTestCase):
    timeout = 200

    def test_the_old_process_lives_on(self) -> None:
        self.at_once(self.one, ("redis-7.0", False), ("valkey-9", True))

    def one(self, case: tuple[str, bool]) -> None:
        server, auth = case
        with Lab(pods=6, server=server, auth=auth, node_timeout=NODE_TIMEOUT,
                 settings={"kubernetes.leaseSeconds": 3}) as lab:
            lab.up()
            cluster = Cluster(lab)
            cluster.write()
            self.wait_until(lambda: len(cluster.primaries()) == 3, 40, "replicas in sync")
            pod, (replica,) = next(iter(cluster.shards().items()))
            key, address = cluster.key_at(pod), lab.address(pod)
            lab.hold(pod)
            lab.delete(pod, grace=0, wait=False)
            self.wait_until(lambda: self.is_gone(lab, pod), 10, "the pod is gone")
            self.wait_until(lambda: not listens(address), 20, "its server is gone")
            with OldProcess(lab, pod, address, server, auth, NODE_TIMEOUT).start() as old:
                self.wait_until(lambda: old.writes(key, "first"), 20, "the old process takes writes")
                lab.release(pod)
                wanted = (MUTE if auth else NAMED).format(old.ask("CLUSTER", "MYID")[:8].decode(),
                                                          address)
                self.is_held(cluster, pod, address, wanted)
                for number in range(TAKEN):
                    self.wait_until(lambda: old.writes(f"{key}:{number}", "taken"), 5, "a write")
                offset = self.offset(old.ask("INFO", "replication"), "master_repl_offset")
                self.wait_until(lambda: self.offset(lab.redis(replica, "INFO", "replication"),
                                                    "slave_repl_offset") >= offset, 20,
                                "its replica has them")
            begin = time.monotonic()
            self.wait_until(lambda: cluster.role(pod) == "slave", 90, "it follows its heir")
            lab.wait("formed", timeout=60)
            took = time.monotonic() - begin
            self.assertEqual(cluster.role(replica), "master")
            self.assertEqual(cluster.lost(), 0)
            lost = sum(lab.redis(replica, "GET", f"{key}:{number}") != b"taken"
                       for number in range(TAKEN))
            self.assertEqual(lost, 0, "what the old process acknowledged")
            print(f"{server}{' with a password' if auth else ''}: whole {took:.1f} s after the old process "
                  f"ended, {lost} of its writes lost")

    def is_gone(self, lab: Lab, pod: str) -> bool:
        try:
            lab.address(pod)
        except LabError:
            return True
        return False

    def offset(self, info: bytes, key: str) -> int:
        return int(resp.parse_info(info)[key])

    def is_held(self, cluster: Cluster, pod: str, address: str, wanted: str) -> None:
        lab = cluster.lab
        self.wait_until(lambda: wanted in lab.log(pod), 30, "the gate says why it waits")
        time.sleep(CALM_SECONDS)
        self.assertEqual(cluster.role(pod), "none", "it has not started beside it")
        self.wait_until(lambda: address in lab.muster(pod, "gate", "list").stdout, 20,
                        "so does `muster gate list`")
        self.wait_until(lambda: any(event["reason"] == "ServerHeld" and address in event["message"]
                                    for event in lab.get("events")), 20, "an Event says so, too")


if __name__ == "__main__":
    main()
