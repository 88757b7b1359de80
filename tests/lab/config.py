# SPDX-License-Identifier: Apache-2.0
"""What one lab is made of: the options of `lab up`, checked, and kept in DIR/config.json."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Optional

import access
import dns

REPO = Path(__file__).resolve().parents[2]
NAMESPACE = "lab"
SET_NAME = "muster"
HEADLESS = "muster-headless"
CLIENT_PORT = 6379
HTTP_PORT = 8008
API_PORT = 6443
UNIX_PATH_MAX = 107          # sun_path without its final NUL

# The lab's own settings, by --set lab.NAME=VALUE.
LAB_DEFAULTS: dict[str, Any] = {
    "zoneLabels": False,         # put topology.kubernetes.io/zone on pods, as Kubernetes 1.35 may
    "nodeAccess": False,         # let the agents read nodes (the chart's optional ClusterRole)
    "readinessSeconds": 1.0,     # period of `muster-hook ready`
    "livenessSeconds": 5.0,      # period of `muster-hook alive`
    "firstBackoff": 0.0,         # delay of the first restart of a container
    "backoff": 10.0,             # delay of the second; doubles up to x30
    "bookmarkSeconds": 30.0,     # idle time before a watch gets a bookmark
    "faults": "",                # of the API server from the start: SPECs, separated by blanks
    "history": 5000,             # changes kept for watches before they are compacted
    "nodeGraceSeconds": 40.0,    # node-monitor-grace-period
    "evictSeconds": 300.0,       # tolerationSeconds of not-ready and unreachable
    "agentEnv": "",              # more environment for every agent: "NAME=value NAME=value"
    "agentsAfter": "",           # agents start once this file exists; servers, ungated, at once
    "serverArgs": "",            # more arguments for every server, separated by blanks
    "lateSeconds": 0.0,          # a pod gets its address a random time after it was scheduled
    "agentSeconds": 0.0,         # and its agent runs a random time after that, as after image and init
    "seed": 0,                   # of these times
    "user": "",                  # with --auth: the agents' ACL user; else the default user
    "userRules": "",             # its rights, if not the smallest that will do
    "keepRecord": False,         # without Kubernetes: record.json outlives the pod, on its volume
    "dns": "up",                 # how the name server answers at first: see `lab dns --help`
    "clientCerts": True,         # with --tls: the servers want a certificate of every client
}


class ConfigError(Exception):
    """An option that cannot be honoured, in one sentence."""


def parse_scalar(text: str) -> Any:
    """The YAML scalars that a --set may carry; JSON for lists and maps."""
    if text in ("true", "yes"):
        return True
    if text in ("false", "no"):
        return False
    if text.lstrip("-").isdigit() and text.isascii():
        return int(text)
    if text[:1] in ("[", "{", '"'):
        try:
            return json.loads(text)
        except ValueError as error:
            raise ConfigError(f"{text!r} is not JSON: {error}") from error
    return text


@dataclass
class LabConfig:
    """The options of `lab up`, with DESIGN 8's defaults."""

    state: str
    pods: int = 6
    replicas_per_primary: int = 1
    zones: int = 3
    nodes: int = 3
    server: str = "redis-7.0"
    node_timeout: int = 15000
    persistence: str = "aof"
    volumes: bool = True
    grace: int = 60
    ordered: bool = False
    auth: bool = False
    tls: bool = False
    ipv6: bool = False
    discovery: str = "kubernetes"
    settings: dict[str, Any] = field(default_factory=dict)   # agent.yaml keys
    lab: dict[str, Any] = field(default_factory=lambda: dict(LAB_DEFAULTS))
    owns_state: bool = True      # `up` made the directory, so `down` removes it
    build: str = ""

    def apply(self, assignments: list[str]) -> None:
        """Take --set KEY=VALUE; lab.* are the lab's, everything else goes to agent.yaml."""
        for item in assignments:
            key, equals, text = item.partition("=")
            if not equals or not key:
                raise ConfigError(f"--set {item!r} is not KEY=VALUE")
            value = parse_scalar(text)
            if not key.startswith("lab."):
                self.settings[key] = value
                continue
            name = key[4:]
            if name not in LAB_DEFAULTS:
                raise ConfigError(f"--set {key}: the lab's keys are lab."
                                  + " lab.".join(LAB_DEFAULTS))
            wanted = type(LAB_DEFAULTS[name])
            if wanted is float and isinstance(value, (int, str)) and not isinstance(value, bool):
                try:
                    value = float(text)
                except ValueError:
                    pass
            if wanted is str:
                value = text
            if not isinstance(value, wanted):
                raise ConfigError(f"--set {key}: {text!r} is not a {wanted.__name__}")
            self.lab[name] = value

    def check(self) -> None:
        """Refuse what could not work, before anything is started."""
        for name, value, low, high in (
                ("--pods", self.pods, 0, 1000), ("--zones", self.zones, 1, 26),
                ("--nodes", self.nodes, 1, 1000), ("--grace", self.grace, 1, 86400),
                ("--replicas-per-primary", self.replicas_per_primary, 0, 16),
                ("--node-timeout", self.node_timeout, 100, 3600000)):
            if not low <= value <= high:
                raise ConfigError(f"{name} {value} is not between {low} and {high}")
        longest = f"{self.state}/pods/{SET_NAME}-{max(self.pods, 100)}/run/agent.sock"
        if len(longest.encode()) > UNIX_PATH_MAX:
            raise ConfigError(f"--state {self.state} is too long: {longest} has "
                              f"{len(longest.encode())} bytes, a Unix socket takes {UNIX_PATH_MAX}")
        if self.lab["user"] and not self.auth:
            raise ConfigError("--set lab.user needs --auth")
        if os.geteuid() != 0:
            raise ConfigError("the lab must run as root: servers get PID namespaces of their own")
        for tool in ("unshare", "setpriv", "openssl", *(("ip",) if self.ipv6 else ())):
            if shutil.which(tool) is None:
                raise ConfigError(f"{tool} is missing; tests/lib/setup.sh lab installs it")

    # -- files -----------------------------------------------------------------------------------

    @property
    def directory(self) -> Path:
        return Path(self.state)

    @property
    def control(self) -> Path:
        return self.directory / "control.sock"

    def save(self) -> None:
        (self.directory / "config.json").write_text(json.dumps(asdict(self), indent=2) + "\n")

    @staticmethod
    def load(state: Path) -> "LabConfig":
        return LabConfig(**json.loads((state / "config.json").read_text()))

    # -- programs --------------------------------------------------------------------------------

    def program(self, name: str) -> str:
        """muster or muster-hook, from MUSTER_BUILD or the usual build trees."""
        roots = [Path(self.build)] if self.build else [REPO / "build/release", REPO / "build/dev"]
        for root in roots:
            for path in (root / "bin" / name, root / name, root / "agent" / name):
                if path.is_file() and os.access(path, os.X_OK):
                    return str(path.resolve())
        raise ConfigError(f"{name} is not in {' or '.join(map(str, roots))}; build it, or set "
                          "MUSTER_BUILD to a directory that holds it")


def server_program(name: str) -> str:
    """The path of a server by its name, from tests/lib/server.sh (which may fetch it)."""
    if name.startswith("/"):
        if not os.access(name, os.X_OK):
            raise ConfigError(f"server {name} is not executable")
        return name
    script = REPO / "tests/lib/server.sh"
    done = subprocess.run([str(script), name], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, check=False)
    path = done.stdout.strip().splitlines()[-1:] or [""]
    if done.returncode != 0 or not os.access(path[0], os.X_OK):
        last: Optional[str] = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ConfigError(f"no server {name}: {last}")
    return path[0]


def persistence_args(mode: str) -> list[str]:
    """redis.conf settings of a persistence mode."""
    return {"aof": ["--appendonly", "yes", "--save", ""],
            "rdb": ["--appendonly", "no", "--save", "3600 1 300 100 60 10000"],
            "none": ["--appendonly", "no", "--save", ""]}[mode]


def nest(flat: dict[str, Any]) -> dict[str, Any]:
    """{"a.b": 1} -> {"a": {"b": 1}}"""
    tree: dict[str, Any] = {}
    for key, value in flat.items():
        node = tree
        *parents, leaf = key.split(".")
        for part in parents:
            node = node.setdefault(part, {})
            if not isinstance(node, dict):
                raise ConfigError(f"--set {key}: {part} is not a map")
        node[leaf] = value
    return tree


def yaml_lines(tree: dict[str, Any], indent: str = "") -> list[str]:
    """Block YAML of a tree; a scalar's JSON form is its YAML form."""
    lines = []
    for key, value in tree.items():
        if isinstance(value, dict):
            lines.append(f"{indent}{key}:")
            lines += yaml_lines(value, indent + "  ")
        else:
            lines.append(f"{indent}{key}: {json.dumps(value)}")
    return lines


def discovery_settings(config: LabConfig, directory: Path, api: str, zone: str) -> dict[str, Any]:
    """How an agent finds its servers and what it is told of the cluster's size."""
    if config.discovery == "kubernetes":
        return {"kubernetes.apiServer": api,
                "kubernetes.caFile": str(directory / "ca.crt"),
                "kubernetes.tokenFile": str(directory / "token"),
                "kubernetes.namespace": NAMESPACE,
                "kubernetes.statefulSet": "",
                "kubernetes.leaseSeconds": 15}
    server = api.removeprefix("https://").rpartition(":")[0]     # of names: the API's address
    if config.discovery == "dns":
        return {"dns.server": server, "dns.name": dns.NAME, "dns.port": CLIENT_PORT,
                "cluster.size": config.pods, "cluster.zone": zone}
    return {"dns.server": server, "cluster.zone": zone, "static.peers": [
        f"{SET_NAME}-{ordinal}.lab:{CLIENT_PORT}" for ordinal in range(config.pods)]}


def agent_settings(config: LabConfig, address: str, directory: Path, api: str,
                   zone: str) -> dict[str, Any]:
    """The flat keys of a pod's agent.yaml (DESIGN 8), what --set says last."""
    return {
        "discovery": config.discovery,
        **discovery_settings(config, directory, api, zone),
        "cluster.replicasPerPrimary": config.replicas_per_primary,
        "redis.host": address,
        "redis.port": CLIENT_PORT,
        "http.address": address,
        "http.port": HTTP_PORT,
        "hook.socket": str(directory / "run/agent.sock"),
        **access.agent_keys(directory, config.auth, config.lab["user"], config.tls,
                            config.lab["clientCerts"]),
        **config.settings,
    }
