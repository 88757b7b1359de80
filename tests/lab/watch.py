# SPDX-License-Identifier: Apache-2.0
"""One watch: initial state, live changes through the selectors, bookmarks, an end.

Semantics of k8s.io/apiserver's watch cache: without a version the present state comes first as
ADDED; with one, everything after it; with one that is compacted, a single ERROR event whose object
is a Status 410. Bookmarks come when nothing else does, and once just before the time is up.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import Optional

import status
from faults import EVENT_KINDS, Fault, Faults
from httpd import Reply
from selector import compile_selector, project
from store import RESOURCES, Change, Object, Store, encode

REORDER_HOLD_SECONDS = 0.5
QUEUE_MAX = 20000


class Watch:
    """The server side of one watch request."""

    def __init__(self, store: Store, faults: Faults, resource: str, namespace: str, name: str,
                 client: str, query: dict[str, str], bookmark_seconds: float) -> None:
        self.resource, self.client = resource, client
        self._store, self._faults = store, faults
        self._kind = RESOURCES[resource]
        fields = query.get("fieldSelector", "")
        if name:
            fields = ",".join(filter(None, (fields, f"metadata.name={name}")))
        self._match = compile_selector(resource, query.get("labelSelector", ""), fields, namespace)
        self._bookmarks = query.get("allowWatchBookmarks", "") in ("1", "true")
        self._bookmark_seconds = bookmark_seconds
        version, seconds = query.get("resourceVersion", ""), query.get("timeoutSeconds", "")
        if (version and not version.isdigit()) or (seconds and not seconds.isdigit()):
            raise status.bad_request("resourceVersion and timeoutSeconds must be numbers")
        self._from = int(version or 0)
        # kube-apiserver's --min-request-timeout: half an hour to an hour when not told.
        self._seconds = float(seconds) if seconds and int(seconds) else random.uniform(1800, 3600)
        self._queue: asyncio.Queue[Optional[Change]] = asyncio.Queue()
        self._seen = 0                   # the newest version this watcher is known to have
        self._fault: Optional[Fault] = None
        self._held: Optional[bytes] = None

    def interrupt(self, fault: Fault) -> None:
        """A fault that was just injected hits this running watch."""
        fault.take()
        self._fault = fault
        self._queue.put_nowait(None)

    def _enqueue(self, change: Change) -> None:
        if change.resource == self.resource:
            self._queue.put_nowait(change)
        self._newest = change.version

    async def run(self, reply: Reply, gone: bool) -> None:
        """Serve until the time is up, the client leaves, or a fault ends it."""
        if self._from > self._store.version:
            raise status.too_large_version(self._from, self._store.version)
        self._newest = self._store.version
        backlog, error = self._initial(gone)
        undo = self._store.subscribe(self._enqueue)
        left = asyncio.ensure_future(reply.reader.read(1))
        try:
            await reply.start_stream(200)
            if error is not None:
                await reply.chunk(encode("ERROR", error.status()))
                await reply.end_stream()
                return
            for line in backlog:
                if not await reply.chunk(line):
                    return
            await self._stream(reply, left)
        finally:
            undo()
            # A byte that came in may be lost with the reader, so the connection is not re-used.
            left.cancel()
            reply.keep_alive = False

    def _initial(self, gone: bool) -> tuple[list[bytes], Optional[status.ApiError]]:
        self._seen = self._store.version
        if gone:
            return [], status.expired("injected by the lab: too old resource version")
        if not self._from:
            return [encode("ADDED", o) for o in self._store.list(self.resource)
                    if self._match(o)], None
        try:
            changes = self._store.since(self.resource, self._from)
        except status.ApiError as error:
            return [], error
        seen = (project(c, self._match) for c in changes)
        return [encode(*event) for event in seen if event], None

    async def _stream(self, reply: Reply, left: "asyncio.Future[bytes]") -> None:
        end = time.monotonic() + self._seconds
        while True:
            now = time.monotonic()
            wait = min(end - now, self._bookmark_seconds)
            if self._held is not None:
                wait = min(wait, REORDER_HOLD_SECONDS)
            change = await self._next(left, max(wait, 0.0))
            if left.done() or self._queue.qsize() > QUEUE_MAX:
                return
            if change is None and self._fault is not None:
                if self._fault.kind == "hole":
                    await left
                else:
                    await self._end_by_fault(reply)
                return
            if change is not None:
                sent = await self._send(reply, change)
            elif self._held is not None:
                sent, self._held = await reply.chunk(self._held), None
            else:
                sent = await self._bookmark(reply)
            if not sent:
                return
            if time.monotonic() >= end:
                await self._bookmark(reply)
                await reply.end_stream()
                return

    async def _next(self, left: "asyncio.Future[bytes]", wait: float) -> Optional[Change]:
        if not self._queue.empty():
            return self._queue.get_nowait()
        getter = asyncio.ensure_future(self._queue.get())
        try:
            await asyncio.wait({getter, left}, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
            return getter.result() if getter.done() else None
        finally:
            getter.cancel()

    async def _send(self, reply: Reply, change: Change) -> bool:
        event = project(change, self._match)
        self._seen = change.version
        if event is None:
            return True
        line = change.line(event[0]) if event[1] is change.obj else encode(*event)
        hit = self._faults.take("watch", self.resource, self.client, EVENT_KINDS)
        hit = {kind: fault for kind, fault in hit.items() if kind == "half" or fault.chance()}
        if "half" in hit:
            line = line[:hit["half"].number(0)] + b"\n"
        if "skip" in hit:
            return True
        if "duplicate" in hit:
            line += line
        if self._held is None and "reorder" in hit:
            self._held = line
            return True
        if self._held is not None:
            line, self._held = line + self._held, None
        return await reply.chunk(line)

    async def _bookmark(self, reply: Reply) -> bool:
        if not self._bookmarks or not self._queue.empty():
            return True
        self._seen = max(self._seen, self._newest)
        obj: Object = {"kind": self._kind.kind, "apiVersion": self._kind.api_version,
                       "metadata": {"resourceVersion": str(self._seen),
                                    "creationTimestamp": None}}
        if self.resource in ("pods", "statefulsets"):
            obj["spec"] = {"containers": None} if self.resource == "pods" else {}
            obj["status"] = {}
        return await reply.chunk(encode("BOOKMARK", obj))

    async def _end_by_fault(self, reply: Reply) -> None:
        assert self._fault is not None
        if self._fault.kind == "gone" and self._fault.value != "http":
            error = status.expired("injected by the lab: too old resource version")
            await reply.chunk(encode("ERROR", error.status()))
            await reply.end_stream()
            return
        if self._fault.kind == "truncate":
            reply.writer.write(b"400\r\n" + b'{"type":"MODIFIED","object":{"kind":"'
                               [:self._fault.number(0)])
            await reply.writer.drain()
        reply.drop()
