# SPDX-License-Identifier: Apache-2.0
"""The cluster that tests/e2e/cluster started (E2E_STATE), what its nodes run, and witnesses of what happens to a release
on it: a load, and all logs."""

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
from typing import IO, Any, ClassVar

from release import REPO, Refused, Release, call
from test_install import Installed

sys.path.append(str(REPO / "tests/lab"))

import load_control  # noqa: E402
from votes import won_unheld  # noqa: E402

STATE = Path(os.environ.get("E2E_STATE", "/nonexistent"))
PORT = 6379
# a container's log stays for as long as the kubelet needs to end its pod, which takes longer
LOOK_SECONDS = 0.3


def cluster(*words: str) -> str:
    """A command of tests/e2e/cluster; what it printed."""
    return call(str(REPO / "tests/e2e/cluster"), "--state", str(STATE), *words, timeout=300)


class Server:
    """The server's container of a pod as its node runs it now: for this nobody needs the API."""

    def __init__(self, pod: dict[str, Any]) -> None:
        """Of the API's pod."""
        self.node, self.ip = pod["spec"]["nodeName"], pod["status"]["podIP"]
        self._id = next(one["containerID"].removeprefix("containerd://")
                        for one in pod["status"]["containerStatuses"] if one["name"] == "redis")

    def kill(self, signal: str) -> None:
        """To its first process, which must be the server."""
        cluster("run", self.node, "sh", "-ec", 'pid=$(ctr -n k8s.io tasks list | awk -v id="$2" \'$1 == id { print $2 }\'); '
                'case $(cat "/proc/$pid/comm") in *-server) kill -s "$1" "$pid" ;; *) exit 1 ;; esac',
                "sh", signal, self._id)

    def run(self, *argv: str) -> str:
        """A command in the container, as the kubelet runs hooks."""
        return cluster("run", self.node, "ctr", "-n", "k8s.io", "tasks", "exec", "--exec-id", f"test-{time.time_ns()}",
                       self._id, *argv)


def when(line: str) -> float:
    """When (time.time) an agent wrote this line."""
    stamp = re.search(r"\bts=(\S+)Z", line)
    assert stamp, line
    return datetime.fromisoformat(stamp[1] + "+00:00").timestamp()


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

    def acts(self, since: float) -> list[str]:
        """What the agents have sent since then that changes something; only log.level debug tells all of it."""
        return [line for line in self.told("did") if when(line) >= since]

    def save(self) -> None:
        """For people, beside the state, which goes with the cluster."""
        folder = STATE.parent / "e2e-logs"
        folder.mkdir(exist_ok=True)
        for container in ("redis", "agent"):
            for run, log in self.of(container).items():
                (folder / f"{run} {container}.log".replace(" ", "-")).write_text(log)
        # an agent that hangs or burns a processor says nothing of it
        for node in sorted(path.name for path in STATE.glob("node-*")):
            try:
                (folder / f"{node}-ps.log").write_text(cluster("run", node, "ps", "axo", "pid,stat,time,etime,wchan:24,args"))
            except Refused:
                pass  # it is the lost one
        print(f"the logs of all pods, of those that are gone too: {folder}", file=sys.stderr)

    def hand_overs(self) -> list[tuple[float, int]]:
        """Of each so far: when it was done, since the epoch, and for how long its agent says that writes were paused
        at most, ms."""
        found = ((line, re.search(r" gap_ms=(-?\d+)", line)) for line in self.told("handed-over"))
        return [(when(line), int(gap[1])) for line, gap in found if gap]


class Witnessed(Installed):
    """A release all of whose logs are there for its tests, and for people when one fails."""

    logs: ClassVar[Logs]

    @classmethod
    def prepare(cls) -> None:
        stack = ExitStack()
        cls.addClassCleanup(stack.close)
        cls.logs = stack.enter_context(Logs(cls.release))

    def run(self, result: Any = None) -> Any:
        before = len(result.failures) + len(result.errors) if result else 0
        done = super().run(result)
        if result and (len(result.failures) + len(result.errors) > before or "E2E_LOGS" in os.environ):
            self.logs.save()
        return done

    def no_old_votes(self) -> None:
        """Nobody has ever won an election that was not held."""
        self.assertEqual([f"{run}: {one}" for run, log in self.logs.of("redis").items() for one in won_unheld(log)], [])


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


def gap_between(report: dict[str, Any], begin: float, end: float) -> float:
    """The longest time without a write that ended between these two, ms; 0 if it was shorter than all that are kept."""
    return max((ms for ms, ended in zip(report["longestGapsMs"], report["longestGapsEnded"]) if begin <= ended <= end),
               default=0.0)
