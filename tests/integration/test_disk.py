#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Servers that load for long, save for long, are full in memory or on disk: they are not dead, and whom
they hand over to has everything (FAULTS C3-C7, C9).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from cut_case import CALM_SECONDS, NODE_TIMEOUT, CutTestCase  # noqa: E402
from keyed import Cluster, Pulse  # noqa: E402
from muster_test import Lab, main, on_servers, resp  # noqa: E402

MANY = 6000                  # keys; a millisecond each to load: three times NODE_TIMEOUT
# While it loads it looks after its connections all the time, as it would amid a large file.
SETTINGS = {"kubernetes.leaseSeconds": 3, "lab.backoff": 1.0, "lab.serverArgs":
            "--repl-diskless-sync-delay 0 --key-load-delay 1000 "
            "--loading-process-events-interval-bytes 1024"}
DISK = "4m"
GRACE = 20                   # a server that cannot save does not end before


class Disk:
    """A pod's volume becomes a small disk of its own, while the pod is away. A context."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._filler = path / "filler"

    def __enter__(self) -> "Disk":
        with tempfile.TemporaryDirectory(prefix="mlt-disk-", dir="/tmp") as kept:
            shutil.copytree(self.path, kept, dirs_exist_ok=True)
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", self.path], check=True)
            shutil.copytree(kept, self.path, dirs_exist_ok=True)
        return self

    def __exit__(self, *_: Any) -> None:
        # the servers may still run in it
        subprocess.run(["umount", "--lazy", self.path], check=True)

    def fill(self) -> None:
        with open(self._filler, "wb", buffering=0) as file:
            for size in (65536, 4096, 1):
                try:
                    while True:
                        file.write(bytes(size))
                except OSError:
                    pass

    def free(self) -> None:
        self._filler.unlink()

    def write_protect(self, on: bool) -> None:
        subprocess.run(["mount", "-o", f"remount,{'ro' if on else 'rw'}", self.path], check=True)


class Volumes(CutTestCase):
    @on_servers("redis-7.0", "valkey-9", first=0)
    def test_slow_and_full_is_not_dead(self, server: str) -> None:
        with Lab(pods=6, server=server, node_timeout=NODE_TIMEOUT, persistence="rdb",
                 settings=SETTINGS) as lab:
            cluster = self.formed(lab)
            cluster.write()
            for step in (self.loads, self.syncs, self.memory, self.on_a_full_disk):
                self.in_sync(cluster)
                print(f"{server}: {step(cluster)}")
                self.whole(lab)
                self.assertEqual(cluster.lost(), 0)

    def filled(self, cluster: Cluster, pod: str) -> str:
        """Many keys in one of its slots; their name."""
        key = cluster.key_at(pod)
        words = [word for number in range(MANY) for word in (f"{key}:{number}", "x")]
        cluster.lab.redis(pod, "MSET", *words)
        return key

    def emptied(self, cluster: Cluster, pod: str, key: str) -> int:
        """Deletes them again; how many were there."""
        return int(cluster.lab.redis(pod, "DEL", *(f"{key}:{number}" for number in range(MANY))))

    def persistence(self, lab: Lab, pod: str) -> dict[str, str]:
        return resp.parse_info(lab.redis(pod, "INFO", "persistence"))

    def ids(self, lab: Lab) -> dict[str, str]:
        return {pod: lab.text(pod, "CLUSTER", "MYID") for pod in lab.pods()}

    # -- C6, C4

    def loads(self, cluster: Cluster) -> str:
        """
        After what the kernel does when memory is short: a signal that nobody can catch. While nothing
        listens its slots may be handed over, which depends on the machine; while it loads they may not.
        """
        lab, before, ids = cluster.lab, cluster.acts(), self.ids(cluster.lab)
        shards, restarts = cluster.shards(), self.restarts(cluster.lab)
        pod = sorted(shards)[0]
        key = self.filled(cluster, pod)
        lab.redis(pod, "SAVE", timeout=30)
        with Pulse(cluster, shards) as pulse:
            began = time.monotonic()
            lab.kill(pod, "redis", 9, wait=False)
            self.wait_until(lambda: self.persistence(lab, pod)["loading"] == "1", 30, "it loads", 0.05)
            crash = self.acts_since(cluster, before)
            self.wait_until(lambda: self.persistence(lab, pod)["loading"] == "0", 60, "it has loaded",
                            0.05)
            took = time.monotonic() - began
            self.whole(lab)
            whole = time.monotonic() - began
        restarts[pod]["redis"] += 1
        self.assertEqual(self.restarts(lab), restarts)
        self.assertEqual(self.acts_since(cluster, before), crash)
        self.assertEqual(crash, [act for act in crash if "CLUSTER FAILOVER FORCE" in act][:1])
        self.assertEqual(self.ids(lab), ids)
        self.assertGreater(took, MANY / 1000)
        owner = next(p for p in (pod, *shards[pod]) if cluster.role(p) == "master")
        self.assertEqual(self.emptied(cluster, owner, key), MANY)
        return (f"C6, C4 {pod} killed ({len(crash)} hand-overs), and loading for {took:.1f} s: acts 0, "
                f"restarts 1, ids kept, {owner} is the primary; longest without a write "
                f"{pulse.longest[pod]:.1f} s; whole after {whole:.1f} s")

    # -- C5

    def syncs(self, cluster: Cluster) -> str:
        """A new replica is neither ready nor taken before it has everything."""
        lab, shards = cluster.lab, cluster.shards()
        pod = sorted(shards)[1]
        (replica,) = shards[pod]
        key = self.filled(cluster, pod)
        lab.redis(pod, "CONFIG", "SET", "rdb-key-save-delay", "1000")
        began = time.monotonic()
        lab.lose_volume(replica, wait=False)
        self.wait_until(lambda: self.link(lab, replica) == "down", 60, "it begins", 0.05)
        drains, told = time.monotonic(), lab.log(pod).count("event=drained ")
        lab.delete(pod, wait=False)
        self.assertEqual(self.ready_unsynced(lab, replica), 0)
        took = time.monotonic() - began
        self.assertRegex(self.ends(lab, pod, told, 60), rf"{pod} handed its \d+ slots over to {replica}")
        drains = time.monotonic() - drains
        self.assertGreater(took, MANY / 1000)
        self.whole(lab)
        self.assertEqual(cluster.role(replica), "master")
        self.assertEqual(self.emptied(cluster, replica, key), MANY)
        return (f"C5 {replica} took {took:.1f} s to be in sync: not ready before, and {pod}, which was "
                f"to stop, waited {drains:.1f} s for it; {MANY} keys of {MANY} there")

    def link(self, lab: Lab, pod: str) -> str:
        """Of a replica; "" while nobody answers."""
        try:
            told = resp.parse_info(lab.redis(pod, "INFO", "replication"))
        except (AssertionError, resp.RespError):
            return ""
        return told.get("master_link_status", "up" if told["role"] == "master" else "")

    def ready_unsynced(self, lab: Lab, pod: str) -> int:
        """Until it is ready: how often it was so without being in sync."""
        wrong = 0

        def ready() -> bool:
            nonlocal wrong
            is_ready = bool(lab.pods()[pod]["ready"])
            wrong += is_ready and self.link(lab, pod) == "down"
            return is_ready
        self.wait_until(ready, 60, f"{pod} is ready", 0.05)
        return wrong

    # -- C3

    def memory(self, cluster: Cluster) -> str:
        """Every write is refused; what the agent orders is none."""
        lab, shards = cluster.lab, cluster.shards()
        pod = sorted(shards)[2]
        (heir,) = shards[pod]
        key = cluster.key_at(pod)
        lab.redis(pod, "CONFIG", "SET", "maxmemory", "1")
        with self.assertRaisesRegex(resp.RespError, "OOM"):
            lab.redis(pod, "SET", key, "x")
        time.sleep(CALM_SECONDS)
        self.assertEqual(cluster.shards(), shards, "no role moved")
        took = self.hands_over(lab, pod, heir)
        return f"C3 {pod} refuses every write, {took:.1f} s until it has handed over"

    def hands_over(self, lab: Lab, pod: str, heir: str) -> float:
        """Its pod is deleted; what becomes of it after that is the caller's."""
        began, before = time.monotonic(), lab.log(pod).count("event=drained ")
        lab.delete(pod, grace=GRACE, wait=False)
        self.assertRegex(self.ends(lab, pod, before, GRACE), rf"{pod} handed its \d+ slots over to {heir}")
        return time.monotonic() - began

    # -- C7, C9

    def on_a_full_disk(self, cluster: Cluster) -> str:
        lab, shards = cluster.lab, cluster.shards()
        pod, (heir,) = sorted(shards.items())[0]
        lab.hold(heir)
        lab.delete(heir, wait=False)
        self.wait_until(lambda: not lab.pods()[heir]["ip"], 30, f"{heir} is away")
        with Disk(lab.state / "pods" / heir / "data") as disk:
            lab.release(heir)
            self.whole(lab)
            self.hands_over(lab, pod, heir)
            self.whole(lab)
            told = [self.no_space(cluster, disk, heir, pod), self.protected(cluster, disk, heir)]
        return "; ".join(told)

    def no_space(self, cluster: Cluster, disk: Disk, pod: str, heir: str) -> str:
        """Its snapshot fails and it takes no more writes: one hand-over at most, and no other."""
        lab = cluster.lab
        shards, before, key = self.in_sync(cluster), cluster.acts(), cluster.key_at(pod)
        # a server that cannot write into nodes.conf what has changed in the cluster ends
        self.wait_until(lambda: time.time() - (disk.path / "nodes.conf").stat().st_mtime > CALM_SECONDS,
                        60, "nothing has changed")
        disk.fill()
        lab.redis(pod, "BGSAVE")
        self.wait_until(lambda: self.persistence(lab, pod)["rdb_last_bgsave_status"] == "err", 30,
                        "the snapshot fails")
        with self.assertRaisesRegex(resp.RespError, "MISCONF"):
            lab.redis(pod, "SET", key, "x")
        leader, said = self.leader(lab, list(lab.pods())), f"the last snapshot of {pod} failed"
        self.wait_until(lambda: said in lab.muster(leader, "check").stdout, 20, f"check says {said}")
        time.sleep(CALM_SECONDS)
        self.assertEqual(cluster.shards(), shards, "no role moved")
        self.assertEqual(self.acts_since(cluster, before), [])
        # it may end now, which nobody tells: that it is a replica is such a change
        began = time.monotonic()
        lab.delete(pod, grace=GRACE, wait=False)
        self.wait_until(lambda: cluster.role(heir) == "master", GRACE, f"{heir} is the primary", 0.05)
        took = time.monotonic() - began
        time.sleep(CALM_SECONDS)
        self.assertEqual(cluster.role(heir), "master")
        orders = self.orders(cluster, before)
        self.assertEqual(len(orders), 1, orders)
        disk.free()
        self.whole(lab)
        self.assertEqual(cluster.role(heir), "master")
        return (f"C7 the disk of {pod} is full: said by check, failovers 0 by itself, handed over in "
                f"{took:.1f} s when it was to stop, failovers 1")

    def protected(self, cluster: Cluster, disk: Disk, pod: str) -> str:
        """A replica's volume cannot be written when it starts again."""
        lab, before = cluster.lab, cluster.acts()
        at = len(lab.log(pod, "redis"))
        lab.hold(pod)
        lab.delete(pod, wait=False)
        self.wait_until(lambda: not lab.pods()[pod]["ip"], 30, f"{pod} is away")
        disk.write_protect(True)
        lab.release(pod)
        self.wait_until(lambda: "ead-only file system" in lab.log(pod, "redis")[at:], 30,
                        "it is said that it cannot be written")
        disk.write_protect(False)
        self.whole(lab)
        self.assertEqual(self.orders(cluster, before), [])
        return "C9 a volume that cannot be written: said, orders 0"

    def orders(self, cluster: Cluster, before: list[str]) -> list[str]:
        """What was done but to introduce a pod that has another address."""
        return [act for act in self.acts_since(cluster, before) if "CLUSTER MEET" not in act]


if __name__ == "__main__":
    main()
