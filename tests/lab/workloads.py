# SPDX-License-Identifier: Apache-2.0
"""The objects the lab makes: nodes, the StatefulSet, pods, EndpointSlices."""

from __future__ import annotations

import copy
import hashlib
import json
import time
from typing import Any, Optional

from config import CLIENT_PORT, HEADLESS, HTTP_PORT, NAMESPACE, SET_NAME, LabConfig
from store import Object, timestamp

ZONE_LABEL = "topology.kubernetes.io/zone"
LABELS = {"app.kubernetes.io/name": "muster", "app.kubernetes.io/instance": SET_NAME}
SERVER, AGENT = "redis", "agent"         # the container names
ENDPOINTS_PER_SLICE = 100                # --max-endpoints-per-slice's default


def node(index: int, zones: int) -> Object:
    name, zone = f"node-{index}", f"zone-{chr(ord('a') + index % zones)}"
    return {"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name,
                                                  ZONE_LABEL: zone}},
            "spec": {},
            "status": {"conditions": [condition("Ready", True, "KubeletReady")],
                       "addresses": [{"type": "InternalIP",
                                      "address": f"192.0.2.{index % 250 + 1}"},
                                     {"type": "Hostname", "address": name}]}}


def condition(kind: str, true: Optional[bool], reason: str = "") -> Object:
    now = timestamp()
    entry = {"type": kind, "status": {True: "True", False: "False", None: "Unknown"}[true],
             "lastProbeTime": None, "lastTransitionTime": now}
    if reason:
        entry["reason"] = reason
    return entry


def pod_template(config: LabConfig, server: str) -> Object:
    """spec.template of the StatefulSet, in the shape of the chart's."""
    hook = ["/hook/muster-hook"]
    probe = {"timeoutSeconds": 2, "failureThreshold": 3, "successThreshold": 1}
    return {
        "metadata": {"labels": dict(LABELS), "annotations": {}},
        "spec": {
            "serviceAccountName": "muster",
            "terminationGracePeriodSeconds": config.grace,
            "restartPolicy": "Always",
            "initContainers": [{
                "name": AGENT, "image": "muster", "restartPolicy": "Always",
                "args": ["agent", "--config", "/etc/muster/muster.yaml"],
                "ports": [{"name": "http", "containerPort": HTTP_PORT, "protocol": "TCP"}]}],
            "containers": [{
                "name": SERVER, "image": server,
                "command": hook + ["start", "--", "redis-server"],
                "ports": [{"name": "redis", "containerPort": CLIENT_PORT, "protocol": "TCP"},
                          {"name": "bus", "containerPort": CLIENT_PORT + 10000, "protocol": "TCP"}],
                "readinessProbe": {"exec": {"command": hook + ["ready"]}, **probe,
                                   "periodSeconds": max(1, round(config.lab["readinessSeconds"]))},
                "livenessProbe": {"exec": {"command": hook + ["alive"]}, **probe,
                                  "periodSeconds": max(1, round(config.lab["livenessSeconds"]))},
                "lifecycle": {"preStop": {"exec": {"command": hook + ["drain"]}}}}],
        },
    }


def stateful_set(config: LabConfig) -> Object:
    spec: dict[str, Any] = {
        "replicas": config.pods, "serviceName": HEADLESS,
        "selector": {"matchLabels": dict(LABELS)},
        "podManagementPolicy": "OrderedReady" if config.ordered else "Parallel",
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
        "revisionHistoryLimit": 10,
        "template": pod_template(config, config.server),
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
    }
    if config.volumes:
        spec["volumeClaimTemplates"] = [{
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"},
            "spec": {"accessModes": ["ReadWriteOnce"],
                     "resources": {"requests": {"storage": "1Gi"}}}}]
    return {"metadata": {"name": SET_NAME, "namespace": NAMESPACE, "labels": dict(LABELS)},
            "spec": spec, "status": {"replicas": 0, "collisionCount": 0}}


def revision_of(stateful: Object) -> str:
    """controller-revision-hash: the name of the ControllerRevision of a template."""
    text = json.dumps(stateful["spec"]["template"], sort_keys=True).encode()
    return f"{stateful['metadata']['name']}-{hashlib.sha256(text).hexdigest()[:10]}"


def owner_reference(stateful: Object) -> Object:
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": stateful["metadata"]["name"],
            "uid": stateful["metadata"]["uid"], "controller": True, "blockOwnerDeletion": True}


def pod(stateful: Object, ordinal: int) -> Object:
    """A pod as the StatefulSet controller makes it (newStatefulSetPod)."""
    template = copy.deepcopy(stateful["spec"]["template"])
    name = f"{stateful['metadata']['name']}-{ordinal}"
    labels = {**template["metadata"]["labels"],
              "controller-revision-hash": revision_of(stateful),
              "statefulset.kubernetes.io/pod-name": name,
              "apps.kubernetes.io/pod-index": str(ordinal)}
    spec = {**template["spec"], "hostname": name, "subdomain": stateful["spec"]["serviceName"]}
    spec["volumes"] = [
        {"name": "data", "persistentVolumeClaim": {"claimName": f"data-{name}"}}
        if "volumeClaimTemplates" in stateful["spec"] else {"name": "data", "emptyDir": {}},
        {"name": "run", "emptyDir": {"medium": "Memory"}}]
    return {"metadata": {"name": name, "generateName": f"{stateful['metadata']['name']}-",
                         "namespace": stateful["metadata"]["namespace"], "labels": labels,
                         "annotations": template["metadata"]["annotations"],
                         "ownerReferences": [owner_reference(stateful)]},
            "spec": spec,
            "status": {"phase": "Pending", "qosClass": "Burstable", "conditions": []}}


def ordinal_of(obj: Object) -> int:
    return int(obj["metadata"]["name"].rsplit("-", 1)[1])


def get_condition(obj: Object, kind: str) -> Optional[Object]:
    for entry in obj.get("status", {}).get("conditions", []):
        if entry["type"] == kind:
            return entry
    return None


def is_ready(obj: Object) -> bool:
    entry = get_condition(obj, "Ready")
    return entry is not None and entry["status"] == "True"


def is_terminating(obj: Object) -> bool:
    return "deletionTimestamp" in obj["metadata"]


def set_conditions(status: Object, wanted: dict[str, tuple[Optional[bool], str]]) -> None:
    """Update conditions; the transition time moves only when a status really changes."""
    have = {c["type"]: c for c in status.get("conditions", [])}
    for kind, (true, reason) in wanted.items():
        entry = condition(kind, true, reason)
        old = have.get(kind)
        if old is not None and old["status"] == entry["status"]:
            entry["lastTransitionTime"] = old["lastTransitionTime"]
        have[kind] = entry
    status["conditions"] = list(have.values())


def endpoint(obj: Object, zone: str, publish_not_ready: bool) -> Object:
    """One pod in an EndpointSlice (podToEndpoint): under publishNotReadyAddresses always ready."""
    serving, terminating = is_ready(obj), is_terminating(obj)
    entry = {
        "addresses": [obj["status"]["podIP"]],
        "conditions": {"ready": publish_not_ready or (serving and not terminating),
                       "serving": serving, "terminating": terminating},
        "targetRef": {"kind": "Pod", "namespace": obj["metadata"]["namespace"],
                      "name": obj["metadata"]["name"], "uid": obj["metadata"]["uid"]},
        "nodeName": obj["spec"]["nodeName"],
    }
    if publish_not_ready:
        entry["hostname"] = obj["metadata"]["name"]
    if zone:
        entry["zone"] = zone
    return entry


def endpoint_slice(service: str, index: int, endpoints: list[Object], family: str) -> Object:
    ports = [{"name": "redis", "port": CLIENT_PORT, "protocol": "TCP"}]
    if service == HEADLESS:
        ports += [{"name": "bus", "port": CLIENT_PORT + 10000, "protocol": "TCP"},
                  {"name": "http", "port": HTTP_PORT, "protocol": "TCP"}]
    suffix = hashlib.sha256(f"{service}/{index}".encode()).hexdigest()[:5]
    return {"metadata": {"name": f"{service}-{suffix}", "namespace": NAMESPACE,
                         "generateName": f"{service}-",
                         "labels": {**LABELS, "kubernetes.io/service-name": service,
                                    "endpointslice.kubernetes.io/managed-by":
                                        "endpointslice-controller.k8s.io"}},
            "addressType": family, "endpoints": endpoints, "ports": ports}


def restarted_at() -> str:
    """The annotation value by which `kubectl rollout restart` changes a template."""
    return timestamp() + f".{time.time_ns() % 1_000_000_000:09d}"
