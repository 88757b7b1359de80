#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Links that break, agents that die, a shard that is down: a running cluster is left alone, and is
whole again when it is over. FAULTS B13, C12, C18, D10, and all of it without DNS: D11.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from keyed import Cluster, Pulse  # noqa: E402
from muster_test import Lab, LabError, MusterTestCase, main, on_servers, resp  # noqa: E402

PODS = 7                     # three shards, one of them with two replicas
NODE_TIMEOUT = 2000
AGENT_KILLS = 20
LINK_BREAKS = 100
BULK = "x" * 16384
HARMFUL = ("FORGET", "FAILOVER", "REPLICATE", "RESET", "ADDSLOTS", "DELSLOTS", "SETSLOT")


class NoNames:
    """A name server that knows no name and counts who asks. What runs `under` it has no other."""

    def __init__(self) -> None:
        self.questions = 0
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for last in range(1, 255):           # below the labs' addresses
            try:
                self._socket.bind((f"127.19.0.{last}", 53))
                break
            except OSError:
                continue
        self._file = tempfile.NamedTemporaryFile("w", prefix="mlt-resolv-")
        self._file.write(f"nameserver {self._socket.getsockname()[0]}\n")
        self._file.flush()
        # / need not be a mount point (a chroot has none there); then the mounts are nobody else's
        self.under = ["unshare", "--mount", "--propagation", "unchanged", "--", "sh", "-c",
                      "mount --make-rprivate / 2>/dev/null; "
                      f'mount --bind {self._file.name} /etc/resolv.conf && exec "$@"', "sh"]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                query, client = self._socket.recvfrom(512)
            except OSError:
                return
            self.questions += 1
            self._socket.sendto(query[:2] + b"\x81\x83" + query[4:6] + bytes(6) + query[12:], client)

    def __enter__(self) -> "NoNames":
        return self

    def __exit__(self, *_: Any) -> None:
        self._socket.close()
        self._file.close()


def info(lab: Lab, pod: str, section: str) -> dict[str, str]:
    return resp.parse_info(lab.redis(pod, "INFO", section))


def link(lab: Lab, primary: str, replica: str) -> str:
    """The replica's connection at its primary; "" while there is none."""
    for line in lab.text(primary, "CLIENT", "LIST", "TYPE", "replica").splitlines():
        words = dict(word.partition("=")[::2] for word in line.split())
        if words["addr"].rpartition(":")[0] == lab.address(replica):
            return words["addr"]
    return ""


class Links(MusterTestCase):
    timeout = 700

    @on_servers("redis-7.0", "valkey-9")
    def test_the_cluster_is_left_alone_and_whole_again(self, server: str) -> None:
        with NoNames() as names:
            asked = subprocess.run([*names.under, "getent", "hosts", "muster.lab"], check=False,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            self.assertEqual(names.questions > 0, asked.returncode == 2, asked.stderr)
            questions = names.questions
            with Lab(pods=PODS, server=server, node_timeout=NODE_TIMEOUT, under=names.under,
                     settings={"kubernetes.leaseSeconds": 3, "lab.backoff": 0,
                               "lab.serverArgs": "--repl-diskless-sync-delay 0"}) as lab:
                lab.up()
                cluster = Cluster(lab)
                cluster.write()
                for step in (self.agents_die, self.links_break, self.a_shard_is_down,
                             self.replicas_are_cut_off):
                    self.wait_until(lambda: len(cluster.primaries()) == 3, 40, "replicas in sync")
                    begin = time.monotonic()
                    told = step(cluster)
                    lost = cluster.lost()
                    print(f"{server}: {told}; {lost} keys lost, {time.monotonic() - begin:.1f} s "
                          "in all")
                    self.assertEqual(lost, 0)
            print(f"{server}: D11 {names.questions - questions} questions to the name server")
            self.assertEqual(names.questions, questions, "somebody depends on DNS")

    def whole_again(self, cluster: Cluster, before: list[str]) -> float:
        """Seconds until it is. What the agents did meanwhile was to introduce servers, at most."""
        begin = time.monotonic()
        cluster.lab.wait("formed", timeout=60)
        took = time.monotonic() - begin
        acts = [act for act in cluster.acts() if act not in before]
        self.assertEqual([act for act in acts if any(word in act for word in HARMFUL)], [])
        return took

    # -- B13

    def agents_die(self, cluster: Cluster) -> str:
        """Those of all primaries, again and again, at many moments of their start."""
        lab, before, shards = cluster.lab, cluster.acts(), cluster.shards()
        runs = {pod: info(lab, pod, "server")["run_id"] for pod in shards}
        with Pulse(cluster, shards) as pulse:
            for number in range(AGENT_KILLS):
                time.sleep(0.02 * number)
                for pod in shards:
                    self.wait_until(lambda: lab.ask("kill", pod=pod, container="agent", signal=9,
                                                    wait=False) is None, 20, f"agent of {pod} dies")
                    # on a loaded machine the next one may hit the same process
                    self.wait_until(lambda: lab.pods()[pod]["restarts"]["agent"] > number, 20,
                                    f"agent of {pod} starts again")
        took = self.whole_again(cluster, before)
        self.wait_until(lambda: not lab.muster("muster-0", "check").returncode, 30, "check exits 0")
        pods = lab.pods()
        for pod, run in runs.items():
            self.assertEqual(pods[pod]["restarts"], {"redis": 0, "agent": AGENT_KILLS}, pod)
            self.assertEqual(info(lab, pod, "server")["run_id"], run, pod)
        self.assertEqual(cluster.shards().keys(), shards.keys(), "no role moved")
        self.assertEqual(sum(pulse.refused.values()), 0)
        return (f"B13 the primaries' agents killed {AGENT_KILLS} times: longest without a write "
                f"{1000 * max(pulse.longest.values()):.0f} ms, whole after {took:.1f} s")

    # -- C12

    def links_break(self, cluster: Cluster) -> str:
        """One of two replicas loses its link all the time; then it is behind, and is not elected."""
        lab, before = cluster.lab, cluster.acts()
        primary, (broken, good) = next((p, r) for p, r in cluster.shards().items() if len(r) == 2)
        begin = time.monotonic()
        for _ in range(LINK_BREAKS):
            at = self.wait_until(lambda: link(lab, primary, broken), 20, "there is a link",
                                 period=0.01)
            lab.redis(primary, "CLIENT", "KILL", "ADDR", at)
        took = time.monotonic() - begin
        self.wait_until(lambda: info(lab, broken, "replication")["master_link_status"] == "up", 20,
                        "the link is back")
        self.assertEqual(cluster.acts(), before, "the agents let it be")

        key = self.leave_behind(cluster, primary, broken)
        offsets = [int(info(lab, pod, "replication")["slave_repl_offset"])
                   for pod in (broken, good)]
        self.assertLess(*offsets)
        lab.pause(primary, "redis")
        self.wait_until(lambda: "master" in (cluster.role(broken), cluster.role(good)), 40,
                        "a replica is elected")
        self.assertEqual(cluster.role(good), "master", "the wrong one was picked")
        missing = sum(lab.redis(good, "GET", f"{key}:{n}") is None for n in range(50))
        self.assertEqual(missing, 0, "acknowledged by a replica, and lost")
        lab.resume(primary, "redis", wait=False)
        whole = self.whole_again(cluster, before)
        lab.redis(primary, "CONFIG", "SET", "repl-diskless-sync-delay", 0)
        return (f"C12 a link broken {LINK_BREAKS} times in {took:.1f} s, then behind by "
                f"{offsets[1] - offsets[0]} bytes: wrong picks 0, whole after {whole:.1f} s")

    def leave_behind(self, cluster: Cluster, primary: str, broken: str) -> str:
        """It needs a full synchronization, which does not begin; the other one has it all."""
        lab, key = cluster.lab, cluster.key_at(primary)
        lab.redis(primary, "CONFIG", "SET", "repl-diskless-sync-delay", 120, "repl-backlog-size",
                  len(BULK))
        with resp.Client(lab.address(primary)) as client:
            client.call("MULTI")
            client.call("CLIENT", "KILL", "ADDR", link(lab, primary, broken))
            for number in range(100):
                client.call("SET", f"{key}:{number % 50}", BULK)
            client.call("EXEC")
            self.wait_until(lambda: client.call("WAIT", 1, 500) == 1, 20, "the other one has it")
        return key

    # -- C18

    def a_shard_is_down(self, cluster: Cluster) -> str:
        """Both of its pods are frozen; a pod of another shard comes back elsewhere meanwhile."""
        told = [self.with_coverage(cluster, wanted) for wanted in ("no", "yes")]
        return "C18 a shard down, " + "; ".join(told)

    def with_coverage(self, cluster: Cluster, wanted: str) -> str:
        lab, before, shards = cluster.lab, cluster.acts(), cluster.shards()
        for pod in lab.pods():
            lab.redis(pod, "CONFIG", "SET", "cluster-require-full-coverage", wanted)
        down = next(p for p, replicas in shards.items() if len(replicas) == 1)
        others = [p for p in shards if p != down]
        moved = shards[others[0]][0]
        state = "cluster_state:" + ("fail" if wanted == "yes" else "ok")
        with Pulse(cluster, others) as pulse:
            for pod in (down, *shards[down]):
                lab.pause(pod)
            for pod in others:
                self.wait_until(lambda: "cluster_slots_fail:0" not in lab.text(
                    pod, "CLUSTER", "INFO"), 30, f"{pod} sees that the shard is down")
                self.wait_until(lambda: state in lab.text(pod, "CLUSTER", "INFO"), 10, state)
            begin, address = time.monotonic(), lab.address(moved)
            lab.delete(moved, grace=0)       # and waits until it is ready
            took = time.monotonic() - begin
            self.assertNotEqual(lab.address(moved), address)
            self.assertEqual(info(lab, moved, "replication")["master_link_status"], "up")
            for pod in (down, *shards[down]):
                lab.resume(pod, wait=False)
            whole = self.whole_again(cluster, before)
        refused = sum(pulse.refused.values())
        (self.assertGreater if wanted == "yes" else self.assertEqual)(refused, 0)
        return (f"full coverage {wanted}: a pod of another ready elsewhere after {took:.1f} s, {refused} "
                f"writes refused, whole after {whole:.1f} s")

    # -- D10

    def replicas_are_cut_off(self, cluster: Cluster) -> str:
        """Each from its primary, until the links are given up."""
        lab, before, shards = cluster.lab, cluster.acts(), cluster.shards()
        replicas = [pod for followers in shards.values() for pod in followers]
        for pod in lab.pods():
            lab.redis(pod, "CONFIG", "SET", "repl-timeout", 5, "repl-ping-replica-period", 1)
        synced = self.synced(cluster, shards)
        with Pulse(cluster, shards) as pulse:
            try:
                lab.partition(*replicas)
            except LabError as error:
                return f"D10 left out: {error}"
            self.wait_until(lambda: all(info(lab, pod, "replication")["master_link_status"] == "down"
                                        for pod in replicas), 40, "every link is down")
            lab.heal()
            took = self.whole_again(cluster, before)
        full, partial = (now - then for now, then in zip(self.synced(cluster, shards), synced))
        self.assertEqual(cluster.shards().keys(), shards.keys(), "no role moved")
        self.assertEqual(sum(pulse.refused.values()), 0)
        self.assertGreaterEqual(full + partial, len(replicas))
        return (f"D10 {len(replicas)} replicas cut off: whole {took:.1f} s after, {full} full and "
                f"{partial} partial synchronizations, longest without a write "
                f"{1000 * max(pulse.longest.values()):.0f} ms")

    @staticmethod
    def synced(cluster: Cluster, primaries: Any) -> tuple[int, int]:
        stats = [info(cluster.lab, pod, "stats") for pod in primaries]
        return (sum(int(s["sync_full"]) for s in stats),
                sum(int(s["sync_partial_ok"]) for s in stats))


if __name__ == "__main__":
    main()
