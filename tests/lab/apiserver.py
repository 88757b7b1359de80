# SPDX-License-Identifier: Apache-2.0
"""The Kubernetes API of the lab: paths, verbs, list paging, optimistic concurrency.

Behaviour follows k8s.io/apiserver of 1.30; what it leaves out (server-side apply, protobuf, tables,
admission) no client of the lab uses. Watches live in watch.py.
"""

from __future__ import annotations

import asyncio
import base64
import collections
import copy
import json
import re
import time
from dataclasses import dataclass
from typing import Any, Optional, TextIO

import status
from faults import ENDING_KINDS, Fault, Faults
from httpd import Reply, Request
from rbac import Rbac
from representation import represent
from selector import compile_selector
from store import RESOURCES, Object, Resource, Store, timestamp
from watch import Watch

_PATH = re.compile(r"^/(?:api/(?P<core>v1)|apis/(?P<group>[a-z0-9.]+)/(?P<version>v1))"
                   r"(?:/namespaces/(?P<namespace>[a-z0-9-]+))?"
                   r"/(?P<resource>[a-z]+)(?:/(?P<name>[^/]+))?(?:/(?P<sub>[a-z]+))?$")
_NAME = re.compile(r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_MERGE_TYPES = ("application/merge-patch+json", "application/strategic-merge-patch+json")
CONFIGMAP_MAX = 1024 * 1024
CROWD_NAME = "zz-crowd-"        # behind all others in a list
CROWD_ADDRESS = "192.0.2.1"     # TEST-NET-1 (RFC 5737)


@dataclass
class Call:
    """One request, understood."""

    request: Request
    client: str
    verb: str
    kind: Resource
    namespace: str
    name: str
    sub: str

    @property
    def resource(self) -> str:
        return self.kind.plural


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result


class ApiServer:
    """Answers requests from a store; `handle` is httpd's handler."""

    def __init__(self, store: Store, rbac: Rbac, faults: Faults, bookmark_seconds: float = 30.0,
                 log: Optional[TextIO] = None) -> None:
        self.store, self.rbac, self.faults = store, rbac, faults
        self.bookmark_seconds = bookmark_seconds
        self.watches: set[Watch] = set()
        self.counts: collections.Counter[tuple[str, str, str, int]] = collections.Counter()
        self.started = time.time()
        self._log = log
        self._said: dict[tuple[Any, ...], bytes] = {}    # what was read at the present version

    async def handle(self, request: Request, reply: Reply) -> None:
        call: Optional[Call] = None
        client, began = "-", time.monotonic()
        try:
            if await self._public(request, reply):
                return
            client = self.rbac.authenticate(request.headers.get("authorization", ""))
            call = self._understand(request, client)
            await self._serve(call, reply)
        except status.ApiError as error:
            await reply.send(error.code, error.status(), error.headers)
        finally:
            self._account(call, client, request, reply, began)

    def inject(self, spec: str) -> Fault:
        """Add a fault; running watches that it concerns notice at once."""
        fault = self.faults.add(spec)
        if fault.kind in ENDING_KINDS:
            for watch in list(self.watches):
                if fault.matches("watch", watch.resource, watch.client):
                    watch.interrupt(fault)
        return fault

    def _account(self, call: Optional[Call], client: str, request: Request, reply: Reply,
                 began: float) -> None:
        verb, resource = (call.verb, call.resource) if call else (request.method.lower(), "-")
        self.counts[client, verb, resource, reply.code] += 1
        if self._log is not None:
            took = (time.monotonic() - began) * 1000
            name = call.name if call else request.path
            self._log.write(f"{time.time():.3f} {client} {verb} {resource} {name or '-'} "
                            f"{reply.code} {took:.1f}ms\n")

    async def _public(self, request: Request, reply: Reply) -> bool:
        """What system:public-info-viewer may see without a token."""
        if request.path in ("/healthz", "/livez", "/readyz"):
            await reply.send(200, b"ok")
        elif request.path == "/version":
            await reply.send(200, {"major": "1", "minor": "30", "gitVersion": "v1.30.0-lab"})
        else:
            return False
        return True

    def _understand(self, request: Request, client: str) -> Call:
        match = _PATH.match(request.path)
        if not match:
            raise status.unknown_path()
        kind = RESOURCES.get(match["resource"])
        namespace, name, sub = match["namespace"] or "", match["name"] or "", match["sub"] or ""
        if request.method == "GET":
            watching = request.query.get("watch", "") in ("1", "true")
            verb = "watch" if watching else ("get" if name else "list")
        else:
            verb = _VERBS.get(request.method, "")
        if not verb:
            raise status.method_not_allowed()
        asked = match["resource"] + (f"/{sub}" if sub else "")
        self.rbac.authorize(client, verb, asked, namespace, name)
        group = "" if match["core"] else match["group"]
        if kind is None or kind.group != group or (sub and sub != "status"):
            raise status.unknown_path()
        if kind.namespaced and not namespace and (name or verb == "create"):
            raise status.unknown_path()
        if verb in ("update", "patch", "delete") and not name:
            raise status.method_not_allowed()
        if verb == "create" and name:
            raise status.method_not_allowed()
        return Call(request, client, verb, kind, namespace, name, sub)

    async def _serve(self, call: Call, reply: Reply) -> None:
        kinds = ("status", "delay", "drop", "hole", "truncate", "stale", "crowd", "gone")
        if call.verb != "watch":
            kinds += ("half",)
        hit = self.faults.take(call.verb, call.resource, call.client, kinds)
        if "delay" in hit:
            await asyncio.sleep(hit["delay"].number(0) / 1000)
        if "drop" in hit:
            reply.drop()
            return
        if "hole" in hit and call.verb != "watch":
            await reply.hole()
            return
        if "status" in hit:
            raise status.injected(hit["status"].code, hit["status"].retry_after)
        if "truncate" in hit:
            reply.truncate = hit["truncate"].number(0)
        if "gone" in hit and (call.verb != "watch" or hit["gone"].value == "http"):
            raise status.expired("injected by the lab: too old resource version")
        if call.verb == "watch":
            await self._watch(call, reply, "gone" in hit, hit.get("hole"))
            return
        if not hit and call.verb in ("get", "list"):
            await reply.send(200, self._read(call))
            return
        code, body = self._answer(call, hit)
        if "half" in hit:
            body = json.dumps(body).encode()[:hit["half"].number(0)]
        await reply.send(code, body)

    def _answer(self, call: Call, hit: dict[str, Fault]) -> tuple[int, Any]:
        version = None
        if "stale" in hit:
            version = self.store.version_before(hit["stale"].number(60))
        accept = call.request.headers.get("accept", "")
        if call.verb == "get":
            return 200, represent(accept, self._get(call, version))
        if call.verb == "list":
            crowd = hit["crowd"].number(0) if "crowd" in hit else 0
            return 200, represent(accept, self._list(call, version, crowd))
        if call.verb == "create":
            return 201, self._create(call)
        if call.verb == "update":
            return self._update(call)
        if call.verb == "patch":
            return 200, self._patch(call)
        return 200, self._delete(call)

    # -- reads -----------------------------------------------------------------------------------

    def _read(self, call: Call) -> bytes:
        """The answer as text: agents that start together all ask for the same."""
        request = call.request
        key = (self.store.version, request.path, request.headers.get("accept", ""),
               *sorted(request.query.items()))
        if key not in self._said:
            self._said = {k: v for k, v in self._said.items() if k[0] == self.store.version}
            _, body = self._answer(call, {})
            self._said[key] = json.dumps(body, separators=(",", ":")).encode()
        return self._said[key]

    def _get(self, call: Call, version: Optional[int]) -> Object:
        if version is None:
            return self.store.get(call.resource, call.namespace, call.name)
        for obj in self.store.list_at(call.resource, call.namespace, version):
            if obj["metadata"]["name"] == call.name:
                return obj
        raise status.not_found(call.resource, call.kind.group, call.name)

    def _list(self, call: Call, version: Optional[int], crowd: int = 0) -> Object:
        """A list at one version, paged by limit and continue (api concepts: "chunks")."""
        query, start = call.request.query, ("", "")
        if query.get("continue") and query.get("resourceVersion"):
            raise status.bad_request("specifying resource version is not allowed when using "
                                     "continue")
        match = compile_selector(call.resource, query.get("labelSelector", ""),
                                 query.get("fieldSelector", ""), "")
        if query.get("continue"):
            version, start = self._continue_token(query["continue"])
        elif version is None:
            version = self._list_version(query)
        objects = (self.store.list(call.resource, call.namespace)
                   if version == self.store.version
                   else self.store.list_at(call.resource, call.namespace, version))
        found = [o for o in objects if match(o)]
        rest = [o for o in found
                if (o["metadata"].get("namespace", ""), o["metadata"]["name"]) > start]
        limit = _number(query, "limit", 0)
        page = rest[:limit] if limit else rest
        if crowd and found:
            page, rest = add_crowd(page, rest, limit, start[1], crowd, found[0])
        meta: Object = {"resourceVersion": str(version)}
        if len(page) < len(rest):
            last = page[-1]["metadata"]
            token = json.dumps({"v": "meta.k8s.io/v1", "rv": version,
                                "start": [last.get("namespace", ""), last["name"]]})
            meta["continue"] = base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")
            meta["remainingItemCount"] = len(rest) - len(page)
        # Items of built-in lists carry no kind or apiVersion of their own.
        items = [{k: v for k, v in o.items() if k not in ("kind", "apiVersion")} for o in page]
        return {"kind": call.kind.kind + "List", "apiVersion": call.kind.api_version,
                "metadata": meta, "items": items}

    def _list_version(self, query: dict[str, str]) -> int:
        asked = _number(query, "resourceVersion", 0)
        if asked > self.store.version:
            raise status.too_large_version(asked, self.store.version)
        if asked and query.get("resourceVersionMatch") == "Exact":
            return asked
        return self.store.version

    def _continue_token(self, token: str) -> tuple[int, tuple[str, str]]:
        try:
            padded = token + "=" * (-len(token) % 4)
            data = json.loads(base64.urlsafe_b64decode(padded.encode()))
            return int(data["rv"]), (str(data["start"][0]), str(data["start"][1]))
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise status.bad_request("continue key is not valid") from error

    async def _watch(self, call: Call, reply: Reply, gone: bool, hole: Optional[Fault]) -> None:
        watch = Watch(self.store, self.faults, call.resource, call.namespace, call.name,
                      call.client, call.request.query, self.bookmark_seconds)
        self.watches.add(watch)
        if hole is not None:
            watch.interrupt(hole)
        try:
            await watch.run(reply, gone)
        finally:
            self.watches.discard(watch)

    # -- writes ----------------------------------------------------------------------------------

    def _body(self, call: Call) -> Object:
        try:
            body = json.loads(call.request.body)
        except ValueError as error:
            raise status.bad_request(f"the request body is not JSON: {error}") from error
        if not isinstance(body, dict) or not isinstance(body.get("metadata", {}), dict):
            raise status.bad_request("the request body is not an object")
        return body

    def _input(self, call: Call) -> Object:
        """The object of a create or update, checked as the generic registry does."""
        obj = self._body(call)
        if (obj.get("kind", call.kind.kind), obj.get("apiVersion", call.kind.api_version)) != (
                call.kind.kind, call.kind.api_version):
            raise status.bad_request(
                f"the object provided is unrecognized: {obj.get('apiVersion')}/{obj.get('kind')}")
        meta = obj.setdefault("metadata", {})
        if call.kind.namespaced:
            if meta.setdefault("namespace", call.namespace) != call.namespace:
                raise status.bad_request("the namespace of the provided object does not match the "
                                         "namespace sent on the request")
        name = meta.get("name", "")
        if call.name and name != call.name:
            raise status.bad_request(f"the name of the object ({name}) does not match the name on "
                                     f"the URL ({call.name})")
        if not name and not meta.get("generateName"):
            raise status.invalid(call.resource, call.kind.group, "",
                                 "metadata.name: Required value: name or generateName is required")
        if name and not _NAME.match(name):
            raise status.invalid(call.resource, call.kind.group, name,
                                 f'metadata.name: Invalid value: "{name}": a lowercase RFC 1123 '
                                 "subdomain must consist of lower case alphanumeric characters")
        self._validate(call, obj)
        return obj

    def _validate(self, call: Call, obj: Object) -> None:
        name = obj["metadata"].get("name", "")
        if call.resource == "configmaps":
            data = obj.get("data") or {}
            if not all(isinstance(v, str) for v in data.values()):
                raise status.bad_request("ConfigMap in version \"v1\" cannot be handled as a "
                                         "ConfigMap: data values must be strings")
            if sum(len(k) + len(v.encode()) for k, v in data.items()) > CONFIGMAP_MAX:
                raise status.invalid(call.resource, "", name, "[]: Too long: must have at most "
                                     f"{CONFIGMAP_MAX} bytes")
        elif call.resource == "events":
            involved = obj.get("involvedObject") or {}
            if involved.get("namespace", "") != obj["metadata"].get("namespace", ""):
                raise status.invalid("events", "", name, "involvedObject.namespace: Invalid value: "
                                     f'"{involved.get("namespace", "")}": does not match '
                                     "event.namespace")
        elif call.resource == "leases":
            seconds = (obj.get("spec") or {}).get("leaseDurationSeconds", 1)
            if not isinstance(seconds, int) or seconds <= 0:
                raise status.invalid("leases", call.kind.group, name,
                                     "spec.leaseDurationSeconds: must be greater than 0")

    def _create(self, call: Call) -> Object:
        obj = self._input(call)
        if obj["metadata"].get("resourceVersion"):
            raise status.bad_request("resourceVersion should not be set on objects to be created")
        return self.store.create(call.resource, obj)

    def _update(self, call: Call) -> tuple[int, Object]:
        obj = self._input(call)
        prev = self.store.find(call.resource, call.namespace, call.name)
        if prev is None and call.kind.create_on_update:
            self.rbac.authorize(call.client, "create", call.resource, call.namespace, call.name)
            obj["metadata"].pop("resourceVersion", None)
            return 201, self.store.create(call.resource, obj)
        if not obj["metadata"].get("resourceVersion") and not call.kind.unconditional_update:
            raise status.invalid(call.resource, call.kind.group, call.name,
                                 "metadata.resourceVersion: Invalid value: 0x0: must be specified "
                                 "for an update")
        return 200, self.store.update(call.resource, obj)

    def _patch(self, call: Call) -> Object:
        content = call.request.headers.get("content-type", "").split(";")[0].strip()
        if content not in _MERGE_TYPES:
            raise status.ApiError(415, "UnsupportedMediaType",
                                  "the body of the request was in an unknown format - accepted "
                                  f"media types include: {', '.join(_MERGE_TYPES)}")
        prev = self.store.get(call.resource, call.namespace, call.name)
        obj = merge_patch(copy.deepcopy(prev), self._body(call))
        if obj["metadata"].get("name") != call.name:
            raise status.invalid(call.resource, call.kind.group, call.name,
                                 "metadata.name: Invalid value: field is immutable")
        return self.store.update(call.resource, obj)

    def _delete(self, call: Call) -> Object:
        """Pods end gracefully (their kubelet removes them); everything else goes at once."""
        obj = self.store.get(call.resource, call.namespace, call.name)
        options = self._body(call) if call.request.body else {}
        wanted = options.get("preconditions") or {}
        for field, message in (("uid", "UID"), ("resourceVersion", "ResourceVersion")):
            have = obj["metadata"][field]
            if wanted.get(field) not in (None, have):
                raise status.conflict(call.resource, call.kind.group, call.name,
                                      f"Precondition failed: {message} in precondition: "
                                      f"{wanted[field]}, {message} in object meta: {have}")
        grace = options.get("gracePeriodSeconds")
        if grace is None and "gracePeriodSeconds" in call.request.query:
            grace = _number(call.request.query, "gracePeriodSeconds", 0)
        if call.resource == "pods":
            return delete_pod(self.store, obj, grace)
        self.store.delete(call.resource, call.namespace, call.name)
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
                "details": {"name": call.name, "kind": call.resource,
                            "uid": obj["metadata"]["uid"]}}


def _number(query: dict[str, str], name: str, default: int) -> int:
    text = query.get(name, "")
    if not text:
        return default
    if not text.isdigit():
        raise status.bad_request(f"{name}: Invalid value: {json.dumps(text)}")
    return int(text)


def add_crowd(page: list[Object], rest: list[Object], limit: int, start: str,
              crowd: int, like: Object) -> tuple[list[Object], list[Object]]:
    """A page of a list with `crowd` more objects at its end, and all that was left before it.

    They are as `like`, but nobody owns them and each is 5 KiB larger.
    """
    first = int(start[len(CROWD_NAME):]) + 1 if start.startswith(CROWD_NAME) else 0
    room = limit - len(page) if limit else crowd
    more = []
    for number in range(first, min(first + room, crowd)):
        meta = {k: v for k, v in like["metadata"].items() if k not in ("ownerReferences", "uid")}
        meta.update(name=f"{CROWD_NAME}{number:05}", uid=f"{number:08}-0000-4000-8000-000000000000",
                    annotations={"ballast": "x" * 5120})
        status_ = {**like.get("status", {}), "podIP": CROWD_ADDRESS}
        more.append({**like, "metadata": meta, "status": status_})
    return page + more, rest + [like] * (crowd - first)


def delete_pod(store: Store, pod: Object, grace: Optional[int]) -> Object:
    """What DELETE on a pod does: a deadline first, removal by the kubelet; 0 removes at once.

    A second DELETE may shorten the grace period but never lengthen it (rest.BeforeDelete).
    """
    meta = pod["metadata"]
    if grace is None:
        grace = pod["spec"].get("terminationGracePeriodSeconds", 30)
    if grace == 0:
        gone = store.delete("pods", meta["namespace"], meta["name"], meta["uid"])
        return gone or pod
    if meta.get("deletionTimestamp") and grace >= meta["deletionGracePeriodSeconds"]:
        return pod

    def mark(obj: Object) -> None:
        began = obj["metadata"].get("deletionTimestamp")
        obj["metadata"]["deletionGracePeriodSeconds"] = grace
        obj["metadata"]["deletionTimestamp"] = timestamp(time.time() + grace)
        if not began:
            obj["metadata"].setdefault("generation", 1)
    return store.modify("pods", meta["namespace"], meta["name"], mark, meta["uid"]) or pod
