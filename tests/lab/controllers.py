# SPDX-License-Identifier: Apache-2.0
"""The controllers: StatefulSet, EndpointSlice, scheduler, node life cycle.

Each is level-triggered: any change wakes it, and it compares what is with what should be.
"""

from __future__ import annotations

import asyncio
import copy
import time
from typing import Callable, Optional

import workloads
from apiserver import delete_pod
from config import HEADLESS, NAMESPACE, SET_NAME
from store import Change, Object, Store

CLIENT_SERVICE = SET_NAME


class Controller:
    """Runs `sync` once, soon, after any number of changes to the resources it looks at."""

    resources: tuple[str, ...] = ()

    def __init__(self, store: Store) -> None:
        self.store = store
        self._loop = asyncio.get_running_loop()
        self._due = False
        self._undo = store.subscribe(self._changed)

    def stop(self) -> None:
        self._undo()

    def wake(self) -> None:
        if not self._due:
            self._due = True
            self._loop.call_soon(self._run)

    def _changed(self, change: Change) -> None:
        if change.resource in self.resources:
            self.wake()

    def _run(self) -> None:
        self._due = False
        self.sync()

    def sync(self) -> None:
        raise NotImplementedError


def owned_pods(store: Store, stateful: Object) -> dict[int, Object]:
    """The pods whose controller is this very StatefulSet (by uid), by ordinal."""
    uid = stateful["metadata"]["uid"]
    return {workloads.ordinal_of(p): p for p in store.list("pods", NAMESPACE)
            if any(o.get("controller") and o["uid"] == uid
                   for o in p["metadata"].get("ownerReferences", []))}


def orphan_pods(store: Store, stateful: Object) -> None:
    """What the garbage collector does first when a set is deleted with --cascade=orphan."""
    for pod in owned_pods(store, stateful).values():
        store.modify("pods", NAMESPACE, pod["metadata"]["name"],
                     lambda o: o["metadata"].pop("ownerReferences"))


class StatefulSetController(Controller):
    """updateStatefulSet of k8s.io/kubernetes/pkg/controller/statefulset, both policies."""

    resources = ("statefulsets", "pods")

    def sync(self) -> None:
        for stateful in self.store.list("statefulsets", NAMESPACE):
            self._adopt(stateful)
            pods = owned_pods(self.store, stateful)
            self._act(stateful, pods)
            self._report(stateful, owned_pods(self.store, stateful))

    def _adopt(self, stateful: Object) -> None:
        """Pods without a controller that match by labels and by name (getPodsForStatefulSet)."""
        wanted = stateful["spec"]["selector"]["matchLabels"].items()
        owner = workloads.owner_reference(stateful)
        for pod in self.store.list("pods", NAMESPACE):
            meta = pod["metadata"]
            if (meta.get("labels", {}).items() >= wanted and not workloads.is_terminating(pod)
                    and _is_member_name(meta["name"], stateful["metadata"]["name"])
                    and not any(o.get("controller") for o in meta.get("ownerReferences", []))):
                self.store.modify("pods", NAMESPACE, meta["name"], lambda o: o["metadata"].update(
                    ownerReferences=o["metadata"].get("ownerReferences", []) + [owner]),
                    meta["uid"])

    def _act(self, stateful: Object, pods: dict[int, Object]) -> None:
        """One pass; it ends at the first pod that must be waited for."""
        spec = stateful["spec"]
        ordered = spec["podManagementPolicy"] == "OrderedReady"
        for ordinal in range(spec["replicas"]):
            found = pods.get(ordinal)
            if found is None:
                name = f"{stateful['metadata']['name']}-{ordinal}"
                if self.store.find("pods", NAMESPACE, name) is None:
                    self.store.create("pods", workloads.pod(stateful, ordinal))
                if ordered:
                    return
            elif ordered and (workloads.is_terminating(found) or not _running_and_ready(found)):
                return
        if not self._scale_in(stateful, pods, ordered):
            return
        self._roll(stateful, pods)

    def _scale_in(self, stateful: Object, pods: dict[int, Object], ordered: bool) -> bool:
        """Delete pods above the size, highest first; OrderedReady one at a time."""
        condemned = sorted((o for o in pods if o >= stateful["spec"]["replicas"]), reverse=True)
        for ordinal in condemned:
            if not workloads.is_terminating(pods[ordinal]):
                delete_pod(self.store, pods[ordinal], None)
            if ordered:
                return False
        return True

    def _roll(self, stateful: Object, pods: dict[int, Object]) -> None:
        """Highest ordinal first; the next only when every pod above it is updated and Ready.

        Parallel changes nothing here: the updated pod's readiness is the only throttle.
        """
        revision = workloads.revision_of(stateful)
        for ordinal in range(stateful["spec"]["replicas"] - 1, -1, -1):
            found = pods.get(ordinal)
            if found is None:
                return
            outdated = found["metadata"]["labels"]["controller-revision-hash"] != revision
            if outdated and not workloads.is_terminating(found):
                delete_pod(self.store, found, None)
                return
            if workloads.is_terminating(found) or not _running_and_ready(found):
                return

    def _report(self, stateful: Object, pods: dict[int, Object]) -> None:
        revision = workloads.revision_of(stateful)
        old = stateful["status"]
        current = old.get("currentRevision", revision)
        ready = [p for p in pods.values() if _running_and_ready(p)]
        updated = [p for p in pods.values()
                   if p["metadata"]["labels"]["controller-revision-hash"] == revision]
        size = stateful["spec"]["replicas"]
        if len(updated) == len(pods) == size and len(ready) == size:
            current = revision
        count_current = sum(p["metadata"]["labels"]["controller-revision-hash"] == current
                            for p in pods.values())
        status = {"observedGeneration": stateful["metadata"]["generation"], "replicas": len(pods),
                  "readyReplicas": len(ready), "availableReplicas": len(ready),
                  "currentReplicas": count_current, "updatedReplicas": len(updated),
                  "currentRevision": current, "updateRevision": revision, "collisionCount": 0}

        def edit(obj: Object) -> None:
            obj["status"] = status
        if status != old:
            meta = stateful["metadata"]
            self.store.modify("statefulsets", meta["namespace"], meta["name"], edit, meta["uid"])


def _is_member_name(name: str, stateful: str) -> bool:
    parent, _, ordinal = name.rpartition("-")
    return parent == stateful and ordinal.isdecimal()


def _running_and_ready(pod: Object) -> bool:
    return pod["status"].get("phase") == "Running" and workloads.is_ready(pod)


class Scheduler(Controller):
    """Binds pods to the node with the fewest of them, zones first: an even spread.

    A pod whose volume lies in a zone goes there again as long as a node of it takes pods.
    """

    resources = ("pods", "nodes")

    def __init__(self, store: Store, zone_labels: bool, volumes: bool) -> None:
        super().__init__(store)
        self._zone_labels, self._volumes = zone_labels, volumes
        self._volume_zone: dict[str, str] = {}

    def sync(self) -> None:
        for pod in self.store.list("pods", NAMESPACE):
            if not pod["spec"].get("nodeName") and not workloads.is_terminating(pod):
                self._bind(pod)

    def _bind(self, pod: Object) -> None:
        nodes = [n for n in self.store.list("nodes") if schedulable(n)]
        meta = pod["metadata"]
        if not nodes:
            self._edit(pod, lambda o: workloads.set_conditions(
                o["status"], {"PodScheduled": (False, "Unschedulable")}))
            return
        by_node = [p["spec"].get("nodeName") for p in self.store.list("pods", NAMESPACE)]
        zone_of = {n["metadata"]["name"]: n["metadata"]["labels"][workloads.ZONE_LABEL]
                   for n in self.store.list("nodes")}
        by_zone = [zone_of.get(n) for n in by_node if n]
        volume_zone = self._volume_zone.get(meta["name"])
        best = min(nodes, key=lambda n: (
            volume_zone not in (None, n["metadata"]["labels"][workloads.ZONE_LABEL]),
            by_zone.count(n["metadata"]["labels"][workloads.ZONE_LABEL]),
            by_node.count(n["metadata"]["name"]), _index(n)))
        name = best["metadata"]["name"]
        if self._volumes:
            self._volume_zone.setdefault(meta["name"], zone_of[name])

        def bind(obj: Object) -> None:
            obj["spec"]["nodeName"] = name
            if self._zone_labels:
                obj["metadata"]["labels"][workloads.ZONE_LABEL] = zone_of[name]
            workloads.set_conditions(obj["status"], {"PodScheduled": (True, "")})
        self.store.modify("pods", meta["namespace"], meta["name"], bind, meta["uid"])

    def _edit(self, pod: Object, edit: Callable[[Object], None]) -> None:
        meta = pod["metadata"]
        self.store.modify("pods", meta["namespace"], meta["name"], edit, meta["uid"])


def _index(node: Object) -> int:
    return int(node["metadata"]["name"].rsplit("-", 1)[1])


def schedulable(node: Object) -> bool:
    return workloads.is_ready(node) and not node["spec"].get("unschedulable")


class EndpointSliceController(Controller):
    """Two services: the headless one (publishNotReadyAddresses) and the clients' one."""

    resources = ("pods", "nodes")

    def __init__(self, store: Store, family: str) -> None:
        super().__init__(store)
        self.family = family     # IPv4 or IPv6, for good: a slice's addressType cannot change

    def sync(self) -> None:
        zones = {n["metadata"]["name"]: n["metadata"]["labels"].get(workloads.ZONE_LABEL, "")
                 for n in self.store.list("nodes")}
        pods = sorted((p for p in self.store.list("pods", NAMESPACE)
                       if p["status"].get("podIP") and p["spec"].get("nodeName")
                       and p["status"].get("phase") not in ("Failed", "Succeeded")),
                      key=lambda p: (len(p["metadata"]["name"]), p["metadata"]["name"]))
        for service in (HEADLESS, CLIENT_SERVICE):
            entries = [workloads.endpoint(p, zones.get(p["spec"]["nodeName"], ""),
                                          service == HEADLESS) for p in pods]
            self._publish(service, entries)

    def _publish(self, service: str, entries: list[Object]) -> None:
        size = workloads.ENDPOINTS_PER_SLICE
        chunks = [entries[i:i + size] for i in range(0, len(entries), size)] or [[]]
        wanted = {}
        for index, chunk in enumerate(chunks):
            made = workloads.endpoint_slice(service, index, chunk, self.family)
            wanted[made["metadata"]["name"]] = made
        for have in self.store.list("endpointslices", NAMESPACE):
            labels = have["metadata"]["labels"]
            if (labels["kubernetes.io/service-name"] == service
                    and have["metadata"]["name"] not in wanted):
                self.store.delete("endpointslices", NAMESPACE, have["metadata"]["name"])
        for name, made in wanted.items():
            old = self.store.find("endpointslices", NAMESPACE, name)
            if old is None:
                self.store.create("endpointslices", made)
            elif old["endpoints"] != made["endpoints"]:
                changed = copy.deepcopy(old)
                changed["endpoints"] = made["endpoints"]
                self.store.update("endpointslices", changed)


class NodeController(Controller):
    """What becomes of a node whose kubelet fell silent: Unknown, pods unready, then evicted.

    Evicted pods stay Terminating: nobody is there to say that their processes ended.
    """

    resources = ()

    def __init__(self, store: Store, grace: float, evict: float) -> None:
        super().__init__(store)
        self._grace, self._evict = grace, evict
        self._silent: dict[str, float] = {}
        self._task: Optional[asyncio.Task[None]] = None

    def silent(self, node: str) -> None:
        """A kubelet stopped reporting just now."""
        self._silent[node] = time.monotonic()
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._watch())

    def back(self, node: str) -> None:
        self._silent.pop(node, None)
        self.store.modify("nodes", "", node, lambda o: workloads.set_conditions(
            o["status"], {"Ready": (True, "KubeletReady")}))

    async def _watch(self) -> None:
        while self._silent:
            self.sync()
            await asyncio.sleep(0.5)

    def sync(self) -> None:
        now = time.monotonic()
        for node, since in self._silent.items():
            if now - since < self._grace:
                continue
            self.store.modify("nodes", "", node, lambda o: workloads.set_conditions(
                o["status"], {"Ready": (None, "NodeStatusUnknown")}))
            for pod in self.store.list("pods", NAMESPACE):
                if pod["spec"].get("nodeName") != node:
                    continue
                meta = pod["metadata"]
                self.store.modify("pods", NAMESPACE, meta["name"], lambda o:
                                  workloads.set_conditions(o["status"], {"Ready": (False, "")}))
                if now - since >= self._grace + self._evict and not workloads.is_terminating(pod):
                    delete_pod(self.store, pod, None)
