#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The promises of docker/docker-compose.yml, asked of what `docker compose config --format json` makes of it (stdin)."""
import json
import sys
import unittest

CONFIG = {}


class Compose(unittest.TestCase):
    def test_every_service_is_a_server(self):
        """No initiator, and as many as the agents expect."""
        services = CONFIG["services"]
        self.assertEqual(len(services), 6)
        for name, service in services.items():
            self.assertEqual(service["environment"]["MUSTER_CLUSTER_SIZE"], str(len(services)))
            self.assertEqual(service["environment"]["MUSTER_DISCOVERY"], "dns")
            self.assertEqual(service["hostname"], name)
            self.assertNotIn("depends_on", service)
            self.assertIsNone(service.get("command"))

    def test_they_find_each_other_by_name(self):
        for service in CONFIG["services"].values():
            network = service["networks"]["default"]
            self.assertEqual(network["aliases"], [service["environment"]["MUSTER_DNS_NAME"]])
            self.assertNotIn("ipv4_address", network)
        self.assertNotIn("subnet", json.dumps(CONFIG["networks"]))

    def test_each_has_a_volume_of_its_own(self):
        sources = [volume["source"] for service in CONFIG["services"].values()
                   for volume in service["volumes"]]
        self.assertEqual(sorted(sources), sorted(CONFIG["volumes"]))
        self.assertEqual(len(set(sources)), len(CONFIG["services"]))

    def test_each_may_do_little(self):
        for service in CONFIG["services"].values():
            self.assertEqual(service["cap_drop"], ["ALL"])
            self.assertEqual(service["security_opt"], ["no-new-privileges:true"])
            self.assertIs(service["read_only"], True)
            self.assertNotIn("ports", service)

    def test_there_is_time_to_drain(self):
        for service in CONFIG["services"].values():
            self.assertEqual(service["stop_grace_period"], "1m0s")


if __name__ == "__main__":
    CONFIG = json.load(sys.stdin)
    unittest.main(verbosity=1)
