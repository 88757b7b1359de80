# SPDX-License-Identifier: Apache-2.0
"""What the subcommands of `lab` do, inside the daemon.

Each takes the lab, its arguments and a way to report progress, and returns when the thing is done.
`Refused` carries the one-line reason why it was not.
"""

from __future__ import annotations

import asyncio
import json
import signal
import time
from typing import TYPE_CHECKING, Any, Awaitable, Callable, Optional

import load_control
import observe
import workloads
from apiserver import delete_pod
from config import CLIENT_PORT, NAMESPACE, SET_NAME
from store import Object, RESOURCES
from workloads import AGENT, SERVER

if TYPE_CHECKING:
    from daemon import Lab
    from kubelet import PodWorker

Args = dict[str, Any]
Progress = Callable[[str], None]
Command = Callable[["Lab", Args, Progress], Awaitable[Any]]
COMMANDS: dict[str, Command] = {}


class Refused(Exception):
    """The command could not do what it says."""


def command(name: str) -> Callable[[Command], Command]:
    def register(function: Command) -> Command:
        COMMANDS[name] = function
        return function
    return register


async def run(lab: "Lab", name: str, args: Args, progress: Progress) -> Any:
    if name not in COMMANDS:
        raise Refused(f"no command {name}")
    return await COMMANDS[name](lab, args, progress)


# -- looking and waiting -------------------------------------------------------------------------

def stateful(lab: "Lab") -> Object:
    """The StatefulSet; while it is deleted what it was: its pods may live on."""
    return lab.store.find("statefulsets", NAMESPACE, SET_NAME) or lab.deleted_set


def worker_of(lab: "Lab", name: str) -> "PodWorker":
    """The running incarnation of a pod."""
    worker = lab.kubelet.workers.get(name)
    if worker is None or worker.ended.is_set():
        have = " ".join(n for n, w in lab.kubelet.workers.items() if not w.ended.is_set())
        raise Refused(f"no pod {name} is running; there are: {have or 'none'}")
    return worker


def pod_object(lab: "Lab", name: str) -> Object:
    pod = lab.store.find("pods", NAMESPACE, name)
    if pod is None:
        raise Refused(f"there is no pod {name}")
    return pod


def node_object(lab: "Lab", name: str) -> Object:
    node = lab.store.find("nodes", "", name)
    if node is None:
        names = " ".join(n["metadata"]["name"] for n in lab.store.list("nodes"))
        raise Refused(f"there is no node {name}; there are: {names}")
    return node


def all_names(lab: "Lab", args: Args) -> list[str]:
    """The pods an operation is for, each of which must exist."""
    pods = {p["metadata"]["name"]: p for p in lab.pods_of_set().values()}
    names = list(pods) if args.get("all") else list(args.get("pods", []))
    if not names:
        raise Refused("no pod named (or give --all)")
    for name in names:
        pod_object(lab, name)
    return names


async def wait_for(what: Callable[[], Any], timeout: float, progress: Progress,
                   period: float = 0.05) -> None:
    """Wait until `what()` (a value or a coroutine) returns "", the reason why not yet."""
    end, shown = time.monotonic() + timeout, ""
    while True:
        reason = what()
        if asyncio.iscoroutine(reason):
            reason = await reason
        if not reason:
            return
        if time.monotonic() >= end:
            raise Refused(f"not done after {timeout:g} s: {reason}")
        if reason != shown:
            progress(reason)
            shown = reason
        await asyncio.sleep(period)


def why_not_ready(lab: "Lab", names: Optional[list[str]] = None) -> str:
    """The first pod that is missing, terminating or not Ready."""
    size = stateful(lab)["spec"]["replicas"]
    wanted = names if names is not None else [f"{SET_NAME}-{i}" for i in range(size)]
    for name in wanted:
        pod = lab.store.find("pods", NAMESPACE, name)
        if pod is None:
            return f"{name} does not exist"
        if workloads.is_terminating(pod):
            return f"{name} is terminating"
        if not workloads.is_ready(pod):
            return f"{name} is not Ready ({pod['status'].get('phase')})"
    if names is None and len(lab.pods_of_set()) > size:
        return "pods above the size are still there"
    return ""


async def why_not_formed(lab: "Lab") -> str:
    reason = why_not_ready(lab)
    addresses = lab.addresses_by_pod()
    size = stateful(lab)["spec"]["replicas"]
    views = await observe.look_all(addresses, CLIENT_PORT, lab.access)
    return observe.why_not_formed(views, size, lab.config.replicas_per_primary,
                                  lab.config.node_timeout) or reason


def why_not_running(lab: "Lab") -> str:
    for ordinal in range(stateful(lab)["spec"]["replicas"]):
        pod = lab.store.find("pods", NAMESPACE, f"{SET_NAME}-{ordinal}")
        if pod is None or pod["status"].get("phase") != "Running":
            return f"{SET_NAME}-{ordinal} is not Running"
    return ""


@command("wait")
async def wait(lab: "Lab", args: Args, progress: Progress) -> None:
    """Wait for `running`, `ready` or `formed`."""
    what = {"running": lambda: why_not_running(lab), "ready": lambda: why_not_ready(lab),
            "formed": lambda: why_not_formed(lab)}[args["for"]]
    await wait_for(what, args["timeout"], progress, 0.2 if args["for"] == "formed" else 0.05)


# -- pods ----------------------------------------------------------------------------------------

@command("kill")
async def kill(lab: "Lab", args: Args, progress: Progress) -> None:
    worker = worker_of(lab, args["pod"])
    container = worker.container(args["container"])
    restarts, began = container.restarts, container.began
    if not container.signal(args["signal"]):
        raise Refused(f"{args['pod']}: container {args['container']} is not running")
    if not args["wait"] or args["signal"] in (signal.SIGSTOP, signal.SIGCONT, signal.SIGUSR1,
                                              signal.SIGUSR2, signal.SIGHUP):
        return

    def why() -> str:
        if container.began == began or (container.restarts, container.running) == (restarts, True):
            return f"{container.name} of {worker.name} has not restarted"
        return why_not_ready(lab, [worker.name])
    await wait_for(why, args["timeout"], progress)


@command("pause")
async def pause(lab: "Lab", args: Args, _: Progress) -> None:
    """Freeze a pod (as a stalled node would) or one of its containers."""
    worker = worker_of(lab, args["pod"])
    for name in [args["container"]] if args.get("container") else [AGENT, SERVER]:
        if not worker.container(name).signal(signal.SIGSTOP):
            raise Refused(f"{worker.name}: container {name} is not running")
        worker.paused.add(name)


@command("resume")
async def resume(lab: "Lab", args: Args, progress: Progress) -> None:
    worker = worker_of(lab, args["pod"])
    for name in [args["container"]] if args.get("container") else [AGENT, SERVER]:
        worker.container(name).signal(signal.SIGCONT)
        worker.paused.discard(name)
    if args["wait"]:
        await wait_for(lambda: why_not_ready(lab, [worker.name]), args["timeout"], progress)


async def _deleted(lab: "Lab", names: list[str], args: Args, progress: Progress) -> None:
    """Delete pods and wait until each is replaced by a Ready one, or gone for good."""
    old = {n: pod_object(lab, n)["metadata"]["uid"] for n in names}
    for name in names:
        delete_pod(lab.store, pod_object(lab, name), args.get("grace"))

    def why() -> str:
        size = stateful(lab)["spec"]["replicas"]
        for name in names:
            pod = lab.store.find("pods", NAMESPACE, name)
            if pod is not None and pod["metadata"]["uid"] == old[name]:
                return f"{name} is terminating"
            if int(name.rsplit("-", 1)[1]) < size and why_not_ready(lab, [name]):
                return why_not_ready(lab, [name])
        return ""
    if args["wait"]:
        await wait_for(why, args["timeout"], progress)


@command("delete")
async def delete(lab: "Lab", args: Args, progress: Progress) -> None:
    await _deleted(lab, all_names(lab, args), args, progress)


@command("readdress")
async def readdress(lab: "Lab", args: Args, progress: Progress) -> None:
    """A new pod with a new address on the old data, whatever --volumes says.

    With --swap each gets the address of the next one named, the last that of the first.
    """
    names = all_names(lab, args)
    lab.kubelet.keep_data.update(names)
    if args.get("swap"):
        if len(names) < 2:
            raise Refused("--swap needs two pods or more")
        lab.kubelet.heirs.update({name: worker_of(lab, names[(i + 1) % len(names)])
                                  for i, name in enumerate(names)})
    await _deleted(lab, names, args, progress)


@command("lose-volume")
async def lose_volume(lab: "Lab", args: Args, progress: Progress) -> None:
    """The disk is gone, and the server with it: killed, re-created on an empty volume."""
    names = all_names(lab, args)
    lab.kubelet.wipe_data.update(names)
    await _deleted(lab, names, {**args, "grace": 0}, progress)


# -- nodes ---------------------------------------------------------------------------------------

def _cordon(lab: "Lab", node: str, unschedulable: bool) -> None:
    def edit(obj: Object) -> None:
        obj["spec"].pop("unschedulable", None)
        if unschedulable:
            obj["spec"]["unschedulable"] = True
    lab.store.modify("nodes", "", node, edit)


def _pods_on(lab: "Lab", node: str) -> list[str]:
    return [p["metadata"]["name"] for p in lab.store.list("pods", NAMESPACE)
            if p["spec"].get("nodeName") == node]


@command("drain-node")
async def drain_node(lab: "Lab", args: Args, progress: Progress) -> None:
    node_object(lab, args["node"])
    _cordon(lab, args["node"], True)
    names = _pods_on(lab, args["node"])
    if names:
        await _deleted(lab, names, args, progress)


@command("lose-node")
async def lose_node(lab: "Lab", args: Args, _: Progress) -> list[str]:
    node_object(lab, args["node"])
    if args["node"] in lab.kubelet.lost:
        raise Refused(f"{args['node']} is lost already")
    victims = lab.kubelet.lose_node(args["node"])
    await asyncio.gather(*(w.ended.wait() for w in victims))
    lab.nodes.silent(args["node"])
    return [w.name for w in victims]


@command("return-node")
async def return_node(lab: "Lab", args: Args, progress: Progress) -> None:
    node_object(lab, args["node"])
    _cordon(lab, args["node"], False)
    if args["node"] in lab.kubelet.lost:
        lab.nodes.back(args["node"])
        lab.kubelet.return_node(args["node"])
    if args["wait"]:
        await wait_for(lambda: why_not_ready(lab), args["timeout"], progress)


# -- network and API -----------------------------------------------------------------------------

@command("partition")
async def partition(lab: "Lab", args: Args, _: Progress) -> None:
    lab.partition.available()
    for name in args["pods"]:
        worker_of(lab, name)
    lab.partition.pods.update(args["pods"])
    if args.get("api"):
        lab.partition.without_api.update(args["pods"])
    lab.apply_partition()


@command("heal")
async def heal(lab: "Lab", _args: Args, _: Progress) -> None:
    lab.partition.pods.clear()
    lab.partition.without_api.clear()
    lab.apply_partition()


@command("api")
async def api(lab: "Lab", args: Args, _: Progress) -> Any:
    action = args["action"]
    if action == "down":
        await lab.http.stop()
    elif action == "cut":
        lab.partition.available()
        lab.partition.api_cut = True
        lab.apply_partition()
    elif action == "up":
        await lab.http.start()
        lab.partition.api_cut = False
        lab.apply_partition()
    elif action == "fault":
        clear, _, spec = (args.get("spec") or "").partition(" ")
        if clear == "clear":
            lab.faults.clear(spec)
        else:
            lab.api.inject(args.get("spec") or "")
    elif action == "compact":
        lab.store.compact()
    elif action == "cert":
        await lab.serve_certificate(args.get("spec") or "good")
    elif action == "rotate-tokens":
        for worker in lab.kubelet.workers.values():
            if not worker.ended.is_set():
                worker.write_token()
    elif action == "stats":
        return {"seconds": round(time.time() - lab.api.started, 1), "requests": [
            {"client": c, "verb": v, "resource": r, "code": code, "count": n}
            for (c, v, r, code), n in sorted(lab.api.counts.items())]}
    else:
        raise Refused(f"api {action}: not one of down cut up fault cert compact rotate-tokens stats")
    return None


@command("dns")
async def dns(lab: "Lab", args: Args, _: Progress) -> None:
    """How the name server answers from now on."""
    if lab.names is None:
        raise Refused("no name server: this lab has --discovery kubernetes")
    try:
        lab.names.set(args["spec"])
    except ValueError as error:
        raise Refused(str(error)) from error


@command("get")
async def get(lab: "Lab", args: Args, _: Progress) -> Any:
    """Objects as stored."""
    if args["resource"] not in RESOURCES:
        raise Refused(f"no resource {args['resource']}; there are: {' '.join(RESOURCES)}")
    namespace = NAMESPACE if RESOURCES[args["resource"]].namespaced else ""
    if not args.get("name"):
        return lab.store.list(args["resource"], namespace)
    obj = lab.store.find(args["resource"], namespace, args["name"])
    if obj is None:
        raise Refused(f"there is no {args['resource']} {args['name']}")
    return obj


@command("create")
async def create(lab: "Lab", args: Args, _: Progress) -> Any:
    """`kubectl create`: another StatefulSet, or a pod that no controller made.

    A pod on a node that is not the lab's runs nothing here: who creates it plays its server.
    """
    if args["resource"] not in RESOURCES:
        raise Refused(f"no resource {args['resource']}; there are: {' '.join(RESOURCES)}")
    obj = json.loads(args["object"])
    obj.setdefault("metadata", {}).setdefault("namespace", NAMESPACE)
    return lab.store.create(args["resource"], obj)


# -- seeing --------------------------------------------------------------------------------------

@command("addresses")
async def addresses(lab: "Lab", _args: Args, _: Progress) -> Any:
    """By pod; no server is asked, as `status` asks all of them."""
    return lab.addresses_by_pod()


@command("identity")
async def identity(lab: "Lab", args: Args, _: Progress) -> Any:
    """What a process in the pod's agent container would see: for `lab muster` and `lab cli`."""
    worker = worker_of(lab, args["pod"])
    env = worker.identity()
    for key, value in worker.agent_settings().items():
        shown = str(value).lower() if isinstance(value, bool) else \
            ",".join(value) if isinstance(value, list) else str(value)
        env["MUSTER_" + key.replace(".", "_").upper()] = shown
    return {"address": worker.address, "port": CLIENT_PORT, "env": env, "group": worker.group,
            "program": lab.config.program("muster"), "directory": str(worker.directory)}


@command("status")
async def status(lab: "Lab", _args: Args, _: Progress) -> Any:
    addresses = lab.addresses_by_pod()
    views = {v.pod: v for v in await observe.look_all(addresses, CLIENT_PORT, lab.access, 0.5)}
    zones = {n["metadata"]["name"]: n["metadata"]["labels"][workloads.ZONE_LABEL]
             for n in lab.store.list("nodes")}
    pods = []
    for _, pod in sorted(lab.pods_of_set().items()):
        name = pod["metadata"]["name"]
        pods.append(_pod_status(pod, lab.kubelet.workers.get(name), views.get(name), zones))
    stateful_obj = stateful(lab)
    reason = observe.why_not_formed(list(views.values()), stateful_obj["spec"]["replicas"],
                                    lab.config.replicas_per_primary, lab.config.node_timeout)
    return {"state": lab.config.state, "server": lab.config.server,
            "api": {"url": lab.api_url, "up": lab.http.listening,
                    "faults": [f"{r.spec} (hits {r.hits})" for r in lab.faults.rules]},
            "formed": not reason, "why": reason, "ready": not why_not_ready(lab),
            "statefulset": {"replicas": stateful_obj["spec"]["replicas"],
                            **stateful_obj["status"]},
            "nodes": [_node_status(lab, n) for n in lab.store.list("nodes")],
            "partition": sorted(lab.partition.pods),
            "withoutApi": sorted(lab.partition.without_api),
            "pods": pods, "messages": lab.messages}


def _node_status(lab: "Lab", node: Object) -> Object:
    name = node["metadata"]["name"]
    return {"name": name, "zone": node["metadata"]["labels"][workloads.ZONE_LABEL],
            "ready": workloads.is_ready(node), "lost": name in lab.kubelet.lost,
            "cordoned": bool(node["spec"].get("unschedulable"))}


def _pod_status(pod: Object, worker: Optional["PodWorker"],
                view: Optional[observe.ServerView], zones: dict[str, str]) -> Object:
    meta = pod["metadata"]
    node = pod["spec"].get("nodeName", "")
    mine = worker is not None and worker.uid == meta["uid"]
    return {"name": meta["name"], "uid": meta["uid"], "ip": pod["status"].get("podIP", ""),
            "node": node, "zone": zones.get(node, ""), "phase": pod["status"].get("phase", ""),
            "ready": workloads.is_ready(pod), "terminating": workloads.is_terminating(pod),
            "revision": meta["labels"]["controller-revision-hash"],
            "restarts": {SERVER: worker.server.restarts, AGENT: worker.agent.restarts}
            if mine and worker else {},
            "pids": {SERVER: worker.server.pid, AGENT: worker.agent.pid}
            if mine and worker else {},
            "paused": sorted(worker.paused) if mine and worker else [],
            "cluster": observe.summary(view) if view else {}}


@command("load")
async def load(lab: "Lab", args: Args, progress: Progress) -> Any:
    try:
        return await load_control.run(lab, args, progress)
    except load_control.LoadError as error:
        raise Refused(str(error)) from error


@command("down")
async def down(lab: "Lab", _args: Args, _: Progress) -> None:
    asyncio.get_running_loop().call_later(0.05, lab.finished.set)
