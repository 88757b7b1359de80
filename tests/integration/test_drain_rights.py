#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""FAULTS C11: agents without the right to order a hand-over say which one they lack, and the primary
stops with its data on disk.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lab"))

from access import AGENT_RULES  # noqa: E402  (of the lab)
from drain_case import NODE_TIMEOUT, QUICK, DrainTestCase, orders, told, waited  # noqa: E402
from muster_test import Lab, main, on_servers  # noqa: E402

RIGHT = "+cluster|failover"
GRACE = 22                   # with its data on disk: 12 s


class Rights(DrainTestCase):
    @on_servers("redis-7.0", "valkey-9")
    def test_a_drain_without_the_right_to_hand_over(self, server: str) -> None:
        self.assertIn(RIGHT, AGENT_RULES)
        with Lab(pods=6, server=server, auth=True, node_timeout=NODE_TIMEOUT, settings={
                **QUICK, "lab.user": "muster",
                "lab.userRules": AGENT_RULES.replace(f"{RIGHT} ", "")}) as lab:
            cluster = self.formed(lab)
            pod = cluster.primaries()[0]
            lab.load_start()
            lab.delete(pod, grace=GRACE, timeout=60)
            line = self.ends(lab, pod, 0, 1)
            self.assertRegex(line, rf"{pod} stops as the primary of \d+ slots: .*; its data is on "
                             "disk")
            self.assertLess(waited(line), GRACE - 2)
            self.assertTrue([why for why in told(lab, "failed") if "CLUSTER FAILOVER" in why and
                             f"the ACL user lacks {RIGHT}" in why], told(lab, "failed"))
            self.whole(lab)
            self.assertEqual(orders(lab), 0)
            lab.load_stop()
            report = self.nothing_lost(lab, f"C11 {server}")
            print(f"C11 {server}: without {RIGHT} a primary left after {waited(line):.1f} s of "
                  f"{GRACE} s with its data on disk; lost {report['lost']}; it said: "
                  f"{line.split('msg=')[1]}")


if __name__ == "__main__":
    main()
