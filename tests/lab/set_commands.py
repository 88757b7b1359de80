# SPDX-License-Identifier: Apache-2.0
"""What the subcommands of `lab` that change the StatefulSet do; see commands.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import workloads
from apiserver import delete_pod
from commands import Args, Progress, Refused, command, pod_object, stateful, wait_for, why_not_ready
from config import NAMESPACE, SET_NAME
from controllers import orphan_pods, owned_pods
from store import Object

if TYPE_CHECKING:
    from daemon import Lab


@command("scale")
async def scale(lab: "Lab", args: Args, progress: Progress) -> None:
    def edit(obj: Object) -> None:
        obj["spec"]["replicas"] = args["replicas"]
    lab.store.modify("statefulsets", NAMESPACE, SET_NAME, edit)
    if args["wait"]:
        await wait_for(lambda: why_not_ready(lab), args["timeout"], progress)


@command("delete-set")
async def delete_set(lab: "Lab", args: Args, progress: Progress) -> None:
    """kubectl delete statefulset, with --orphan: --cascade=orphan; its pods go on without it."""
    obj = lab.store.find("statefulsets", NAMESPACE, SET_NAME)
    if obj is None:
        raise Refused(f"there is no StatefulSet {SET_NAME}")
    pods = [p["metadata"]["name"] for p in owned_pods(lab.store, obj).values()]
    lab.deleted_set = obj
    if args.get("orphan"):
        orphan_pods(lab.store, obj)
    lab.store.delete("statefulsets", NAMESPACE, SET_NAME)
    if args.get("orphan"):
        return
    for name in pods:        # as the garbage collector does, in the background
        delete_pod(lab.store, pod_object(lab, name), None)

    def why() -> str:
        left = [n for n in pods if lab.store.find("pods", NAMESPACE, n)]
        return f"{left[0]} is terminating" if left else ""
    if args["wait"]:
        await wait_for(why, args["timeout"], progress)


@command("create-set")
async def create_set(lab: "Lab", args: Args, progress: Progress) -> None:
    """Create the deleted StatefulSet again, as it was: another uid, which adopts what it finds."""
    if lab.store.find("statefulsets", NAMESPACE, SET_NAME) is not None:
        raise Refused(f"the StatefulSet {SET_NAME} is there")
    old = lab.deleted_set
    labels = old["metadata"]["labels"]
    lab.store.create("statefulsets", {
        "metadata": {"name": SET_NAME, "namespace": NAMESPACE, "labels": labels},
        "spec": old["spec"], "status": {"replicas": 0, "collisionCount": 0}})
    if args["wait"]:
        await wait_for(lambda: why_not_ready(lab), args["timeout"], progress)


@command("roll")
async def roll(lab: "Lab", args: Args, progress: Progress) -> None:
    """kubectl rollout restart (with --server: an upgrade) and rollout status."""
    def edit(obj: Object) -> None:
        template = obj["spec"]["template"]
        template["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"] = (
            workloads.restarted_at())
        if args.get("server"):
            template["spec"]["containers"][0]["image"] = args["server"]
    lab.config.apply(args.get("set") or [])
    lab.store.modify("statefulsets", NAMESPACE, SET_NAME, edit)

    def why() -> str:
        obj = stateful(lab)
        status = obj["status"]
        if status.get("updateRevision") != workloads.revision_of(obj):
            return "the roll has not begun"
        if status["updatedReplicas"] < obj["spec"]["replicas"]:
            return f"{status['updatedReplicas']} of {obj['spec']['replicas']} pods are updated"
        return why_not_ready(lab)
    if args["wait"]:
        await wait_for(why, args["timeout"], progress)
