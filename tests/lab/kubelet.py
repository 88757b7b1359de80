# SPDX-License-Identifier: Apache-2.0
"""The kubelets of all nodes: a worker for every pod, from its sandbox to its removal.

What is faithful, and where it is written down:
- a native sidecar starts before the other containers and counts as started when its socket answers,
  ends after them and is not restarted once the pod terminates (KEP-753);
- preStop and SIGTERM share one grace clock; an overrunning preStop leaves 2 s (kuberuntime:
  minimumGracePeriodInSeconds); a liveness kill runs preStop too, without a deletionTimestamp;
- a container restart keeps the pod's address, a new pod (and a rebooted node) gets a new one;
- probe results reset with the container; readiness goes on while terminating, liveness does not.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import signal
import time
from pathlib import Path
from typing import Any, Callable, Optional

import access
import workloads
from config import (CLIENT_PORT, NAMESPACE, LabConfig, agent_settings, nest, persistence_args,
                    yaml_lines)
from container import Container, namespaces_refused, run_hook
from network import Addresses
from rbac import Rbac
from store import Change, Object, Store, timestamp
from workloads import AGENT, SERVER, ZONE_LABEL

MINIMUM_GRACE = 2.0
STILLBORN = 5.0      # seconds; a container that ends sooner, its gate included, never worked, and the lab says why


class PodWorker:
    """One pod (one uid) on its node."""

    def __init__(self, kubelet: "Kubelet", pod: Object, previous: Optional["PodWorker"]) -> None:
        self.kubelet, self.config = kubelet, kubelet.config
        self.name = pod["metadata"]["name"]
        self.uid = pod["metadata"]["uid"]
        self.node = pod["spec"]["nodeName"]
        self.ordinal = workloads.ordinal_of(pod)
        self.directory = self.config.directory / "pods" / self.name
        self.socket = self.directory / "run/agent.sock"
        self.address = ""
        self.group = kubelet.addresses.group(self.ordinal)
        self.paused: set[str] = set()
        self.terminating = workloads.is_terminating(pod)
        self.ended = asyncio.Event()
        self._pod = pod
        self._previous = previous
        self._server_ran = False
        self._leaving = False                # nothing is left to do but to end what still runs
        self._deletion = asyncio.Event()
        self._deadline = 0.0
        restarts = {c["name"]: c["restartCount"] + 1
                    for kind in ("initContainerStatuses", "containerStatuses")
                    for c in pod["status"].get(kind, []) if c.get("containerID")}
        self._fresh = not restarts           # else: a sandbox made anew after its node came back
        self.agent = self._container(pod["spec"]["initContainers"][0], False, restarts)
        self.server = self._container(pod["spec"]["containers"][0], kubelet.namespaced, restarts)
        self._task = asyncio.ensure_future(self._run())

    def _container(self, spec: Object, namespaced: bool, restarts: dict[str, int]) -> Container:
        return Container(spec["name"], spec["image"], self.directory / f"logs/{spec['name']}.log",
                         self.group, namespaced,
                         (self.config.lab["firstBackoff"], self.config.lab["backoff"]),
                         restarts.get(spec["name"], 0))

    def container(self, name: str) -> Container:
        return self.agent if name == AGENT else self.server

    # -- life --------------------------------------------------------------------------------------

    async def _run(self) -> None:
        tasks: list[asyncio.Task[None]] = []
        try:
            if self._previous is not None:
                await self._previous.ended.wait()
                self._previous = None
            await self._prepare()
            tasks = [asyncio.ensure_future(t) for t in (
                self._start_agent(), self._start_order(),
                self._probe("ready", self.config.lab["readinessSeconds"]),
                self._probe("alive", self.config.lab["livenessSeconds"]))]
            failed = asyncio.gather(*tasks)
            failed.add_done_callback(lambda f: f.cancelled() or f.exception())    # seen below
            deleted = asyncio.ensure_future(self._deletion.wait())
            await asyncio.wait({failed, deleted}, return_when=asyncio.FIRST_COMPLETED)
            if failed.done():
                failed.result()
            await self._terminate(tasks)
        except asyncio.CancelledError:
            raise
        except Exception as error:       # no program, a full disk: said, and then only removal
            self.kubelet.report(f"{self.name}: {type(error).__name__}: {error}")
            await self._deletion.wait()
            self._leaving = True
            self.kubelet.store.delete("pods", NAMESPACE, self.name, self.uid)
        finally:
            for task in tasks:
                task.cancel()
            self._leaving = True
            self.agent.kill()
            self.server.kill()
            await asyncio.gather(self.agent.wait(5), self.server.wait(5))
            self.ended.set()

    async def _prepare(self) -> None:
        """The sandbox: an address, directories, the agent's configuration and credentials."""
        await asyncio.sleep(self._chance("lateSeconds"))
        while (self.directory / "hold").exists():
            await asyncio.sleep(0.02)
        self.address = await self.kubelet.next_address(self.name)
        data = self.directory / "data"
        if self.kubelet.volume_is_new(self.name, self._fresh) and data.exists():
            shutil.rmtree(data)
        record = self.directory / "run/record.json"
        kept = record.read_bytes() if self.config.lab["keepRecord"] and record.exists() else b""
        shutil.rmtree(self.directory / "run", ignore_errors=True)
        for part in ("run", "data", "logs"):
            (self.directory / part).mkdir(parents=True, exist_ok=True)
        if kept:
            record.write_bytes(kept)
        if self.config.discovery == "kubernetes":
            shutil.copy(self.config.directory / "ca.crt", self.directory / "ca.crt")
            self.write_token()
        await self._put_secrets()
        tree = nest(self.agent_settings())
        (self.directory / "agent.yaml").write_text("\n".join(yaml_lines(tree)) + "\n")
        self.kubelet.addresses_changed()
        self.publish()

    def agent_settings(self) -> dict[str, Any]:
        zone = self.kubelet.store.get("nodes", "", self.node)["metadata"]["labels"][ZONE_LABEL]
        return agent_settings(self.config, self.address, self.directory, self.kubelet.api_url, zone)

    async def _put_secrets(self) -> None:
        if self.config.auth:
            access.put_password(self.config.directory, self.directory, self.config.lab["user"])
        if self.config.tls:      # two runs of openssl, beside the loop
            await asyncio.to_thread(access.make_pod_certificate, self.config.directory,
                                    self.directory, self.name, self.address)

    def write_token(self) -> None:
        """A token of this pod's own, so that requests are counted by pod. Replaced atomically."""
        path = self.directory / "token"
        new = path.with_suffix(".new")
        new.write_text(self.kubelet.rbac.issue(self.name) + "\n")
        new.rename(path)

    def delete(self, grace: int) -> None:
        """The API says: terminate within so many seconds from now (a later call may shorten it)."""
        deadline = time.monotonic() + grace
        if not self.terminating or self._deadline == 0.0 or deadline < self._deadline:
            self._deadline = deadline
        self.terminating = True
        self._deletion.set()

    def kill_now(self) -> None:
        """Forced deletion, or the node lost its power."""
        self.terminating = True
        self.agent.kill()
        self.server.kill()
        if not self._leaving:
            self._leaving = True
            self._task.cancel()

    def _chance(self, setting: str) -> float:
        """Some time up to that of the setting, the same in each lab of this seed."""
        seed = f"{self.config.lab['seed']}/{self.name}"
        return random.Random(seed).uniform(0, self.config.lab[setting])

    async def _start_agent(self) -> None:
        await asyncio.sleep(self._chance("agentSeconds"))
        while self.config.lab["agentsAfter"] and not Path(self.config.lab["agentsAfter"]).exists():
            await asyncio.sleep(0.02)
        await self._keep(self.agent, self._agent_command)

    async def _start_order(self) -> None:
        """The agent first, then its server; or the server alone, without the gate, agent later."""
        if self.config.lab["agentsAfter"]:
            asyncio.ensure_future(self._notice_agent_starts())
            await self._keep(self.server, self._server_command)
        while not await self._socket_answers():
            await asyncio.sleep(0.05)
        self._agent_is_started()
        asyncio.ensure_future(self._notice_agent_starts())
        await self._keep(self.server, self._server_command)

    async def _notice_agent_starts(self) -> None:
        """After a crash of the agent: it counts as started again when its socket answers."""
        while not self.ended.is_set():
            if self.agent.running and not self.agent.started and await self._socket_answers():
                self._agent_is_started()
            await asyncio.sleep(0.2)

    def _agent_is_started(self) -> None:
        self.agent.started = self.agent.ready = True
        self.publish()

    async def _socket_answers(self) -> bool:
        try:
            _, writer = await asyncio.wait_for(
                asyncio.open_unix_connection(str(self.socket)), 1.0)
        except (OSError, asyncio.TimeoutError):
            return False
        writer.close()
        return True

    async def _keep(self, container: Container, command: Callable[[], tuple[Any, ...]]) -> None:
        """restartPolicy Always: run a container with back-off until the pod terminates."""
        while not self.terminating:
            argv, env, cwd = command()
            await container.start(argv, env, cwd)
            if container is self.server:
                self._server_ran = True
            self.publish()
            await container.exited.wait()
            if self.terminating:
                return
            if time.monotonic() - container.began < STILLBORN:
                self.kubelet.report(f"{self.name}: {container.last_words()}")
            delay = container.next_delay()
            self.publish()
            await asyncio.sleep(delay)

    def _agent_command(self) -> tuple[list[str], dict[str, str], Path]:
        return ([self.config.program("muster"), "agent", "--config",
                 str(self.directory / "agent.yaml")],
                {**self.identity(), **self._agent_env()}, self.directory)

    def _agent_env(self) -> dict[str, str]:
        return dict(word.split("=", 1) for word in self.config.lab["agentEnv"].split())

    def identity(self) -> dict[str, str]:
        """What the downward API tells the agent."""
        if self.config.discovery != "kubernetes":    # redis.host tells the address
            return {"POD_NAME": self.name}
        return {"POD_NAME": self.name, "POD_NAMESPACE": NAMESPACE, "POD_UID": self.uid,
                "POD_IP": self.address}

    def _server_command(self) -> tuple[list[str], dict[str, str], Path]:
        data = self.directory / "data"
        program = self.kubelet.server_path(self.server.image)
        settings = []
        if self.config.auth:     # in a file: arguments are for everybody to see
            conf = self.directory / "server.conf"
            conf.write_text(access.server_conf(self.config.directory, self.config.lab["user"],
                                               self.config.lab["userRules"]))
            settings.append(str(conf))
        settings += ["--port", str(CLIENT_PORT), "--bind", self.address,
                    "--bind-source-addr", self.address, "--protected-mode", "no",
                    "--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf",
                    "--cluster-node-timeout", str(self.config.node_timeout), "--dir", str(data),
                    "--daemonize", "no", "--enable-debug-command", "yes"]
        if self.config.tls:
            settings += access.server_tls_args(self.directory, CLIENT_PORT,
                                               self.config.lab["clientCerts"])
        settings += persistence_args(self.config.persistence)
        settings += self.config.lab["serverArgs"].split()
        hook = [self.config.program("muster-hook"), "start", "--socket", str(self.socket),
                "--data-dir", str(data), "--", program]
        if self.config.lab["agentsAfter"]:
            hook = [program]
        return hook + settings, {"HOSTNAME": self.name, "HOME": "/root"}, data

    # -- probes ------------------------------------------------------------------------------------

    async def _hook(self, verb: str, timeout: float) -> Optional[int]:
        return await run_hook([self.config.program("muster-hook"), verb,
                               "--socket", str(self.socket)], self.group, timeout,
                              self.directory / "logs/hook.log")

    async def _probe(self, verb: str, period: float) -> None:
        """Readiness ("ready") or liveness ("alive") of the server's container."""
        failures, run = 0, 0.0
        await asyncio.sleep(period * ((self.ordinal * 7) % 10) / 10)     # not all at once
        while verb == "ready" or not self.terminating:
            asked = self.agent.running or not self.config.lab["agentsAfter"]
            if self.server.running and not self.paused_whole and asked:
                if run != self.server.began:
                    failures, run = 0, self.server.began
                good = await self._hook(verb, 2.0) == 0
                if not self.server.running or run != self.server.began:
                    continue
                failures = 0 if good else failures + 1
                if verb == "ready":
                    self._ready(good, failures)
                elif failures >= 3 and not self.terminating:
                    await self._liveness_kill()
            await asyncio.sleep(period)

    def _ready(self, good: bool, failures: int) -> None:
        ready = good or (self.server.ready and failures < 3)
        if ready != self.server.ready or not self.server.started:
            self.server.ready, self.server.started = ready, True
            self.publish()

    async def _liveness_kill(self) -> None:
        self.kubelet.report(f"{self.name}: liveness failed three times, container killed")
        deadline = time.monotonic() + self._pod["spec"]["terminationGracePeriodSeconds"]
        await self._stop_server(lambda: deadline)

    @property
    def paused_whole(self) -> bool:
        """A frozen pod stands for a frozen node: its kubelet is frozen too."""
        return self.paused == {AGENT, SERVER}

    # -- the end -----------------------------------------------------------------------------------

    async def _terminate(self, tasks: list["asyncio.Task[None]"]) -> None:
        await self._stop_server(lambda: self._deadline)
        self.publish()
        left = max(self._deadline - time.monotonic(), MINIMUM_GRACE)
        if self.agent.running:
            self.agent.signal(signal.SIGTERM)
            if not await self.agent.wait(left):
                self.agent.kill()
                await self.agent.wait(None)
        for task in tasks:
            task.cancel()
        self._publish_end()
        self._leaving = True
        self.kubelet.store.delete("pods", NAMESPACE, self.name, self.uid)

    async def _stop_server(self, deadline: Callable[[], float]) -> None:
        """preStop, SIGTERM, SIGKILL: one clock from the start of preStop."""
        if not self.server.running:
            return
        drain = asyncio.ensure_future(self._hook("drain", 365 * 86400.0))
        try:
            await self._until(deadline, lambda: drain.done() or not self.server.running)
            if not self.server.running:
                return
            self.server.signal(signal.SIGTERM)
            least = time.monotonic() + MINIMUM_GRACE
            await self._until(lambda: max(deadline(), least), lambda: not self.server.running)
            self.server.kill()
            await self.server.wait(None)
        finally:
            drain.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await drain

    @staticmethod
    async def _until(deadline: Callable[[], float], done: Callable[[], bool]) -> None:
        """Wait for done, or a deadline that may move."""
        while not done() and time.monotonic() < deadline():
            await asyncio.sleep(0.02)

    # -- status ------------------------------------------------------------------------------------

    def publish(self) -> None:
        """Write status as the kubelet does; nothing when nothing changed."""
        self.kubelet.store.modify("pods", NAMESPACE, self.name, self._fill_status, self.uid)

    def _fill_status(self, pod: Object) -> None:
        status = pod["status"]
        status["phase"] = "Running" if self._server_ran else "Pending"
        status["hostIP"] = self.kubelet.node_address(self.node)
        status["podIP"], status["podIPs"] = self.address, [{"ip": self.address}]
        status.setdefault("startTime", timestamp())
        status["initContainerStatuses"] = [self.agent.status()]
        status["containerStatuses"] = [self.server.status()]
        ready = self.agent.ready and self.server.ready
        why = "" if ready else "ContainersNotReady"
        workloads.set_conditions(status, {
            "PodReadyToStartContainers": (True, ""),
            "Initialized": (self.agent.started or self._server_ran,
                            "" if self.agent.started or self._server_ran
                            else "ContainersNotInitialized"),
            "Ready": (ready, why), "ContainersReady": (ready, why)})

    def _publish_end(self) -> None:
        def edit(pod: Object) -> None:
            self._fill_status(pod)
            ended = self.server.status()["state"].get("terminated", {})
            pod["status"]["phase"] = "Succeeded" if ended.get("exitCode") == 0 else "Failed"
        self.kubelet.store.modify("pods", NAMESPACE, self.name, edit, self.uid)


class Kubelet:
    """All kubelets in one: turns pod objects into workers."""

    def __init__(self, config: LabConfig, store: Store, rbac: Rbac, addresses: Addresses,
                 api_url: str, server_path: Callable[[str], str],
                 addresses_changed: Callable[[], None], report: Callable[[str], None]) -> None:
        self.config, self.store, self.rbac, self.addresses = config, store, rbac, addresses
        self.api_url = api_url
        self.server_path = server_path
        self.addresses_changed = addresses_changed
        self.report = report
        refused = namespaces_refused()
        self.namespaced = not refused
        if refused:
            report(f"no PID namespaces here, servers run without: {refused}")
        self.workers: dict[str, PodWorker] = {}      # by pod name: the latest incarnation
        self.lost: set[str] = set()                  # nodes without power
        self.keep_data: set[str] = set()             # pods whose next incarnation keeps its data
        self.wipe_data: set[str] = set()             # pods whose next incarnation loses its volume
        self.heirs: dict[str, PodWorker] = {}        # whose address the next incarnation gets
        self._undo = store.subscribe(self._changed)

    def _changed(self, change: Change) -> None:
        if change.resource == "pods":
            asyncio.get_running_loop().call_soon(self._sync, change)

    def _sync(self, change: Change) -> None:
        pod, meta = change.obj, change.obj["metadata"]
        worker = self.workers.get(meta["name"])
        mine = worker is not None and worker.uid == meta["uid"]
        node = pod["spec"].get("nodeName", "")
        if not node or node in self.lost or self.store.find("nodes", "", node) is None:
            return
        if change.type == "DELETED":
            if mine and worker is not None and not worker.ended.is_set():
                worker.kill_now()
            return
        if not mine:
            present = self.store.find("pods", NAMESPACE, meta["name"])
            if present is not None and present["metadata"]["uid"] == meta["uid"]:
                worker = self.start(present)
        if worker is not None and workloads.is_terminating(pod):
            worker.delete(meta["deletionGracePeriodSeconds"])

    def start(self, pod: Object) -> PodWorker:
        name = pod["metadata"]["name"]
        worker = PodWorker(self, pod, self.workers.get(name))
        self.workers[name] = worker
        return worker

    def volume_is_new(self, name: str, fresh: bool) -> bool:
        """Whether a pod that starts now finds an empty data directory."""
        keep, wipe = name in self.keep_data, name in self.wipe_data
        self.keep_data.discard(name)
        self.wipe_data.discard(name)
        return wipe or (fresh and not self.config.volumes and not keep)

    async def next_address(self, name: str) -> str:
        """A fresh one, or the one that was promised, once it is free."""
        former = self.heirs.pop(name, None)
        if former is None:
            return self.addresses.fresh()
        await former.ended.wait()
        return former.address

    def node_address(self, node: str) -> str:
        obj = self.store.find("nodes", "", node)
        return obj["status"]["addresses"][0]["address"] if obj else ""

    def lose_node(self, node: str) -> list[PodWorker]:
        """Power off: every process of the node is gone, and nobody reports it."""
        self.lost.add(node)
        victims = [w for w in self.workers.values() if w.node == node and not w.ended.is_set()]
        for worker in victims:
            worker.kill_now()
        return victims

    def return_node(self, node: str) -> None:
        """Power on: what was deleted meanwhile ends, the rest starts in new sandboxes."""
        self.lost.discard(node)
        for pod in self.store.list("pods", NAMESPACE):
            if pod["spec"].get("nodeName") != node:
                continue
            meta = pod["metadata"]
            if workloads.is_terminating(pod):
                self.store.delete("pods", NAMESPACE, meta["name"], meta["uid"])
            else:
                self.store.modify("pods", NAMESPACE, meta["name"], lambda o:
                                  workloads.set_conditions(o["status"], {"Ready": (False, "")}))
                self.start(self.store.get("pods", NAMESPACE, meta["name"]))

    async def stop(self) -> None:
        """End everything at once (lab down)."""
        self._undo()
        for worker in self.workers.values():
            worker.kill_now()
        ends = asyncio.gather(*(w.ended.wait() for w in self.workers.values()))
        with contextlib.suppress(asyncio.TimeoutError):     # what is left dies with the daemon
            await asyncio.wait_for(ends, 10)
