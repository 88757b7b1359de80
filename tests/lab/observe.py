# SPDX-License-Identifier: Apache-2.0
"""What the servers themselves say: the lab's own judgement, which asks no agent."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import resp
from access import Access


@dataclass
class ServerView:
    """One server's answers, or why there are none."""

    pod: str
    host: str
    error: str = ""
    info: dict[str, str] = field(default_factory=dict)
    replication: dict[str, str] = field(default_factory=dict)
    nodes: dict[str, resp.ClusterNode] = field(default_factory=dict)
    node_timeout: int = 0

    @property
    def myself(self) -> resp.ClusterNode | None:
        return next((n for n in self.nodes.values() if "myself" in n.flags), None)


async def look(pod: str, host: str, port: int, access: Access,
               timeout: float = 1.0) -> ServerView:
    """Ask one server for everything in one pipeline."""
    view = ServerView(pod, host)
    try:
        replies = await resp.pipeline(host, port, [
            ("CLUSTER", "INFO"), ("INFO", "replication"), ("CLUSTER", "NODES"),
            ("CONFIG", "GET", "cluster-node-timeout")], timeout, access)
    except resp.RespError as error:
        view.error = str(error)
        return view
    errors = [r for r in replies if isinstance(r, resp.RespError)]
    if errors:
        view.error = str(errors[0])
        return view
    view.info, view.replication = resp.parse_info(replies[0]), resp.parse_info(replies[1])
    view.nodes = {n.id: n for n in resp.parse_nodes(replies[2])}
    view.node_timeout = int(replies[3][1])
    return view


async def look_all(pods: dict[str, str], port: int, access: Access,
                   timeout: float = 1.0) -> list[ServerView]:
    """Ask all servers {pod: address} at once."""
    return list(await asyncio.gather(*(look(p, h, port, access, timeout)
                                       for p, h in pods.items())))


def why_not_formed(views: list[ServerView], expected: int, replicas_per_primary: int,
                   node_timeout: int) -> str:
    """The first reason why these servers are not one finished cluster; "" when they are."""
    if len(views) != expected:
        return f"{len(views)} of {expected} pods have an address"
    for view in views:
        if view.error:
            return f"{view.pod} does not answer: {view.error}"
    ids = {v.myself.id for v in views if v.myself}
    if len(ids) != expected:
        return f"{expected} servers have {len(ids)} node ids"
    for view in views:
        reason = _why_not_whole(view, ids, node_timeout)
        if reason:
            return f"{view.pod}: {reason}"
    return _why_not_shards(views, expected, replicas_per_primary)


def _why_not_whole(view: ServerView, ids: set[str], node_timeout: int) -> str:
    if view.info.get("cluster_state") != "ok":
        return f"cluster_state:{view.info.get('cluster_state')}"
    if view.info.get("cluster_slots_ok") != str(resp.SLOTS):
        return f"{view.info.get('cluster_slots_ok')} of {resp.SLOTS} slots ok"
    if set(view.nodes) != ids:
        missing, more = len(ids - set(view.nodes)), len(set(view.nodes) - ids)
        return f"does not know {missing} of the nodes and knows {more} others"
    for node in view.nodes.values():
        bad = node.flags & {"fail", "fail?", "handshake", "noaddr"}
        if bad:
            return f"lists {node.host} as {','.join(sorted(bad))}"
        if node.open_slots:
            return f"open slots {' '.join(node.open_slots)}"
    if view.replication.get("role") == "slave" and (
            view.replication.get("master_link_status") != "up"):
        return "its link to the primary is down"
    if view.node_timeout != node_timeout:
        return f"cluster-node-timeout is {view.node_timeout}, not {node_timeout}"
    return ""


def _why_not_shards(views: list[ServerView], expected: int, replicas_per_primary: int) -> str:
    owners: dict[str, int] = {}
    selves = [v.myself for v in views if v.myself]
    for node in selves:
        if node.is_primary:
            if not node.slots:
                return f"{node.host} is a primary without slots"
            owners[node.id] = 0
    for node in selves:
        if not node.is_primary:
            if node.primary not in owners:
                return f"{node.host} replicates from a node that owns no slots"
            owners[node.primary] += 1
    shards = max(1, expected // (1 + replicas_per_primary))
    if len(owners) != shards:
        return f"{len(owners)} shards instead of {shards}"
    if min(owners.values()) < min(replicas_per_primary, expected - 1):
        return f"a shard has {min(owners.values())} of {replicas_per_primary} replicas"
    return ""


def summary(view: ServerView) -> dict[str, Any]:
    """One server for `lab status`."""
    if view.error or view.myself is None:
        return {"error": view.error or "knows no node"}
    me = view.myself
    return {"id": me.id, "role": "primary" if me.is_primary else "replica",
            "primary": me.primary, "slots": resp.slot_ranges(me.slots),
            "openSlots": me.open_slots, "epoch": me.epoch,
            "state": view.info.get("cluster_state", ""),
            "knownNodes": len(view.nodes), "currentEpoch":
                int(view.info.get("cluster_current_epoch", 0)),
            "link": view.replication.get("master_link_status", ""),
            "offset": int(view.replication.get("slave_repl_offset")
                          or view.replication.get("master_repl_offset") or 0)}
