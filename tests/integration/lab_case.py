# SPDX-License-Identifier: Apache-2.0
"""A lab whose servers are real and whose agent and hook are stand-ins (fake/), for the lab's own tests."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from muster_test import Lab, MusterTestCase  # noqa: E402

FAKE = Path(__file__).resolve().parent / "fake"
STEERING = ("unready", "dead", "drain-seconds", "drained")       # see fake/muster-hook


def fake_lab(**options: Any) -> Lab:
    settings = {"lab.readinessSeconds": 0.3, "lab.livenessSeconds": 0.3,
                **options.pop("settings", {})}
    return Lab(build=FAKE, settings=settings, **{"grace": 10, **options})


class LabTestCase(MusterTestCase):
    timeout = 90

    def steer(self, lab: Lab, pod: str, name: str, text: str = "") -> Path:
        """Put a file for the stand-in hook; see fake/muster-hook."""
        path = lab.state / "pods" / pod / name
        path.write_text(text)
        return path

    def uid(self, lab: Lab, pod: str) -> str:
        return str(lab.get("pods", pod)["metadata"]["uid"])


class OnePodTestCase(LabTestCase):
    """Tests that share a lab of one pod; each finds a new one."""

    lab: Lab

    @classmethod
    def setUpClass(cls) -> None:
        cls.lab = fake_lab(pods=1)
        cls.addClassCleanup(cls.lab.__exit__, None, None, None)
        cls.lab.up(wait="ready", timeout=30)

    def setUp(self) -> None:
        super().setUp()
        for name in STEERING:
            (self.lab.state / "pods/muster-0" / name).unlink(missing_ok=True)
        self.lab.delete("muster-0", grace=0, timeout=30)
