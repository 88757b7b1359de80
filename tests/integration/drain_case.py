# SPDX-License-Identifier: Apache-2.0
"""Drains under load: what the agents told, how long clients waited, and that nothing is lost."""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from keyed import Cluster  # noqa: E402
from muster_test import CLIENT_PORT, Lab, MusterTestCase, wait_until  # noqa: E402
from votes import won_unheld  # noqa: E402

QUICK = {"kubernetes.leaseSeconds": 3}
# Where pods start again often.
SWIFT = {**QUICK, "lab.serverArgs": "--repl-diskless-sync-delay 0"}
NODE_TIMEOUT = 2000
# Of a replica that is taken for as good as its primary: DESIGN 5.5's "lag small".
LAG_MAX = 1 << 20
BUS_PORT = CLIENT_PORT + 10000
BULK = "x" * 100_000


def told(lab: Lab, event: str) -> list[str]:
    """The lines of this event in all agents' logs, in the order in which they were written."""
    return sorted(line for pod in sorted(lab.pods()) for line in lab.log(pod).splitlines()
                  if f"event={event} " in line)


def waited(line: str) -> float:
    """How long the drain took that this line ends, seconds."""
    found = re.search(r"waited_ms=(\d+)", line)
    assert found, line
    return int(found[1]) / 1000


def gaps(lab: Lab) -> list[int]:
    return [int(found) for line in told(lab, "handed-over")
            for found in re.findall(r"gap_ms=(\d+)", line)]


def orders(lab: Lab) -> int:
    """How many hand-overs the servers were ordered to."""
    return sum(lab.log(pod, "redis").count("Manual failover user request accepted")
               for pod in lab.pods())


def old_votes(lab: Lab) -> list[str]:
    """Elections that were won without being held, by the servers' own logs."""
    return [f"{pod}: {line}" for pod in lab.pods() for line in won_unheld(lab.log(pod, "redis"))]


class Dropped:
    """Packets that do not arrive, each kind by the words of an iptables rule. A context."""

    def __init__(self, *rules: str) -> None:
        self._rules = [["OUTPUT", "-o", "lo", "-p", "tcp", *rule.split(), "-j", "DROP"]
                       for rule in rules]
        self._held: list[list[str]] = []

    def __enter__(self) -> "Dropped":
        for rule in self._rules:
            self._iptables("-I", rule)
            self._held.append(rule)
        return self

    def __exit__(self, *_: Any) -> None:
        self.release()

    def release(self) -> None:
        while self._held:
            self._iptables("-D", self._held.pop())

    def _iptables(self, verb: str, rule: list[str]) -> None:
        subprocess.run(["iptables", "-w", "5", verb, *rule], check=True)


class Stream(Dropped):
    """What a primary sends to its replica, which goes on to answer, and lags."""

    def __init__(self, lab: Lab, primary: str, replica: str) -> None:
        super().__init__(f"-s {lab.address(primary)} --sport {CLIENT_PORT} "
                         f"-d {lab.address(replica)}")


class Unheard(Dropped):
    """The bus between a pod's server, also a later one, and those of the others."""

    def __init__(self, lab: Lab, pod: str, others: list[str]) -> None:
        self._lab, self._pod = lab, pod
        self._others = [lab.address(name) for name in others]
        sender = f"-m owner --gid-owner {lab.ask('identity', pod=pod)['group']}"
        super().__init__(*(f"{sender} -d {other} --{end} {BUS_PORT}" for other in self._others
                           for end in ("sport", "dport")))

    def wait(self) -> None:
        """Until it has noticed."""
        wait_until(lambda: self.missed() == len(self._others), 20, f"{self._pod} misses the others")

    def missed(self) -> int:
        """How many of the others its server misses."""
        lines = self._lab.text(self._pod, "CLUSTER", "NODES").splitlines()
        return sum(any(f" {other}:" in line and "fail" in line.split()[2] for line in lines)
                   for other in self._others)


class Unanswering(Dropped):
    """What these pods' servers send over their own links of the bus to that of another pod."""

    def __init__(self, lab: Lab, senders: list[str], pod: str) -> None:
        super().__init__(*(f"-m owner --gid-owner {lab.ask('identity', pod=sender)['group']} "
                           f"-d {lab.address(pod)} --dport {BUS_PORT}" for sender in senders))


def ask_to_drain(lab: Lab, pod: str) -> "subprocess.Popen[bytes]":
    """preStop's program, though nobody stops the server then: its agent hands the slots over."""
    program = Path(lab.ask("identity", pod=pod)["program"]).parent / "muster-hook"
    socket = lab.state / "pods" / pod / "run/agent.sock"
    return subprocess.Popen([program, "drain", "--socket", socket], stdin=subprocess.DEVNULL,
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class DrainTestCase(MusterTestCase):
    timeout = 400

    def formed(self, lab: Lab, shards: int = 3) -> Cluster:
        """Up, each primary with a replica in sync, and their agents know each other for a while."""
        lab.up()
        cluster = Cluster(lab)
        self.wait_until(lambda: len(cluster.primaries()) == shards, 40, "replicas in sync")
        return cluster

    def whole(self, lab: Lab, timeout: float = 90) -> float:
        """Seconds until the cluster is as it should be, and ready."""
        began = time.monotonic()
        lab.wait("formed", timeout=timeout)
        return time.monotonic() - began

    def anyone_says(self, lab: Lab, text: str, timeout: float, before: int) -> None:
        """A turn of any agent, of those after the first `before`: who leads may change."""
        self.wait_until(lambda: any(text in line for line in told(lab, "turn")[before:]), timeout,
                        f"an agent says {text!r}", 0.05)

    def ends(self, lab: Lab, pod: str, before: int, timeout: float) -> str:
        """The line that ends this pod's drain; `before`: how many there were of it."""
        def drained() -> list[str]:
            return [line for line in lab.log(pod).splitlines() if "event=drained " in line]
        self.wait_until(lambda: len(drained()) > before, timeout, f"the drain of {pod} ends", 0.05)
        return drained()[before]

    def says(self, lab: Lab, pod: str, pattern: str, timeout: float, at: int = 0) -> None:
        """Its agent's log, behind `at`."""
        self.wait_until(lambda: re.search(pattern, lab.log(pod)[at:]), timeout,
                        f"{pod} says {pattern!r}", 0.02)

    def at_once_in(self, *steps: Callable[[], None]) -> None:
        """Steps of one lab that mostly wait, side by side."""
        self.at_once(lambda step: step(), *steps)

    def nothing_lost(self, lab: Lab, what: str = "") -> dict[str, Any]:
        """All that was acknowledged is there; no hand-over was won on old votes."""
        report = lab.load_report()
        line = (f"{what}: acknowledged {report['acknowledged']} "
                f"({report['acknowledgedPerSecond']}/s), lost {report['lost']}, stale "
                f"{report['stale']}, longest gap {report['longestGapMs']} ms")
        print("\n" + line)
        if report["lost"] or report["stale"]:
            lab.dump()
        self.assertEqual((report["lost"], report["stale"], report["unreadable"]), (0, 0, 0), line)
        self.assertGreater(report["acknowledged"], 1000, line)
        self.assertEqual(old_votes(lab), [])
        return report

    def median_gap(self, lab: Lab) -> float:
        return statistics.median(gaps(lab) or [0])
