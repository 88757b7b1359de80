#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The load: writes that are counted only when acknowledged, and every one of them read back.

Each slot has a key, each key gets increasing values by `SET key value GET`, so every write also
checks what the last one left. A write of unknown outcome retires its key (a late execution must not
look like a loss) and the slot goes on with a new one. Every shard (the slot ranges found at the
start) is tried at least every 2 ms whatever happens; a gap is the longest time without an
acknowledgement. Two more writers are pinned to one server each and follow no redirection: they see
what a deposed primary accepts.

    load.py (--seeds HOST:PORT,... | --seeds-file FILE) --socket PATH
takes {"action": "started" | "stop" | "report", "timeout": seconds} as a JSON line on the socket.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import gc
import heapq
import json
import math
import os
import random
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Iterable, Optional

from access import Access
from load_client import NO_ANSWER, Address, Cluster, Connection, redirect_of, slot_tags
from realtime import keep_the_beat, stay_bounded
from resp import SLOTS, RespError, encode_command, slot_ranges

TICK_SECONDS = 0.0015        # leaves room for the loop's own delays below the promised 2 ms
BEAT_SECONDS = 0.001         # in real time, where that is judged: more room
TROUBLE_SECONDS = 0.006      # no acknowledgement for so long: try the shard's replicas too
PINNED_EVERY = 7             # ticks between two writes of a pinned writer: about 100/s
READ_EVERY = 7
ASKING = encode_command("ASKING")
MEMORY_BYTES = 2 << 30


@dataclass
class Key:
    """One key and what may be in it."""

    name: str
    slot: int
    acked: int = 0           # the newest acknowledged value
    busy: bool = False       # a write is on its way
    generation: int = 0


@dataclass
class Group:
    """A shard as found at the start: its slots, and how it fared."""

    name: str
    slots: list[int]
    cursors: list[int]       # one for each writer
    turn: int = 0
    last_ack: float = 0.0
    longest_gap: float = 0.0
    last_attempt: float = 0.0

    def next_slots(self) -> Iterable[int]:
        """Up to 64 slots to try, from the next writer's cursor."""
        writer = self.turn = (self.turn + 1) % len(self.cursors)
        for _ in range(64):
            self.cursors[writer] = (self.cursors[writer] + 1) % len(self.slots)
            yield self.slots[self.cursors[writer]]

    def gap(self, now: float) -> float:
        return max(self.longest_gap, now - self.last_ack if self.last_ack else 0.0)


@dataclass
class Figures:
    acknowledged: int = 0
    attempts: int = 0
    lost: int = 0
    stale: int = 0
    redirects: int = 0
    errors: collections.Counter[str] = field(default_factory=collections.Counter)
    latency: collections.Counter[int] = field(default_factory=collections.Counter)  # 0.1 ms
    attempt_gaps: collections.Counter[int] = field(default_factory=collections.Counter)  # 0.1 ms
    # The longest ones of all shards, and when they ended: a heap.
    gaps: list[tuple[float, float]] = field(default_factory=list)
    gaps_kept: int = 64
    examples: list[dict[str, Any]] = field(default_factory=list)
    _lost: set[tuple[str, int]] = field(default_factory=set)

    def gap(self, seconds: float, now: float) -> None:
        keep = heapq.heappush if len(self.gaps) < self.gaps_kept else heapq.heappushpop
        keep(self.gaps, (seconds, now))

    def lose(self, key: str, acked: int, found: Optional[int]) -> None:
        """An acknowledged value is not there; each is counted once, whoever finds out."""
        if (key, acked) in self._lost:
            return
        self._lost.add((key, acked))
        self.lost += 1
        if len(self.examples) < 10:
            self.examples.append({"key": key, "acknowledged": acked, "found": found})


def percentile(buckets: collections.Counter[int], share: float) -> float:
    """Milliseconds, of buckets of 0.1 ms."""
    total, seen = sum(buckets.values()), 0
    for bucket in sorted(buckets):
        seen += buckets[bucket]
        if seen >= total * share:
            return bucket / 10
    return 0.0


def error_kind(error: RespError) -> str:
    return str(error).split(" ")[0][:20]


class Load:
    """Writers, readers, and the account of what was acknowledged."""

    def __init__(self, seeds: Callable[[], list[Address]], writers: int, readers: int,
                 access: Optional[Access] = None, gaps: int = 64, beat: float = TICK_SECONDS) -> None:
        self.cluster = Cluster(access)
        self.figures = Figures(gaps_kept=gaps)
        self.groups: list[Group] = []
        self.running = True
        self.began = time.monotonic()
        self.stopped_at = 0.0
        self._seeds, self._writers, self._readers = seeds, writers, readers
        self._run = f"{int(time.time() * 1000):x}"
        self._tags = slot_tags()
        self._keys = [self._new_key(slot, "w", 0) for slot in range(SLOTS)]
        self._retired: list[Key] = []
        self._pinned: list[tuple[Connection, list[Key]]] = []
        self._value = 0
        self._beat = beat
        self._ticks = 0
        self._loop = asyncio.get_running_loop()

    def _new_key(self, slot: int, kind: str, generation: int) -> Key:
        return Key(f"load:{self._run}:{kind}{generation}:{{{self._tags[slot]}}}", slot,
                   generation=generation)

    # -- starting --------------------------------------------------------------------------------

    async def start(self, timeout: float) -> None:
        """Wait until all slots have an owner and every shard acknowledged a write."""
        end = time.monotonic() + timeout
        while not all(self.cluster.owner):
            if time.monotonic() > end:
                raise RuntimeError(f"{self.cluster.owner.count(None)} slots have no known owner")
            self._learn_seeds()
            self.cluster.refresh()
            await asyncio.sleep(0.05)
        self._make_groups()
        self.began = time.monotonic()
        self._next = self._loop.time()
        self._tick()
        while not all(g.last_ack for g in self.groups):
            if time.monotonic() > end:
                raise RuntimeError("not every shard acknowledged a write: "
                                   + json.dumps(self.figures.errors))
            await asyncio.sleep(0.01)

    def _learn_seeds(self) -> None:
        for address in self._seeds():
            self.cluster.at(address).connect()

    def _make_groups(self) -> None:
        by_owner: dict[Address, list[int]] = {}
        for slot, owner in enumerate(self.cluster.owner):
            assert owner is not None
            by_owner.setdefault(owner, []).append(slot)
        writers = max(1, -(-self._writers // len(by_owner)))
        for owner, slots in sorted(by_owner.items(), key=lambda item: item[1][0]):
            name = slot_ranges(_ranges(slots))
            cursors = [i * len(slots) // writers for i in range(writers)]
            self.groups.append(Group(name, slots, cursors))
            if len(self._pinned) < 2:
                keys = [self._new_key(s, "p", 0) for s in random.sample(slots, min(50, len(slots)))]
                self._pinned.append((self.cluster.at(owner), keys))

    # -- the clockwork ---------------------------------------------------------------------------

    def _tick(self) -> None:
        if not self.running:
            return
        self._ticks += 1
        now = time.monotonic()
        trouble = False
        for group in self.groups:
            self._attempt(group, now)
            trouble |= now - group.last_ack > TROUBLE_SECONDS
        if self._ticks % PINNED_EVERY == 0:
            for connection, keys in self._pinned:
                self._pinned_write(connection, keys)
        if self._ticks % READ_EVERY == 0:
            for _ in range(self._readers):
                self._read(random.choice(self._keys))
        if self._ticks % 20 == 0:
            self.cluster.give_up_silence()
        if self._ticks % (10 if trouble else 700) == 0:
            if trouble and self._ticks % 300 == 0:
                self._learn_seeds()
            self.cluster.refresh()
        # Keep the beat: a late tick is followed at once by the next, a long stall is not made up.
        self._next = max(self._next + self._beat, self._loop.time() - 0.01)
        self._loop.call_at(self._next, self._tick)

    def _attempt(self, group: Group, now: float) -> None:
        if group.last_attempt:
            self.figures.attempt_gaps[math.ceil((now - group.last_attempt) * 10000)] += 1
        group.last_attempt = now
        key = self._free_key(group)
        if key is None:
            return
        owner = self.cluster.owner[key.slot]
        assert owner is not None
        self._write(key, group, owner)
        if group.last_ack and now - group.last_ack > TROUBLE_SECONDS:
            for replica in self.cluster.replicas.get(owner, []):
                other = self._free_key(group)
                if other is not None:
                    self._write(other, group, replica)

    def _free_key(self, group: Group) -> Optional[Key]:
        for slot in group.next_slots():
            if not self._keys[slot].busy:
                return self._keys[slot]
        return None

    # -- writing ---------------------------------------------------------------------------------

    def _write(self, key: Key, group: Optional[Group], to: Address, ask: bool = False,
               hops: int = 0) -> None:
        self._value += 1
        value, sent = self._value, time.monotonic()
        self.figures.attempts += 1
        command = encode_command("SET", key.name, value, "GET")

        def done(reply: Any) -> None:
            key.busy = False
            if reply is NO_ANSWER:
                self._unknown(key)
            elif isinstance(reply, RespError):
                self._refused(key, group, reply, hops)
            else:
                self._acknowledged(key, group, value, sent, reply, to)
        connection = self.cluster.at(to)
        key.busy = True
        sent_now = (connection.send(ASKING + command, lambda _: None, done) if ask
                    else connection.send(command, done))
        if not sent_now:
            key.busy = False
            self.figures.errors["no connection"] += 1

    def _acknowledged(self, key: Key, group: Optional[Group], value: int, sent: float,
                      reply: Any, to: Address) -> None:
        now = time.monotonic()
        found = _number(reply)
        # The value below is what the last acknowledged write left, or a loss.
        if key.acked and (found is None or found < key.acked):
            self.figures.lose(key.name, key.acked, found)
            self.figures.stale += found is not None
        key.acked = value
        self.figures.acknowledged += 1
        if group is None:
            return
        self.figures.latency[int((now - sent) * 10000)] += 1
        if group.last_ack:
            group.longest_gap = max(group.longest_gap, now - group.last_ack)
            self.figures.gap(now - group.last_ack, now)
        group.last_ack = now
        believed = self.cluster.owner[key.slot]
        if believed != to:                   # a replica that was promoted
            for slot in group.slots:
                if self.cluster.owner[slot] == believed:
                    self.cluster.owner[slot] = to

    def _refused(self, key: Key, group: Optional[Group], error: RespError, hops: int) -> None:
        """An error reply: the write was certainly not executed."""
        redirect = redirect_of(error)
        if redirect is None:
            self.figures.errors[error_kind(error)] += 1
            return
        self.figures.redirects += 1
        if group is None:
            return                           # pinned
        self.cluster.moved(redirect)
        if hops < 3 and redirect.address[0]:
            self._write(key, group, redirect.address, redirect.ask, hops + 1)

    def _unknown(self, key: Key) -> None:
        """Sent, and no answer: from now on the key is only read."""
        self.figures.errors["no answer"] += 1
        if key.acked:
            self._retired.append(Key(key.name, key.slot, key.acked))
        fresh = self._new_key(key.slot, key.name.split(":")[2][0], key.generation + 1)
        key.name, key.acked, key.generation = fresh.name, 0, fresh.generation

    def _pinned_write(self, connection: Connection, keys: list[Key]) -> None:
        key = random.choice(keys)
        if not key.busy:
            self._write(key, None, connection.address)

    # -- reading ---------------------------------------------------------------------------------

    def _read(self, key: Key) -> None:
        """A reader: what it gets must not be older than what was acknowledged when it asked."""
        least, name = key.acked, key.name
        owner = self.cluster.owner[key.slot]
        if not least or owner is None:
            return

        def done(reply: Any) -> None:
            if reply is NO_ANSWER:
                self.figures.errors["no answer"] += 1
            elif isinstance(reply, RespError):
                if redirect_of(reply) is None:
                    self.figures.errors[error_kind(reply)] += 1
            elif (_number(reply) or 0) < least:
                self.figures.stale += 1
        self.cluster.at(owner).send(encode_command("GET", name), done)

    async def read_back(self, timeout: float) -> int:
        """Read every key that was ever acknowledged; returns how many could not be read."""
        pinned = [k for _, keys in self._pinned for k in keys]
        # What is acknowledged from here on is checked by the writers themselves.
        left = [(k.name, k.slot, k.acked) for k in self._keys + pinned + self._retired if k.acked]
        end = time.monotonic() + timeout
        while left and time.monotonic() < end:
            again: list[tuple[str, int, int]] = []
            for start in range(0, len(left), 1000):
                again += await self._read_batch(left[start:start + 1000])
                self.cluster.give_up_silence()
            if len(again) == len(left):
                self._learn_seeds()
                self.cluster.refresh()
                await asyncio.sleep(0.1)
            left = again
        return len(left)

    async def _read_batch(self, batch: list[tuple[str, int, int]]) -> list[tuple[str, int, int]]:
        """One round of GETs; returns those that got no answer about the value."""
        again: list[tuple[str, int, int]] = []
        answers: list[asyncio.Future[None]] = []
        for item in batch:
            name, slot, least = item
            owner = self.cluster.owner[slot]
            future: asyncio.Future[None] = self._loop.create_future()

            def done(reply: Any, item: tuple[str, int, int] = item,
                     future: "asyncio.Future[None]" = future) -> None:
                self._judge(reply, item, again)
                if not future.done():
                    future.set_result(None)
            if owner is not None and self.cluster.at(owner).send(encode_command("GET", name), done):
                answers.append(future)
            else:
                again.append(item)
        if answers:
            _, silent = await asyncio.wait(answers, timeout=2.0)
            if silent:
                self.cluster.give_up_silence()
                await asyncio.wait(silent, timeout=2.0)
        return again

    def _judge(self, reply: Any, item: tuple[str, int, int],
               again: list[tuple[str, int, int]]) -> None:
        name, _, least = item
        if reply is NO_ANSWER:
            again.append(item)
        elif isinstance(reply, RespError):
            redirect = redirect_of(reply)
            if redirect is not None:
                self.cluster.moved(redirect)
            again.append(item)
        else:
            found = _number(reply)
            if found is None or found < least:
                self.figures.lose(name, least, found)

    # -- results ---------------------------------------------------------------------------------

    def stop(self) -> None:
        if self.running:
            self.running = False
            self.stopped_at = time.monotonic()
            for group in self.groups:
                if group.last_ack:
                    self.figures.gap(self.stopped_at - group.last_ack, self.stopped_at)
                group.longest_gap = group.gap(self.stopped_at)

    async def report(self, timeout: float) -> dict[str, Any]:
        unreadable = await self.read_back(timeout)
        now = self.stopped_at or time.monotonic()
        gaps = {g.name: round((g.longest_gap if self.stopped_at else g.gap(now)) * 1000, 1)
                for g in self.groups}
        seconds = max(now - self.began, 0.001)
        figures = self.figures
        epoch = time.time() - time.monotonic()
        longest = [(round(gap * 1000, 1), round(end + epoch, 3))
                   for gap, end in sorted(figures.gaps, reverse=True)]
        return {"acknowledged": figures.acknowledged, "lost": figures.lost, "stale": figures.stale,
                "errors": sum(figures.errors.values()), "longestGapMs": max(gaps.values()),
                "gapMsByShard": gaps,
                "longestGapsMs": [ms for ms, _ in longest],
                "longestGapsEnded": [ended for _, ended in longest],     # since the epoch, seconds
                "p50Ms": percentile(figures.latency, 0.5),
                "p99Ms": percentile(figures.latency, 0.99), "unreadable": unreadable,
                "seconds": round(seconds, 1), "attempts": figures.attempts,
                "acknowledgedPerSecond": round(figures.acknowledged / seconds),
                "redirects": figures.redirects, "errorsByKind": dict(figures.errors),
                "attemptGapP99Ms": percentile(figures.attempt_gaps, 0.99),
                "attemptGapMaxMs": percentile(figures.attempt_gaps, 1.0),
                "lostKeys": figures.examples}


def _number(reply: Any) -> Optional[int]:
    return int(reply) if isinstance(reply, bytes) and reply.isdigit() else None


def _ranges(slots: list[int]) -> list[tuple[int, int]]:
    """[0, 1, 2, 9] -> [(0, 2), (9, 9)]"""
    ranges: list[tuple[int, int]] = []
    for slot in slots:
        if ranges and slot == ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], slot)
        else:
            ranges.append((slot, slot))
    return ranges


def parse_seeds(words: Iterable[str]) -> list[Address]:
    return [(host, int(port)) for host, _, port in (w.rpartition(":") for w in words)]


async def serve(args: argparse.Namespace) -> None:
    def seeds() -> list[Address]:
        if args.seeds_file:
            return parse_seeds(json.loads(Path(args.seeds_file).read_text()))
        return parse_seeds(args.seeds.split(","))
    load = Load(seeds, args.writers, args.readers, Access(args.access) if args.access else None, args.gaps,
                BEAT_SECONDS if args.real_time else TICK_SECONDS)
    gc.freeze()                              # 16384 keys need no walking; the rest is small
    gc.set_threshold(20000, 20, 20)
    started: Optional[asyncio.Task[None]] = None

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal started
        try:
            request = json.loads(await reader.readline())
            result: Any = None
            if request["action"] == "started":
                started = started or asyncio.ensure_future(load.start(request["timeout"]))
                await asyncio.shield(started)
            elif request["action"] == "stop":
                load.stop()
            else:
                result = await load.report(request["timeout"])
            message = {"result": result}
        except (RuntimeError, ValueError, KeyError) as error:
            message = {"error": f"the load: {error}"}
        writer.write(json.dumps(message).encode() + b"\n")
        await writer.drain()
        writer.close()
    server = await asyncio.start_unix_server(answer, args.socket + ".new")
    os.rename(args.socket + ".new", args.socket)     # it is there only once it listens
    async with server:
        await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--seeds", help="HOST:PORT,...")
    parser.add_argument("--seeds-file", help="a JSON list of them, read again when in trouble")
    parser.add_argument("--access", type=Path, help="the lab's directory, for AUTH and TLS")
    parser.add_argument("--socket", required=True)
    parser.add_argument("--writers", type=int, default=8)
    parser.add_argument("--readers", type=int, default=2)
    parser.add_argument("--gaps", type=int, default=64)
    parser.add_argument("--real-time", action="store_true")
    args = parser.parse_args()
    if not args.seeds and not args.seeds_file:
        sys.exit("load.py: --seeds or --seeds-file is needed")
    stay_bounded(MEMORY_BYTES)
    if args.real_time:
        keep_the_beat("load.py")
    asyncio.run(serve(args))


if __name__ == "__main__":
    main()
