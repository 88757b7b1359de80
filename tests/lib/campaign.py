# SPDX-License-Identifier: Apache-2.0
"""What a result of tests/soak says beside its figures: of which commit, on which machine."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parents[2]


def find_machine() -> dict[str, Any]:
    cpu = next((line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").open()
                if line.startswith("model name")), platform.processor())
    return {"cpu": cpu, "cores": os.cpu_count(), "kernel": platform.release()}


def find_version() -> dict[str, str]:
    """Of what is tested: the commit, and whether files were changed since."""
    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", str(REPO), *words], stdout=subprocess.PIPE, text=True,
                              stderr=subprocess.DEVNULL, check=False).stdout.strip()
    dirty = git("status", "--porcelain", "--", ":/agent")
    return {"commit": git("rev-parse", "--short", "HEAD"),
            "agentSources": "changed since" if dirty else "as committed"}


def write_result(campaign: str, seed: int, began: float, **figures: Any) -> None:
    """`began` by time.monotonic()."""
    result = {"campaign": campaign, "date": time.strftime("%Y-%m-%d"), "version": find_version(),
              "machine": find_machine(), "seed": seed,
              "seconds": round(time.monotonic() - began), **figures}
    path = REPO / f"tests/soak/results/{campaign}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
