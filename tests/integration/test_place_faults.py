#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A few random faults under load, then quiet: primaries are spread again, and nobody does anything any more.
tests/soak/placing.py does so with a hundred; PLACE_SEED (1) draws others.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from drain_case import DrainTestCase  # noqa: E402
from muster_test import Lab, main, on_servers  # noqa: E402
from place_case import (STRUCK, Faults, find_broken, judge_orders, look, of_kind, wait_spread,  # noqa: E402
                        wait_still)

SEED = int(os.environ.get("PLACE_SEED", "1"))
FAULTS = 10
NODE_TIMEOUT = 1000
SPREAD_SECONDS = 90
STILL_SECONDS = 15           # the quiet time, after which it would move something, and half of it again
# acknowledged by a process that was killed before its socket had taken them (README)
UNSENT_MAX = 100


class PlaceFaults(DrainTestCase):
    timeout = 300

    @on_servers("redis-7.0", "valkey-9", first=0)
    def test_after_random_faults_primaries_are_spread(self, server: str) -> None:
        with Lab(pods=6, server=server, node_timeout=NODE_TIMEOUT, settings=STRUCK) as lab:
            cluster = self.formed(lab)
            lab.load_start(writers=1)
            faults = Faults(cluster, NODE_TIMEOUT, SEED, rolls=False)
            lost = 0
            for _ in range(FAULTS):
                fault = faults.strike()
                report = lab.load_report()
                fault.lost, lost = report["lost"] - lost, report["lost"]
            faults.pile()
            took = wait_spread(cluster, SPREAD_SECONDS, server)
            wait_still(cluster, STILL_SECONDS)
            lab.load_stop()
            report = lab.load_report()
            told = judge_orders(cluster, faults, NODE_TIMEOUT)
            print(f"\n{server}, seed {SEED}: {of_kind(faults.struck)}; spread {took:.1f} s later; acknowledged "
                  f"{report['acknowledged']}, lost {report['lost']}; {told}", end="")
            self.assertEqual(look(cluster).majorities(), [])
            self.assertEqual(sum(fault.lost for fault in faults.struck if fault.planned()), 0)
            self.assertLessEqual(lost, UNSENT_MAX * FAULTS)
            self.assertEqual((report["lost"], report["unreadable"]), (lost, 0), report)
            self.assertEqual(find_broken(told, server), [])


if __name__ == "__main__":
    main()
