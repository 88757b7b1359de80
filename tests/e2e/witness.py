# SPDX-License-Identifier: Apache-2.0
"""Witnesses of what happens to a release on the cluster that tests/e2e/cluster started (E2E_STATE): a load, and all logs."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from release import REPO, Release

sys.path.append(str(REPO / "tests/lab"))

import load_control  # noqa: E402

STATE = Path(os.environ.get("E2E_STATE", "/nonexistent"))
PORT = 6379
# a container's log stays for as long as the kubelet needs to end its pod, which takes longer
LOOK_SECONDS = 0.3


class Logs:
    """The logs of every container of a namespace, those of pods that are gone too: their files are held open."""

    def __init__(self, release: Release) -> None:
        self._pattern = f"node-*/var/log/pods/{release.namespace}_*/*/*.log"
        self._files: dict[str, IO[str]] = {}
        self._end = threading.Event()
        self._looker = threading.Thread(target=self._look_always)

    def __enter__(self) -> "Logs":
        self._looker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._looker.join()
        for file in self._files.values():
            file.close()

    def _look_always(self) -> None:
        while not self._end.wait(LOOK_SECONDS):
            self._look()

    def _look(self) -> None:
        for path in STATE.glob(self._pattern):
            if str(path) not in self._files:
                try:
                    self._files[str(path)] = open(path, encoding="utf-8", errors="replace")
                except FileNotFoundError:
                    pass

    def of(self, container: str) -> dict[str, str]:
        """The whole log of each run of a container of that name, by "POD RUN"."""
        found = {}
        for path, file in sorted(self._files.items()):
            pod, name, run = path.split("/")[-3:]
            if name == container:
                file.seek(0)
                # TIME STREAM TAG TEXT, as the runtime writes them
                text = "\n".join(line.rstrip("\n").split(" ", 3)[-1] for line in file)
                _, pod, uid = pod.split("_")
                found[f"{pod} {uid[:8]} {run.removesuffix('.log')}"] = text
        return found

    def told(self, event: str) -> list[str]:
        """The agents' lines of this event, in their order."""
        return sorted(line for log in self.of("agent").values() for line in log.splitlines()
                      if f"event={event} " in line)

    def save(self) -> None:
        """For people, beside the state, which goes with the cluster."""
        folder = STATE.parent / "e2e-logs"
        folder.mkdir(exist_ok=True)
        for container in ("redis", "agent"):
            for run, log in self.of(container).items():
                (folder / f"{run} {container}.log".replace(" ", "-")).write_text(log)
        print(f"the logs of all pods, of those that are gone too: {folder}", file=sys.stderr)

    def hand_overs(self) -> list[tuple[float, int]]:
        """Of each so far: when it was done, since the epoch, and for how long its agent says that writes were paused
        at most, ms."""
        told = (re.search(r"ts=(\S+)Z .* gap_ms=(-?\d+)", line) for line in self.told("handed-over"))
        return [(datetime.fromisoformat(one[1] + "+00:00").timestamp(), int(one[2])) for one in told if one]


class Loads:
    """Runs of the lab's load (tests/lab/load.py) against the pods' addresses, which it is told as they change."""

    def __init__(self, release: Release) -> None:
        self._release = release
        self._addresses: dict[str, str] = {}
        self._runs: list[tuple[subprocess.Popen[bytes], Path]] = []
        self._stack = ExitStack()
        self._folder = Path()

    def __enter__(self) -> "Loads":
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="e2e-load-")))
        access = self._release.access()
        if access:
            (self._folder / "secret").mkdir(mode=0o700)
            (self._folder / "secret/password").write_text(access.login[1])
        self._stack.callback(self._kill)
        self._stack.enter_context(self._release.watch_addresses(self._tell))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _kill(self) -> None:
        for process, _ in self._runs:
            process.kill()
            process.wait()

    def _tell(self, name: str, _: str, address: str) -> None:
        self._addresses[name] = address
        new = self._folder / "seeds.new"
        new.write_text(json.dumps([f"{one}:{PORT}" for one in self._addresses.values()]))
        new.rename(self._folder / "seeds")

    def start(self) -> None:
        """Another run, with keys of its own; returns once every shard acknowledged a write."""
        socket = self._folder / f"{len(self._runs)}.sock"
        with open(self._folder / "log", "ab") as log:
            process = subprocess.Popen(  # pylint: disable=consider-using-with
                [sys.executable, str(REPO / "tests/lab/load.py"), "--seeds-file", str(self._folder / "seeds"),
                 "--access", str(self._folder), "--socket", str(socket), "--gaps", "1000",
                 *["--real-time"] * ("DRAIN_FIGURES" in os.environ)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._runs.append((process, socket))
        until = time.monotonic() + 30
        while not socket.exists():
            assert process.poll() is None and time.monotonic() < until, (self._folder / "log").read_text()
            time.sleep(0.05)
        self._ask(-1, "started")

    def stop(self) -> dict[str, Any]:
        """Ends the last run's writes; its report."""
        self._ask(-1, "stop")
        return self._ask(-1, "report")

    def read_back(self) -> list[dict[str, Any]]:
        """Reads all that was ever acknowledged in any run; a report of each."""
        return [self._ask(number, "report") for number in range(len(self._runs))]

    def _ask(self, number: int, action: str) -> Any:
        return asyncio.run(load_control.ask(self._runs[number][1], action, 60))
