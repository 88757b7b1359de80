# SPDX-License-Identifier: Apache-2.0
"""The lab's etcd: objects, one increasing resourceVersion, and the history of changes.

Stored objects are never modified in place: whoever wants a change deep-copies, edits and calls
`update`. That makes an old state cheap to rebuild (undo the history), and lets one encoded event be
shared by all watchers.
"""

from __future__ import annotations

import copy
import json
import time
import uuid
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Callable, Iterable, Optional

import status

Object = dict[str, Any]
Key = tuple[str, str]


@dataclass(frozen=True)
class Resource:
    """What the API calls a resource: its group, version, kind and write rules."""

    plural: str
    group: str
    version: str
    kind: str
    namespaced: bool = True
    unconditional_update: bool = True    # strategy.AllowUnconditionalUpdate
    create_on_update: bool = False       # strategy.AllowCreateOnUpdate

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


RESOURCES = {r.plural: r for r in (
    Resource("pods", "", "v1", "Pod"),
    Resource("configmaps", "", "v1", "ConfigMap"),
    Resource("events", "", "v1", "Event", create_on_update=True),
    Resource("nodes", "", "v1", "Node", namespaced=False),
    Resource("statefulsets", "apps", "v1", "StatefulSet"),
    Resource("leases", "coordination.k8s.io", "v1", "Lease",
             unconditional_update=False, create_on_update=True),
    Resource("endpointslices", "discovery.k8s.io", "v1", "EndpointSlice"),
)}


def timestamp(seconds: Optional[float] = None) -> str:
    """A metav1.Time: UTC, whole seconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def key_of(obj: Object) -> Key:
    meta = obj["metadata"]
    return meta.get("namespace", ""), meta["name"]


def version_of(obj: Object) -> int:
    return int(obj["metadata"]["resourceVersion"])


@dataclass(frozen=True)
class Change:
    """One write: the object after it (for DELETED: its last state) and before it."""

    version: int
    at: float
    resource: str
    type: str
    obj: Object
    prev: Optional[Object]
    _lines: dict[str, bytes] = field(default_factory=dict, repr=False, compare=False)

    def line(self, event_type: str) -> bytes:
        """The object after it as an event; encoded once for all who watch."""
        if event_type not in self._lines:
            self._lines[event_type] = encode(event_type, self.obj)
        return self._lines[event_type]


def encode(event_type: str, obj: Object) -> bytes:
    """One line of a watch."""
    return json.dumps({"type": event_type, "object": obj},
                      separators=(",", ":")).encode() + b"\n"


class Store:
    """Objects by resource and key; every write is one revision and wakes the subscribers."""

    def __init__(self, history: int = 5000) -> None:
        self.version = 1000          # etcd never starts at zero either
        self.compacted = self.version
        self._objects: dict[str, dict[Key, Object]] = {name: {} for name in RESOURCES}
        self._history: deque[Change] = deque()
        self._history_max = history
        self._subscribers: list[Callable[[Change], None]] = []

    # -- reading ---------------------------------------------------------------------------------

    def find(self, resource: str, namespace: str, name: str) -> Optional[Object]:
        return self._objects[resource].get((namespace, name))

    def get(self, resource: str, namespace: str, name: str) -> Object:
        obj = self.find(resource, namespace, name)
        if obj is None:
            raise status.not_found(resource, RESOURCES[resource].group, name)
        return obj

    def list(self, resource: str, namespace: str = "") -> list[Object]:
        """The present objects in key order."""
        return self._sorted(self._objects[resource], namespace)

    def list_at(self, resource: str, namespace: str, version: int) -> list[Object]:
        """The objects as they were at a version; raises Expired once that is compacted."""
        if version < self.compacted:
            raise status.expired("The provided continue parameter is too old to display a "
                                 "consistent list result.")
        objects = dict(self._objects[resource])
        for change in reversed(self._history):
            if change.version <= version:
                break
            if change.resource != resource:
                continue
            if change.prev is None:
                objects.pop(key_of(change.obj), None)
            else:
                objects[key_of(change.obj)] = change.prev
        return self._sorted(objects, namespace)

    def version_before(self, seconds: float) -> int:
        """The version that was current so many seconds ago (or the oldest still known)."""
        limit = time.time() - seconds
        version = self.version
        for change in reversed(self._history):
            if change.at <= limit:
                return change.version
            version = change.version - 1
        return max(version, self.compacted)

    def since(self, resource: str, version: int) -> Iterable[Change]:
        """The changes after a version; raises Expired once they are compacted."""
        if version < self.compacted:
            raise status.expired(f"too old resource version: {version} ({self.compacted})")
        return [c for c in self._history if c.version > version and c.resource == resource]

    @staticmethod
    def _sorted(objects: dict[Key, Object], namespace: str) -> list[Object]:
        return [objects[k] for k in sorted(objects) if not namespace or k[0] == namespace]

    # -- writing ---------------------------------------------------------------------------------

    def create(self, resource: str, obj: Object) -> Object:
        """Add a new object: uid, creationTimestamp, resourceVersion and generation are ours."""
        kind = RESOURCES[resource]
        obj = copy.deepcopy(obj)
        meta = obj.setdefault("metadata", {})
        if not meta.get("name") and meta.get("generateName"):
            meta["name"] = meta["generateName"] + uuid.uuid4().hex[:5]
        if key_of(obj) in self._objects[resource]:
            raise status.already_exists(resource, kind.group, meta["name"])
        obj["apiVersion"], obj["kind"] = kind.api_version, kind.kind
        meta["uid"] = str(uuid.uuid4())
        meta["creationTimestamp"] = timestamp()
        if resource == "statefulsets":
            meta["generation"] = 1
        return self._commit(resource, "ADDED", obj, None)

    def update(self, resource: str, obj: Object) -> Object:
        """Replace an object. The resourceVersion in `obj`, when there is one, must be current.

        A write that changes nothing is no revision, as in k8s.io/apiserver's GuaranteedUpdate.
        """
        kind = RESOURCES[resource]
        name = obj["metadata"]["name"]
        prev = self._objects[resource].get(key_of(obj))
        if prev is None:
            raise status.not_found(resource, kind.group, name)
        asked = obj["metadata"].get("resourceVersion")
        if asked and asked != prev["metadata"]["resourceVersion"]:
            raise status.conflict(resource, kind.group, name)
        uid = obj["metadata"].get("uid")
        if uid and uid != prev["metadata"]["uid"]:
            raise status.conflict(resource, kind.group, name,
                                  f"Precondition failed: UID in precondition: {uid}, UID in object "
                                  f"meta: {prev['metadata']['uid']}")
        obj = copy.deepcopy(obj)
        obj["apiVersion"], obj["kind"] = kind.api_version, kind.kind
        for ours in ("uid", "creationTimestamp", "generation", "resourceVersion"):
            if ours in prev["metadata"]:
                obj["metadata"][ours] = prev["metadata"][ours]
        if obj == prev:
            return prev
        if "generation" in prev["metadata"] and obj.get("spec") != prev.get("spec"):
            obj["metadata"]["generation"] += 1
        return self._commit(resource, "MODIFIED", obj, prev)

    def modify(self, resource: str, namespace: str, name: str, edit: Callable[[Object], None],
               uid: str = "") -> Optional[Object]:
        """Edit a copy and store it; None when the object (of that uid) is no longer there."""
        prev = self.find(resource, namespace, name)
        if prev is None or (uid and prev["metadata"]["uid"] != uid):
            return None
        obj = copy.deepcopy(prev)
        edit(obj)
        return self.update(resource, obj)

    def delete(self, resource: str, namespace: str, name: str, uid: str = "") -> Optional[Object]:
        """Remove an object for good; None when it (of that uid) is no longer there."""
        prev = self.find(resource, namespace, name)
        if prev is None or (uid and prev["metadata"]["uid"] != uid):
            return None
        return self._commit(resource, "DELETED", copy.deepcopy(prev), prev)

    def compact(self, version: Optional[int] = None) -> None:
        """Forget the history up to a version (default: all of it), as etcd does every 5 minutes."""
        limit = self.version if version is None else version
        while self._history and self._history[0].version <= limit:
            self._history.popleft()
        self.compacted = max(self.compacted, limit)

    def _commit(self, resource: str, change_type: str, obj: Object,
                prev: Optional[Object]) -> Object:
        self.version += 1
        obj["metadata"]["resourceVersion"] = str(self.version)
        if change_type == "DELETED":
            del self._objects[resource][key_of(obj)]
        else:
            self._objects[resource][key_of(obj)] = obj
        change = Change(self.version, time.time(), resource, change_type, obj, prev)
        self._history.append(change)
        if len(self._history) > self._history_max:
            self.compacted = self._history.popleft().version
        for callback in list(self._subscribers):
            callback(change)
        return obj

    # -- watching --------------------------------------------------------------------------------

    def subscribe(self, callback: Callable[[Change], None]) -> Callable[[], None]:
        """Call back on every change, in order, from within the write; returns the undo."""
        self._subscribers.append(callback)

        def undo() -> None:
            if callback in self._subscribers:
                self._subscribers.remove(callback)
        return undo
