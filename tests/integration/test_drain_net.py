#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Valkey 9 can hand over by itself when it gets SIGTERM: a net under the agent's drain, and no rival."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from drain_case import NODE_TIMEOUT, QUICK, DrainTestCase, told  # noqa: E402
from muster_test import Lab, main, on_servers  # noqa: E402

# So short that nobody else can order the hand-over of a pod whose agent is frozen.
GRACE = 5


class Net(DrainTestCase):
    @on_servers("valkey-9", first=0)
    def test_the_servers_own_hand_over(self, server: str) -> None:
        settings = {**QUICK, "lab.serverArgs": "--shutdown-on-sigterm failover"}
        with Lab(pods=6, server=server, node_timeout=NODE_TIMEOUT, settings=settings) as lab:
            cluster = self.formed(lab)
            lab.load_start()
            ours, theirs = cluster.masters()[:2]
            lab.delete(ours, timeout=60)
            self.whole(lab)
            self.assertEqual(len(told(lab, "handed-over")), 1)
            lab.pause(theirs, "agent")
            lab.delete(theirs, grace=GRACE, timeout=60)
            self.whole(lab)
            self.assertEqual(len(told(lab, "handed-over")), 1)
            lab.load_stop()
            report = lab.load_report()
            self.assertEqual((report["lost"], report["stale"], report["unreadable"]), (0, 0, 0))
            # an election would have to wait for that
            self.assertLess(report["longestGapMs"], NODE_TIMEOUT, report)
            print(f"\n{server}: by the agent, then by itself: longest gaps "
                  f"{report['longestGapsMs'][:2]} ms")


if __name__ == "__main__":
    main()
