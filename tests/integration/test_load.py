#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The load tells the truth: what it reports as lost, stale or as a gap really was, and only that.

Everything else that this project measures rests on it. Runs against plain servers, without Muster.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import unittest
from pathlib import Path
from typing import Any

from plain_cluster import REPO, PlainCluster

sys.path.insert(0, str(REPO / "tests/lib"))

from campaign import gaps_around  # noqa: E402
from muster_test import wait_until  # noqa: E402


class LoadProcess:
    """tests/lab/load.py against a cluster, driven as the lab drives it."""

    def __init__(self, cluster: PlainCluster, *options: str) -> None:
        for host in cluster.hosts[:cluster.shards]:
            cluster.call(host, "FLUSHALL")       # what an earlier case left
        self.path = cluster.directory / "load.sock"
        seeds = ",".join(f"{h}:6379" for h in cluster.hosts)
        self.process = subprocess.Popen(
            [sys.executable, str(REPO / "tests/lab/load.py"), "--seeds", seeds,
             "--socket", str(self.path), *options])

    def __enter__(self) -> "LoadProcess":
        end = time.monotonic() + 10
        while not self.path.exists():
            if time.monotonic() > end or self.process.poll() is not None:
                raise RuntimeError("load.py did not start")
            time.sleep(0.02)
        try:
            self.ask("started")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: Any) -> None:
        self.process.kill()
        self.process.wait()
        Path(self.path).unlink(missing_ok=True)

    def ask(self, action: str, timeout: float = 20.0) -> Any:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(timeout + 20)
            client.connect(str(self.path))
            client.sendall(json.dumps({"action": action, "timeout": timeout}).encode() + b"\n")
            reply = json.loads(client.makefile("rb").readline())
        if "error" in reply:
            raise RuntimeError(reply["error"])
        return reply["result"]

    def report(self) -> dict[str, Any]:
        self.ask("stop")
        result: dict[str, Any] = self.ask("report")
        return result


def a_written_key(cluster: PlainCluster, host: str) -> bytes:
    """A key that a writer has just set there (not a pinned writer's)."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        key = cluster.call(host, "RANDOMKEY")
        if key and b":w0:" in key:
            return bytes(key)
    raise RuntimeError("the load wrote nothing")


class LoadReports(unittest.TestCase):
    cluster: PlainCluster

    @classmethod
    def setUpClass(cls) -> None:
        cls.cluster = PlainCluster(shards=3, replicas=1)
        cls.cluster.__enter__()

    @classmethod
    def tearDownClass(cls) -> None:
        cls.cluster.close()

    def assert_busy(self, report: dict[str, Any]) -> None:
        self.assertGreaterEqual(report["acknowledgedPerSecond"], 500, report)
        self.assertEqual(report["unreadable"], 0, report)
        self.assertEqual(len(report["gapMsByShard"]), 3, report)

    def test_a_clean_run_reports_nothing(self) -> None:
        """A machine that stalls for so long is told of as well, so it may have three goes."""
        for _ in range(3):
            with LoadProcess(self.cluster) as load:
                time.sleep(3)
                report = load.report()
            self.assertEqual((report["lost"], report["stale"]), (0, 0), report)
            if report["longestGapMs"] < 150 and not report["errors"]:
                break
        self.assert_busy(report)
        self.assertEqual(report["errors"], 0, report)
        self.assertLess(report["longestGapMs"], 150, report)
        self.assertLessEqual(report["p50Ms"], report["p99Ms"], report)

    def test_every_slot_gets_its_write(self) -> None:
        sample = [(h, slot) for i, h in enumerate(self.cluster.hosts[:3])
                  for slot in range(i * 5461, (i + 1) * 5461, 97)]
        with LoadProcess(self.cluster) as load:
            wait_until(lambda: all(self.cluster.call(h, "CLUSTER", "COUNTKEYSINSLOT", slot)
                                   for h, slot in sample), 60, "each slot is written")
            report = load.report()
        self.assertEqual(report["lost"], 0, report)

    def report_of_a_pause(self, kind: str) -> dict[str, Any]:
        with LoadProcess(self.cluster) as load:
            time.sleep(1)
            if kind == "SIGSTOP":
                self.cluster.stop_server(self.cluster.hosts[1], 0.150)
            else:
                self.cluster.call(self.cluster.hosts[1], "CLIENT", "PAUSE", 150, "ALL")
            time.sleep(1)
            return load.report()

    def test_a_pause_of_one_shard_is_its_gap_and_no_other_s(self) -> None:
        """A machine that stalls stalls all of them, so it may have five goes."""
        for kind in ("CLIENT PAUSE", "SIGSTOP"):
            for _ in range(5):
                report = self.report_of_a_pause(kind)
                first, paused, last = report["gapMsByShard"].values()
                self.assertGreaterEqual(paused, 145, report)
                self.assertEqual((report["lost"], report["stale"]), (0, 0), report)
                if paused < 400 and max(first, last) < 145:
                    break
            with self.subTest(kind):
                self.assertLess(paused, 400, report)
                self.assertLess(max(first, last), 145, report)
                self.assertEqual(report["longestGapMs"], paused, report)
                self.assertEqual(report["longestGapsMs"][0], paused, report)
                self.assertLess(abs(time.time() - report["longestGapsEnded"][0]), 5, report)

    def test_a_deleted_key_is_lost(self) -> None:
        for when in ("while it runs", "after it stopped"):
            with self.subTest(when), LoadProcess(self.cluster) as load:
                time.sleep(1)
                if when == "after it stopped":
                    load.ask("stop")
                    time.sleep(0.3)
                key = a_written_key(self.cluster, self.cluster.hosts[0])
                self.assertEqual(self.cluster.call(self.cluster.hosts[0], "DEL", key), 1)
                if when == "while it runs":
                    time.sleep(1)
                report = load.report()
                self.assertEqual(report["lost"], 1, (key, report))
                self.assertEqual(report["lostKeys"][0]["key"], key.decode(), report)

    def test_an_older_value_is_lost_and_stale(self) -> None:
        with LoadProcess(self.cluster, "--readers", "40") as load:
            time.sleep(12)       # each key once
            host = self.cluster.hosts[0]
            key = a_written_key(self.cluster, host)
            self.cluster.call(host, "SET", key, "1")
            wait_until(lambda: self.cluster.call(host, "GET", key) != b"1", 60,
                       "its writer comes round, and finds its value gone")
            report = load.report()
        self.assertEqual(report["lost"], 1, report)
        self.assertGreaterEqual(report["stale"], 1, report)


class Judging(unittest.TestCase):
    def test_a_gap_belongs_to_the_hand_over_that_it_overlaps(self) -> None:
        report = {"longestGapsMs": [900, 80, 57, 10, 3], "longestGapsEnded": [91.0, 100.05, 201.2, 149.99, 120.0]}
        done = [(100.0, 20), (150.0, 20), (200.2, 15), (90.5, 40), (300.0, 5)]
        self.assertEqual(gaps_around(report, done), [80, 10, 57, 900, 3])


if __name__ == "__main__":
    unittest.main(verbosity=2)
