# SPDX-License-Identifier: Apache-2.0
"""A process that keeps its beat on a busy machine."""

from __future__ import annotations

import os
import sys


def keep_the_beat(name: str) -> None:
    """Runs before everything that is not real time; without the right to it, says so on stderr."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except OSError as error:
        print(f"{name}: no real-time priority ({error.strerror}): on a busy machine attempts come "
              "late, and their times are void", file=sys.stderr, flush=True)
