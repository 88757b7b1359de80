#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""AUTH, ACL users and TLS to the servers: formed, rotated, refused, and no secret where it is seen."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from muster_test import Lab, MusterTestCase, main, resp  # noqa: E402


class Auth(MusterTestCase):
    timeout = 60

    def test_an_acl_user_with_the_listed_rights_forms_a_cluster(self) -> None:
        with Lab(pods=6, auth=True, settings={"lab.user": "muster"}) as lab:
            lab.up(timeout=45)
            with self.assertRaisesRegex(resp.RespError, "NOAUTH"):
                resp.command(lab.address("muster-0"), "PING")
            self.assertEqual(lab.redis("muster-0", "ACL", "LOG"), [], "the list lacks a right")


if __name__ == "__main__":
    main()
