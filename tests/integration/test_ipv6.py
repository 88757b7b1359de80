#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Where every address is an IPv6 one, pods come back at new ones, and families are never mixed.

That clusters form on IPv6, with every server and every discovery, is test_matrix.py's.
"""

from __future__ import annotations

import ipaddress
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from keyed import Cluster  # noqa: E402
from muster_test import Lab, MusterTestCase, main, on_servers, resp  # noqa: E402

PODS = 6
KEYS = 60


class Ipv6(MusterTestCase):
    timeout = 240

    def check_addresses(self, lab: Lab) -> None:
        """CLUSTER NODES and nodes.conf of every server name every pod's present address."""
        wanted = {pod["ip"] for pod in lab.status()["pods"]}
        self.assertEqual(len(wanted), PODS)
        for ip in wanted:
            self.assertEqual(str(ipaddress.IPv6Address(ip)), ip, "as Redis writes it")
        for pod in lab.pods():
            listed = {n.host for n in resp.parse_nodes(lab.redis(pod, "CLUSTER", "NODES"))}
            self.assertEqual(listed, wanted, pod)
            announced = lab.redis(pod, "CONFIG", "GET", "cluster-announce-ip")[1]
            self.assertEqual(resp.text(announced), lab.address(pod), pod)

    @on_servers("valkey-9", "redis-7.0")
    def test_all_pods_come_back_at_new_addresses(self, server: str) -> None:
        with Lab(pods=PODS, server=server, ipv6=True) as lab:
            lab.up()
            self.check_addresses(lab)
            Cluster(lab, KEYS).write()
            ids = {pod: lab.text(pod, "CLUSTER", "MYID") for pod in lab.pods()}
            old = {pod: lab.address(pod) for pod in ids}
            lab.delete()
            lab.wait("formed")
            self.assertFalse({lab.address(pod) for pod in ids} & set(old.values()))
            self.check_addresses(lab)
            self.assertEqual({p: lab.text(p, "CLUSTER", "MYID") for p in ids}, ids)
            self.assertEqual(sum(int(lab.redis(p, "DBSIZE")) for p in ids
                                 if lab.redis(p, "ROLE")[0] == b"master"), KEYS)
            self.check_gate(lab)

    def check_gate(self, lab: Lab) -> None:
        """Before its start a server is told where the others are now, in nodes.conf's own form."""
        lab.delete("muster-5")
        lab.wait("formed")
        conf = (lab.state / "pods/muster-5/data/nodes.conf").read_text()
        hosts = re.findall(r"^[0-9a-f]{40} (\S+):6379@16379", conf, re.MULTILINE)
        self.assertEqual(set(hosts), {pod["ip"] for pod in lab.status()["pods"]})
        self.assertNotIn("[", conf)

    def test_a_pod_of_the_other_family_is_waited_for_in_words(self) -> None:
        """Every agent is told that its own pod speaks IPv6; the API says that all have IPv4."""
        with Lab(pods=3, settings={"lab.agentEnv": "POD_IP=fd00::1"}) as lab:
            lab.up(wait="running")
            self.wait_until(lambda: any(
                "has no IPv6 address, and this cluster speaks IPv6 only" in lab.log(pod)
                for pod in lab.pods()), 30, "the reason")
            # an error counts as "not yet": a pod runs before its server listens
            self.wait_until(lambda: all(lab.redis(pod, "PING") for pod in lab.pods()), 40,
                            "every server answers")
            for pod in lab.pods():
                self.assertIn("cluster_known_nodes:1\r", lab.text(pod, "CLUSTER", "INFO"), pod)


if __name__ == "__main__":
    main()
