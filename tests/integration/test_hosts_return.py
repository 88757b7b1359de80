#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Without Kubernetes: servers that come back, with other addresses or without their volume, are the
same cluster; names that fail change nothing."""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from muster_test import Lab, main  # noqa: E402

from keyed import Cluster  # noqa: E402
from hosts_case import KEYS, PODS, HostsCase, node_ids, record  # noqa: E402


class Return(HostsCase):
    timeout = 300

    def test_a_compose_project_goes_down_and_up(self) -> None:
        """New addresses for all."""
        self.at_once(self.down_and_up, True, False)

    def down_and_up(self, keep: bool) -> None:
        """Whether the agents' records are on the volumes or lost: the servers are one cluster."""
        with Lab(pods=PODS, discovery="dns", settings={"lab.keepRecord": keep}) as lab:
            lab.up()
            Cluster(lab, KEYS).write()
            self.assert_one_cluster(lab)
            ids, addresses = node_ids(lab), {pod: lab.address(pod) for pod in lab.pods()}
            lab.scale(0)                     # all gone before the first comes back
            begin = time.monotonic()
            lab.scale(PODS)
            lab.wait("formed", timeout=60)
            print(f"down and up again after {time.monotonic() - begin:.1f} s")
            self.assertEqual(node_ids(lab), ids)
            self.assertFalse({lab.address(pod) for pod in ids} & set(addresses.values()))
            self.assertEqual(Cluster(lab).count(), KEYS)
            self.assert_one_cluster(lab)
            said = "".join(lab.log(pod) for pod in lab.pods())
            self.assertNotIn("copied or moved", said)
            self.assertEqual("adopting the cluster that exists" in said, not keep)

    def test_names_that_fail_change_nothing(self) -> None:
        with Lab(pods=PODS, discovery="dns") as lab:
            lab.up()
            Cluster(lab, KEYS).write()
            self.assert_one_cluster(lab)
            before = record(lab, "muster-0"), lab.text("muster-0", "CLUSTER", "NODES").count("\n")
            for spec in ("down", "nxdomain", "servfail", "partial=2"):
                lab.dns(spec)
                time.sleep(3.5)          # each agent reads at least once
                self.wait_until(lambda: lab.muster("muster-0", "check").returncode == 0, 10, spec)
            self.assertEqual((record(lab, "muster-0"),
                              lab.text("muster-0", "CLUSTER", "NODES").count("\n")), before)
            self.assertNotIn("CLUSTER FORGET", "".join(lab.log(pod) for pod in lab.pods()))
            lab.dns("up")

    def test_a_server_of_a_static_list_restarts_at_once(self) -> None:
        """Its nodes.conf names its peers, and the list says where they are: there is nothing to wait for."""
        with Lab(pods=PODS, discovery="static") as lab:
            lab.up()
            begin = time.monotonic()
            lab.kill("muster-2", "redis", 9)
            lab.wait("formed", timeout=60)
            print(f"static: a killed server is back after {time.monotonic() - begin:.1f} s", end=" ")
            waited = [line for line in lab.log("muster-2").splitlines() if "verdict=wait" in line]
            self.assertEqual([line for line in waited if "no address" in line or "an address" in line],
                             [])

    def test_one_server_without_its_volume_gets_its_seat_back(self) -> None:
        with Lab(pods=PODS, discovery="static", node_timeout=2000, volumes=False) as lab:
            lab.up()
            Cluster(lab, KEYS).write()
            before = lab.text("muster-4", "CLUSTER", "MYID")
            lab.delete("muster-4")
            lab.wait("formed", timeout=60)

            def forgotten() -> bool:
                return all(before not in lab.text(pod, "CLUSTER", "NODES") for pod in lab.pods())
            self.wait_until(forgotten, 40, "the old id is forgotten everywhere")
            self.assertEqual(Cluster(lab).count(), KEYS)


if __name__ == "__main__":
    main()
