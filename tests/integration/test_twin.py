#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A pod deleted by force whose process lives on, as on a node without a kubelet (FAULTS B9)."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from keyed import Cluster  # noqa: E402
from muster_test import Lab, LabError, MusterTestCase, main, resp  # noqa: E402

from config import server_program  # noqa: E402

NODE_TIMEOUT = 3000
TAKEN = 20                   # writes that the old process acknowledges while the new pod waits
CALM_SECONDS = 4             # longer than a silence that is taken for its end


class OldProcess:
    """What goes on at a pod's address after the pod: a server of the same node with the same data."""

    def __init__(self, address: str, server: str, data: Path, timeout: int) -> None:
        self.address = address
        self.directory = tempfile.mkdtemp(prefix="muster-twin-", dir="/tmp")
        shutil.copytree(data, self.directory, dirs_exist_ok=True)
        self.process = subprocess.Popen(
            [server_program(server), "--port", "6379", "--bind", address, "--bind-source-addr",
             address, "--protected-mode", "no", "--cluster-enabled", "yes", "--dir", self.directory,
             "--save", "", "--appendonly", "yes", "--cluster-announce-ip", address,
             "--cluster-node-timeout", str(timeout)], stdout=subprocess.DEVNULL)

    def __enter__(self) -> "OldProcess":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def writes(self, key: str, value: str) -> bool:
        try:
            return bool(resp.command(self.address, "SET", key, value, timeout=1) == "OK")
        except (OSError, resp.RespError):
            return False

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


class Twin(MusterTestCase):
    timeout = 200

    def test_the_old_process_lives_on(self) -> None:
        self.at_once(self.one, "redis-7.0", "valkey-9")

    def one(self, server: str) -> None:
        with Lab(pods=6, server=server, node_timeout=NODE_TIMEOUT,
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
            with OldProcess(address, server, lab.state / "pods" / pod / "data",
                            NODE_TIMEOUT) as old:
                self.wait_until(lambda: old.writes(key, "first"), 20, "the old process takes writes")
                lab.release(pod)
                self.is_held(cluster, pod, address)
                for number in range(TAKEN):
                    self.wait_until(lambda: old.writes(f"{key}:{number}", "taken"), 5, "a write")
                self.assertEqual(resp.command(address, "WAIT", 1, 5000, timeout=10), 1,
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
            print(f"{server}: whole {took:.1f} s after the old process ended, {lost} of its writes lost")

    def is_gone(self, lab: Lab, pod: str) -> bool:
        try:
            lab.address(pod)
        except LabError:
            return True
        return False

    def is_held(self, cluster: Cluster, pod: str, address: str) -> None:
        lab = cluster.lab
        self.wait_until(lambda: f" still answers at {address}, which is no pod's" in lab.log(pod),
                        30, "the gate says why it waits")
        time.sleep(CALM_SECONDS)
        self.assertEqual(cluster.role(pod), "none", "it has not started beside it")
        self.wait_until(lambda: address in lab.muster(pod, "gate", "list").stdout, 20,
                        "so does `muster gate list`")
        self.wait_until(lambda: any(event["reason"] == "ServerHeld" and address in event["message"]
                                    for event in lab.get("events")), 20, "an Event says so, too")


if __name__ == "__main__":
    main()
