#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The process behind a lab: API server, controllers and kubelets on one event loop.

Started by `lab up`; takes commands as JSON lines on DIR/control.sock:
    {"command": "scale", "args": {...}}
    {"progress": "..."} any number of times, then {"result": ...} or {"error": "..."}
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import signal
import sys
import time
from pathlib import Path
from typing import Any, Optional

import access
import commands
import controllers
import pki
import workloads
from apiserver import ApiServer
from config import (API_PORT, CLIENT_PORT, HTTP_PORT, NAMESPACE, SET_NAME, ConfigError, LabConfig,
                    server_program)
from dns import NameServer
from faults import Faults
from httpd import Server
from kubelet import Kubelet
from network import Addresses, Partition
from rbac import ADMIN, Rbac
from store import Object, Store

CONTROL_LINE_MAX = 1024 * 1024
importlib.import_module("set_commands")     # adds its own to commands.COMMANDS


class Lab:
    """Everything of one lab; commands.py works on it."""

    def __init__(self, config: LabConfig) -> None:
        self.config = config
        self.store = Store(config.lab["history"])
        self.rbac = Rbac(NAMESPACE, config.lab["nodeAccess"])
        self.faults = Faults()
        self.addresses = Addresses((CLIENT_PORT, CLIENT_PORT + 10000, HTTP_PORT, API_PORT),
                                   config.ipv6)
        self.partition = Partition(self.addresses)
        host = f"[{self.addresses.api}]" if config.ipv6 else self.addresses.api
        self.api_url = f"https://{host}:{API_PORT}"
        self.access = access.Access(config.directory)
        self.finished = asyncio.Event()
        self.messages: list[str] = []
        self.load: Optional[asyncio.subprocess.Process] = None
        self.names: Optional[NameServer] = None
        self.deleted_set: Object = {}     # the StatefulSet as it was, while there is none
        self._servers: dict[str, str] = {}
        self._log = open(config.directory / "api.log", "a", buffering=1, encoding="utf-8")

    async def start(self) -> None:
        config, directory = self.config, self.config.directory
        pki.make_ca(directory)
        access.make_secrets(directory, config.auth, config.tls)
        cert, key = pki.make_server_cert(directory, self.addresses.api)
        self.api = ApiServer(self.store, self.rbac, self.faults, config.lab["bookmarkSeconds"],
                             self._log)
        self.http = Server(self.addresses.api, API_PORT, pki.server_context(cert, key),
                           self.api.handle)
        for spec in filter(None, config.lab["faults"].split()):
            self.api.inject(spec)
        await self.http.start()
        (directory / "admin.token").write_text(self.rbac.issue(ADMIN) + "\n")
        if config.discovery != "kubernetes":
            self.names = NameServer(self.addresses_by_pod)
            self.names.set(config.lab["dns"])
            await self.names.start(self.addresses.api)
        self.partition.remove_stale()
        self.kubelet = Kubelet(config, self.store, self.rbac, self.addresses, self.api_url,
                               self.server_path, self._addresses_changed, self.report)
        controllers.EndpointSliceController(self.store, "IPv6" if config.ipv6 else "IPv4")
        controllers.Scheduler(self.store, config.lab["zoneLabels"], config.volumes)
        controllers.StatefulSetController(self.store)
        self.nodes = controllers.NodeController(self.store, config.lab["nodeGraceSeconds"],
                                                config.lab["evictSeconds"])
        for index in range(config.nodes):
            self.store.create("nodes", workloads.node(index, config.zones))
        self.store.create("statefulsets", workloads.stateful_set(config))
        (directory / "lab.json").write_text(json.dumps({
            "api": self.api_url, "network": self.addresses.network,
            "chain": self.partition.chain, "namespace": NAMESPACE}) + "\n")

    async def serve_certificate(self, kind: str) -> None:
        """Show another certificate from now on; connections start anew."""
        cert, key = pki.make_server_cert_of(self.config.directory, self.addresses.api, kind)
        # another context: one keeps a certificate of each kind of key
        self.http.context = pki.server_context(cert, key, kind in ("sha1", "weak-key"))
        await self.http.stop()
        await self.http.start()

    def report(self, message: str) -> None:
        """Something worth a line in daemon.log and in `lab status`."""
        print(f"{time.strftime('%H:%M:%S')} {message}", flush=True)
        self.messages = (self.messages + [message])[-20:]

    def server_path(self, name: str) -> str:
        if name not in self._servers:
            self._servers[name] = server_program(name)
        return self._servers[name]

    def pods_of_set(self) -> dict[int, Object]:
        """By ordinal; while the StatefulSet is deleted: the pods that it left behind."""
        owner = self.store.find("statefulsets", NAMESPACE, SET_NAME)
        if owner is not None:
            return controllers.owned_pods(self.store, owner)
        workers = self.kubelet.workers
        return {workloads.ordinal_of(p): p for p in self.store.list("pods", NAMESPACE)
                if p["metadata"]["name"] in workers
                and workers[p["metadata"]["name"]].uid == p["metadata"]["uid"]}

    def addresses_by_pod(self) -> dict[str, str]:
        """The servers that should be there: pods with an address, in ordinal order."""
        pods = sorted(self.pods_of_set().items())
        return {p["metadata"]["name"]: p["status"]["podIP"] for _, p in pods
                if p["status"].get("podIP")}

    def _addresses_changed(self) -> None:
        """A pod got an address: cuts follow it, and so do the load's seeds."""
        workers = self.kubelet.workers
        self.partition.apply({n: (w.address, w.group) for n, w in workers.items() if w.address})
        new = self.config.directory / "endpoints.json.new"
        new.write_text(json.dumps([f"{w.address}:{CLIENT_PORT}" for w in workers.values()
                                   if w.address]))
        new.rename(self.config.directory / "endpoints.json")

    def apply_partition(self) -> None:
        self._addresses_changed()

    async def stop(self) -> None:
        if self.load is not None and self.load.returncode is None:
            self.load.kill()
        await self.kubelet.stop()
        if self.names is not None:
            self.names.stop()
        await self.http.stop()
        with contextlib.suppress(ConfigError):
            self.partition.remove()
            self.addresses.remove()


async def _serve_command(lab: Lab, reader: asyncio.StreamReader,
                         writer: asyncio.StreamWriter) -> None:
    def send(message: dict[str, Any]) -> None:
        writer.write(json.dumps(message).encode() + b"\n")

    try:
        request = json.loads(await reader.readline())
        result = await commands.run(lab, request["command"], request.get("args", {}),
                                    lambda text: send({"progress": text}))
        send({"result": result})
    except (commands.Refused, ConfigError, ValueError) as error:
        send({"error": str(error)})
    except (ConnectionError, asyncio.CancelledError):
        raise
    except Exception as error:               # a bug must reach the person who typed the command
        lab.report(f"command failed: {type(error).__name__}: {error}")
        send({"error": f"{type(error).__name__}: {error}"})
        raise
    finally:
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        writer.close()


async def main(state: Path) -> int:
    if sys.version_info < (3, 12):           # the default there: one thread for every process
        watcher = asyncio.PidfdChildWatcher()
        watcher.attach_loop(asyncio.get_running_loop())
        asyncio.set_child_watcher(watcher)
    lab = Lab(LabConfig.load(state))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lab.finished.set)
    await lab.start()
    new = lab.config.control.with_suffix(".new")
    control = await asyncio.start_unix_server(
        lambda r, w: _serve_command(lab, r, w), str(new), limit=CONTROL_LINE_MAX)
    new.rename(lab.config.control)           # it is there only once it listens
    lab.report(f"API at {lab.api_url}")
    await lab.finished.wait()
    control.close()
    await lab.stop()
    lab.config.control.unlink(missing_ok=True)
    lab.report("down")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main(Path(sys.argv[1]))))
    except ConfigError as problem:
        sys.exit(f"error: {problem}")
