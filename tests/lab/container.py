# SPDX-License-Identifier: Apache-2.0
"""Processes that play containers.

Everything the lab starts dies with the daemon (PR_SET_PDEATHSIG), runs under its pod's group id,
and a server is PID 1 of a PID namespace of its own, as in a real container: default signal actions
do not reach it from inside, and its death ends every child with it. Where namespaces are forbidden
(a container without CAP_SYS_ADMIN) the lab runs without them and says so.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, Optional

from store import timestamp

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# mounts stay as they are but for /proc: / itself need not be a mount point (a chroot has none there)
NAMESPACE = ["unshare", "--pid", "--fork", "--mount-proc", "--propagation", "unchanged",
             "--kill-child", "--"]


def namespaces_refused() -> str:
    """Why a process cannot have a PID namespace of its own here; empty when it can."""
    tried = subprocess.run(NAMESPACE + ["true"], capture_output=True, text=True, check=False)
    return "" if tried.returncode == 0 else tried.stderr.strip() or "unshare failed"


def wrap(argv: list[str], group: int, namespaced: bool) -> list[str]:
    """The command line that starts argv as a container's main process."""
    prefix = ["setpriv", "--regid", str(group), "--clear-groups", "--pdeathsig", "KILL", "--"]
    if namespaced:
        prefix += NAMESPACE
    return prefix + argv


def _only_child(pid: int) -> Optional[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return None
    return int(text.split()[0]) if text.strip() else None


class Container:
    """One container of a pod over all its restarts."""

    def __init__(self, name: str, image: str, log: Path, group: int, namespaced: bool,
                 backoff: tuple[float, float], restarts: int = 0) -> None:
        self.name, self.image = name, image
        self.restarts = restarts
        self.ready = False
        self.started = False
        self.pid: Optional[int] = None       # of the process itself, seen from the host
        self.began = 0.0
        self.exited = asyncio.Event()
        self._log, self._group, self._namespaced = log, group, namespaced
        self._process: Optional[asyncio.subprocess.Process] = None
        self._waiter: Optional[asyncio.Task[None]] = None
        self._backoff_first, self._backoff_base = backoff
        self._backoff = self._backoff_first
        self._runs = 0
        self._killed = False
        self._state: dict[str, Any] = {"waiting": {"reason": "PodInitializing"}}
        self._last: dict[str, Any] = {}

    @property
    def running(self) -> bool:
        return self._process is not None and not self.exited.is_set()

    async def start(self, argv: list[str], env: dict[str, str], cwd: Path) -> None:
        """Start the process; counts as a restart from the second time on."""
        if self._runs > 0:
            self.restarts += 1
        self._runs += 1
        with open(self._log, "ab") as log:
            log.write(f"# container {self.name} starts, restart {self.restarts}, "
                      f"{timestamp()}\n".encode())
            log.flush()
            self._process = await asyncio.create_subprocess_exec(
                *wrap(argv, self._group, self._namespaced), stdin=asyncio.subprocess.DEVNULL,
                stdout=log, stderr=log, cwd=cwd, env={"PATH": PATH, **env})
        self.exited.clear()
        self._killed = False
        self.began = time.monotonic()
        self._began_text = timestamp()
        self.ready = self.started = False
        self._state = {"running": {"startedAt": self._began_text}}
        self._waiter = asyncio.ensure_future(self._reap(self._process))
        self.pid = self._process.pid
        if self._namespaced:
            await self._find_child(self._process)

    async def _find_child(self, process: asyncio.subprocess.Process) -> None:
        """Wait for the process behind unshare; it is what signals are meant for."""
        while process.returncode is None:
            child = _only_child(process.pid)
            if child is not None:
                self.pid = child
                return
            await asyncio.sleep(0.002)

    async def _reap(self, process: asyncio.subprocess.Process) -> None:
        code = await process.wait()
        if self._killed and self._namespaced and code == 1:
            code = -signal.SIGKILL       # what unshare 2.38 makes of a child killed by SIGKILL
        number = -code if code < 0 else 0
        ended = {"exitCode": 128 + number if number else code,
                 "reason": "Completed" if code == 0 else "Error",
                 "startedAt": self._began_text, "finishedAt": timestamp(),
                 "containerID": self._id()}
        if number:
            ended["signal"] = number
        self._state = {"terminated": ended}
        self._last = {"terminated": ended}
        self.pid = None
        self.ready = self.started = False
        self.exited.set()

    def _id(self) -> str:
        return f"lab://{self.name}-{self._runs}-{self._process.pid if self._process else 0}"

    def last_words(self) -> str:
        """How the last run ended and the last line it wrote."""
        ended = self._last.get("terminated", {})
        lines = self._log.read_text(errors="replace").strip().splitlines()
        said = f": {lines[-1]}" if lines and not lines[-1].startswith("# container") else ""
        return f"{self.name} ended with {ended.get('exitCode', '?')}{said}"

    def signal(self, number: int) -> bool:
        """Send a signal to the container's main process; False when there is none."""
        if self.pid is None:
            return False
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return False
        self._killed |= number == signal.SIGKILL
        return True

    def kill(self) -> None:
        """SIGKILL, now; also works on a stopped process."""
        if not self.signal(signal.SIGKILL) and self._process is not None:
            if self._process.returncode is None:
                self._process.kill()

    async def wait(self, timeout: Optional[float]) -> bool:
        """Wait for the end of the process; False when the time is up first."""
        if not self.running:
            return True
        try:
            await asyncio.wait_for(self.exited.wait(), timeout)
        except asyncio.TimeoutError:
            return False
        return True

    def next_delay(self) -> float:
        """Seconds until the restart: at once, then 10 s doubling up to 300 s (kubelet's back-off).

        The delay counts from the end of the last run and is forgotten after a run of ten minutes.
        """
        if time.monotonic() - self.began > 60 * self._backoff_base:
            self._backoff = self._backoff_first
        delay = self._backoff
        self._backoff = min(max(self._backoff * 2, self._backoff_base), 30 * self._backoff_base)
        if delay > 0:
            self._state = {"waiting": {"reason": "CrashLoopBackOff",
                                       "message": f"back-off {delay:g}s restarting failed "
                                                  f"container={self.name}"}}
        return delay

    def status(self) -> dict[str, Any]:
        """The containerStatuses entry."""
        return {"name": self.name, "image": self.image, "imageID": f"lab://{self.image}",
                "containerID": self._id() if self._runs else "", "ready": self.ready,
                "started": self.started, "restartCount": self.restarts,
                "state": self._state, "lastState": self._last}


async def run_hook(argv: list[str], group: int, timeout: float, log: Path) -> Optional[int]:
    """Exec a probe or preStop command: its exit code, or None when it was killed at the timeout."""
    with open(log, "ab") as output:
        process = await asyncio.create_subprocess_exec(
            *wrap(argv, group, namespaced=False), stdin=asyncio.subprocess.DEVNULL,
            stdout=output, stderr=output, env={"PATH": PATH})
    try:
        return await asyncio.wait_for(process.wait(), timeout)
    except asyncio.TimeoutError:
        return None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
