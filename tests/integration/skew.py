# SPDX-License-Identifier: Apache-2.0
"""Clocks of single agents that jump or run at another rate, by a library loaded before the others.

The agents of a lab get it by `lab.agentEnv`; each reads the file of its own pod, which set() writes.
"""

from __future__ import annotations

import mmap
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

# Two sets of values, so that one is whole while the other is written. No libc call is made to read a
# clock: a sanitizer's own would be asked before it is ready.
SOURCE = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile struct {
    long at;
    struct { double kept, base, rate, wall; } set[2];
} *skew;

__attribute__((constructor)) static void open_skew(void)
{
    char path[512];
    const char *dir = getenv("SKEW_DIR"), *pod = getenv("POD_NAME");
    (void)snprintf(path, sizeof path, "%s/%s", dir ? dir : "", pod ? pod : "");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    void *at = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *skew, PROT_READ, MAP_SHARED, fd, 0);
    if (at != MAP_FAILED)
        skew = at;
    if (fd >= 0)
        (void)close(fd);
}

int clock_gettime(clockid_t id, struct timespec *now)
{
    struct timespec boot;
    long rc = syscall(SYS_clock_gettime, id, now);
    if (rc || !skew || (id != CLOCK_REALTIME && id != CLOCK_MONOTONIC && id != CLOCK_BOOTTIME))
        return (int)rc;
    (void)syscall(SYS_clock_gettime, CLOCK_BOOTTIME, &boot);
    long at = skew->at & 1;
    double passed = (double)boot.tv_sec + (double)boot.tv_nsec / 1e9 - skew->set[at].base;
    double more = skew->set[at].kept + passed * (skew->set[at].rate - 1) +
                  (id == CLOCK_REALTIME ? skew->set[at].wall : 0);
    long long ns = (long long)now->tv_sec * 1000000000 + now->tv_nsec + (long long)(more * 1e9);
    now->tv_sec = ns / 1000000000;
    now->tv_nsec = ns % 1000000000;
    return 0;
}

int gettimeofday(struct timeval *now, void *zone)
{
    struct timespec real;
    (void)zone;
    (void)clock_gettime(CLOCK_REALTIME, &real);
    now->tv_sec = real.tv_sec;
    now->tv_usec = real.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *ret_now)
{
    struct timespec real;
    (void)clock_gettime(CLOCK_REALTIME, &real);
    if (ret_now)
        *ret_now = real.tv_sec;
    return real.tv_sec;
}
"""
_SET = struct.Struct("dddd")


class Skew:
    """The clocks of these pods' agents, right until set(). A context."""

    def __init__(self, *pods: str) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="mlt-skew-", dir="/tmp")
        directory = Path(self._directory.name)
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-x", "c", "-", "-o", directory / "skew.so"],
                       input=SOURCE, text=True, check=True)
        self._values = {pod: (0.0, 0.0, 1.0, 0.0) for pod in pods}
        self._maps: dict[str, mmap.mmap] = {}
        for pod in pods:
            (directory / pod).write_bytes(bytes(mmap.PAGESIZE))
            with open(directory / pod, "r+b") as file:
                self._maps[pod] = mmap.mmap(file.fileno(), mmap.PAGESIZE)
            self.set(pod)
        # the agents' sanitizer wants to be the first library, unless it is told
        self.env = (f"LD_PRELOAD={directory}/skew.so SKEW_DIR={directory} "
                    "ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0")

    def __enter__(self) -> "Skew":
        return self

    def __exit__(self, *_: Any) -> None:
        for each in self._maps.values():
            each.close()
        self._directory.cleanup()

    def set(self, pod: str, wall: float = 0, rate: float = 1) -> None:
        """From now on the wall clock is so many seconds off, and all clocks run at this rate."""
        kept, base, old, _ = self._values[pod]
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        kept += (now - base) * (old - 1)     # what never jumps goes on from where it is
        self._values[pod] = (kept, now, rate, wall)
        here, word = self._maps[pod], struct.Struct("l")
        at = 1 - word.unpack_from(here, 0)[0]
        _SET.pack_into(here, word.size + at * _SET.size, *self._values[pod])
        word.pack_into(here, 0, at)


if __name__ == "__main__":
    sys.exit("a part of test_skew.py")
