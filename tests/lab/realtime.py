# SPDX-License-Identifier: Apache-2.0
"""A process that keeps its beat on a busy machine, and its bounds."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys

PR_SET_PDEATHSIG = 1         # linux/prctl.h


def keep_the_beat(name: str) -> None:
    """Runs before everything that is not real time; without the right to it, says so on stderr."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except OSError as error:
        print(f"{name}: no real-time priority ({error.strerror}): on a busy machine attempts come "
              "late, and their times are void", file=sys.stderr, flush=True)


def stay_bounded(memory_bytes: int) -> None:
    """Ends with whoever started it, and never takes the machine's memory."""
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
