# SPDX-License-Identifier: Apache-2.0
"""What a server's log says about its elections."""

from __future__ import annotations


def won_unheld(log: str) -> list[str]:
    """The lines that tell of an election that was won without being held, on old votes (FACTS 0.3)."""
    found, held = [], False
    for line in log.splitlines():
        held |= "Starting a failover election" in line
        if "Failover election won" in line:
            if not held:
                found.append(line)
            held = False
    return found
