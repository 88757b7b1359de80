#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""50,000 schedules of the simulator, from seed --seed on: none may break an invariant."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lib"))

from campaign import REPO, write_result  # noqa: E402

SCHEDULES = 50000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--schedules", type=int, default=SCHEDULES)
    args = parser.parse_args()
    began = time.monotonic()
    build = Path(os.environ.get("MUSTER_BUILD", REPO / "build/dev"))
    done = subprocess.run([build / "bin/muster-sim", "--first", str(args.seed), "--seeds",
                           str(args.schedules), "--jobs", str(args.jobs)],
                          stdout=subprocess.PIPE, text=True, check=False)
    print(done.stdout, end="")
    figures = re.search(r"^schedules (\d+) .*failures (\d+), simulated (\d+) h$", done.stdout,
                        re.MULTILINE)
    if not figures:
        return 1
    schedules, failures, hours = map(int, figures.groups())
    faults = re.search(r"^faults: (.*)$", done.stdout, re.MULTILINE)
    passed = done.returncode == 0 and failures == 0 and schedules >= args.schedules
    if args.schedules == SCHEDULES:
        write_result("schedules", args.seed, began, passed=passed, schedules=schedules,
                     failures=failures, simulatedHours=hours,
                     faults={name: int(count) for name, _, count in
                             (word.partition("=") for word in (faults[1] if faults else "").split())})
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
