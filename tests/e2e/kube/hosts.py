# SPDX-License-Identifier: Apache-2.0
"""Hosts: each is this machine in namespaces of its own (mount, net, pid, ipc, uts), see host-init.

A host is a folder below the state: `units/` (the programs it runs), `stopped/` (the names of those that it is not to run
now), `var/` (its /var), `pid` (of its process 1, with the time at which that started, so that no other process is ever
taken for it).
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Callable, Optional

HERE = Path(__file__).resolve().parent.parent
CGROUPS = Path("/sys/fs/cgroup")


def run(*argv: str, timeout: float = 60) -> str:
    """Runs a command and returns what it printed; RuntimeError with its words when it fails."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=timeout)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)}: {done.stderr.strip() or done.returncode}")
    return done.stdout


def _started(pid: int) -> Optional[str]:
    """When the process started, in the kernel's ticks; None when there is none, or only its remains."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def _first_child(pid: int) -> int:
    """The only child of unshare, which is process 1 of the new namespaces."""
    for _ in range(200):
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except OSError:
            break
        if children:
            return int(children[0])
        time.sleep(0.01)
    raise RuntimeError("unshare started nothing: are namespaces forbidden here?")


def unplug(name: str, ask: Callable[..., str] = run) -> None:
    """Removes an interface if it is there; `ask` runs a command in the network meant. The kernel would do it too when
    the host at the other end is gone, but in its own time."""
    if has_link(name, ask):
        ask("ip", "link", "delete", name)


def has_link(name: str, ask: Callable[..., str] = run) -> bool:
    """Whether there is an interface of that name."""
    return f" {name}@" in ask("ip", "-oneline", "link", "show")


class Host:
    """One host; its network is eth0 with one address, plugged into the bridge of the control host."""

    def __init__(self, state: Path, name: str, address: str) -> None:
        self.state, self.name, self.address = state, name, address
        self.folder = state / name
        self.var = self.folder / "var"
        # cgroups are the machine's: one branch for each state folder and host
        self.cgroup = f"muster-e2e-{os.stat(state).st_ino}/{name}"

    def unit(self, name: str, *argv: str) -> None:
        """A program that the host runs, again whenever it ends."""
        self.write(f"units/{name}", "#!/bin/sh\nexec " + " \\\n    ".join(argv) + "\n", 0o755)

    def write(self, path: str, text: str, mode: int = 0o600) -> None:
        """A file of the host; what begins with var/ it sees as /var/."""
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def stop_unit(self, name: str) -> None:
        """Kills a program, which does not start again before start_units(). What it has started runs on."""
        if not (self.folder / "units" / name).exists():
            raise RuntimeError(f"host {self.name} has no unit {name}")
        self.write(f"stopped/{name}", "")
        self.inside("sh", "-c", f"kill -KILL $(cat /run/units/{name})")

    def start_units(self) -> None:
        """Those that were stopped."""
        shutil.rmtree(self.folder / "stopped", ignore_errors=True)

    @property
    def pid(self) -> Optional[int]:
        """Process 1 of the host as the machine numbers it; None when the host is down."""
        try:
            pid, started = (self.folder / "pid").read_text().split()
        except (OSError, ValueError):
            return None
        return int(pid) if _started(int(pid)) == started else None

    def start(self, binaries: Path, routes: list[str], bridge: bool = False) -> None:
        """Starts process 1, which waits for plug_into() unless it holds the bridge itself."""
        self.start_units()
        begun = self.folder / "begun"
        begun.unlink(missing_ok=True)
        self.var.mkdir(parents=True, exist_ok=True)
        for part in ("lib", "log", "tmp", "cache"):
            (self.var / part).mkdir(exist_ok=True)
        environment = {
            "PATH": os.environ["PATH"], "HOME": "/root", "LC_ALL": "C.UTF-8", "HOST_NAME": self.name,
            "HOST_ADDRESS": f"{self.address}/24", "HOST_ROUTES": ",".join(routes),
            "HOST_BRIDGE": "1" if bridge else "",
        }
        with open(self.folder / "init.log", "ab") as log:
            parent = subprocess.Popen(  # pylint: disable=consider-using-with
                ["unshare", "--mount", "--net", "--pid", "--ipc", "--uts", "--fork", "--",
                 str(HERE / "host-init"), str(self.folder), str(binaries), str(self.state)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment,
                cwd="/", start_new_session=True)
        child = _first_child(parent.pid)
        (self.folder / "pid").write_text(f"{child} {_started(child)}\n")
        until = time.monotonic() + 30
        while not begun.exists():
            self._alive()
            if time.monotonic() > until:
                raise RuntimeError(f"host {self.name} does not begin: see {self.folder}/init.log")
            time.sleep(0.02)

    def inside(self, *argv: str, timeout: float = 60) -> str:
        """Runs a command on the host."""
        return run("nsenter", "--all", "--target", str(self._alive()), "--", *argv, timeout=timeout)

    def _alive(self) -> int:
        pid = self.pid
        if pid is None:
            raise RuntimeError(f"host {self.name} is down: see {self.folder}/init.log")
        return pid

    def plug_into(self, control: "Host") -> None:
        """A cable from this host's eth0 to the control host's bridge."""
        unplug(self.name, control.in_network)
        run("ip", "link", "add", self.name, "netns", str(control._alive()), "type", "veth",
            "peer", "name", "eth0", "netns", str(self._alive()))
        control.in_network("ip", "link", "set", self.name, "master", "eth0", "up")

    def in_network(self, *argv: str) -> str:
        """Runs one of the machine's own commands in the host's network."""
        return run("nsenter", "--net", "--target", str(self._alive()), "--", *argv)

    def stop(self) -> None:
        """Ends the host like a power cut: all its processes, mounts and interfaces are gone afterwards."""
        pid = self.pid
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
            until = time.monotonic() + 30
            while self.pid is not None and time.monotonic() < until:
                time.sleep(0.05)
            if self.pid is not None:
                raise RuntimeError(f"process {pid}, host {self.name}, does not die")
        (self.folder / "pid").unlink(missing_ok=True)
        self.remove_cgroups()

    def make_cgroups(self) -> None:
        """The branch below which the kubelet keeps its pods, in every hierarchy there is."""
        if (CGROUPS / "cgroup.controllers").exists():
            branch = CGROUPS
            for part in Path(self.cgroup).parts:
                wanted = (branch / "cgroup.controllers").read_text().split()
                (branch / "cgroup.subtree_control").write_text(" ".join(f"+{one}" for one in wanted))
                branch = branch / part
                branch.mkdir(exist_ok=True)
            return
        for hierarchy in CGROUPS.iterdir():
            if not hierarchy.is_dir() or hierarchy.is_symlink():
                continue
            branch = hierarchy
            for part in Path(self.cgroup).parts:
                branch = branch / part
                branch.mkdir(exist_ok=True)
                for inherited in ("cpuset.cpus", "cpuset.mems"):
                    if (branch / inherited).exists() and not (branch / inherited).read_text().strip():
                        (branch / inherited).write_text((branch.parent / inherited).read_text())

    def remove_cgroups(self) -> None:
        """Removes the branch; a cgroup can only be removed when its processes are gone."""
        top = Path(self.cgroup).parts[0]
        for tree in [CGROUPS / self.cgroup, *CGROUPS.glob(f"*/{self.cgroup}")]:
            for folder, _, _ in os.walk(tree, topdown=False):
                _rmdir(Path(folder))
            branch = tree.parent
            if branch.name == top and branch.is_dir() and not any(one.is_dir() for one in branch.iterdir()):
                _rmdir(branch)

    def remove(self) -> None:
        """Removes the folder of a host that is down."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _rmdir(folder: Path) -> None:
    for _ in range(100):
        try:
            folder.rmdir()
            return
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"the cgroup {folder} still has processes")
