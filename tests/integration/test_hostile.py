#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Peers, an API server and clients that mean harm (agent/FAULTS.md, H): the agent stays, and is told.

One real agent; its API server and the servers of its three pods are played here. Whatever they send:
the agent keeps running, answers /livez, stays small, sends no command that changes anything, dials
nobody that the API does not name, and writes only lines that parse.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from pathlib import Path
from typing import Any, Callable, Optional

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from muster_test import REPO, MusterTestCase, main, wait_until  # noqa: E402

PORT, HTTP_PORT, API_PORT = 16600, 16601, 16602
ADDRESSES = ["127.77.0.1", "127.77.0.2", "127.77.0.3"]
OUTSIDE = "127.77.0.99"
GROWTH_MIB = 64             # of a release build
SANITIZER_MIB = 448         # AddressSanitizer keeps 256 MiB of freed memory, and its shadow
CHANGES = re.compile(rb"^(CLUSTER (MEET|FORGET|REPLICATE|ADDSLOTS\w*|DELSLOTS\w*|SETSLOT|RESET|FAILOVER|"
                     rb"SET-CONFIG-EPOCH|BUMPEPOCH)|CONFIG SET|FLUSH|REPLICAOF|SLAVEOF|SHUTDOWN)", re.I)
LOGFMT = re.compile(r'([a-zA-Z_-]+=("([^"\\\x00-\x1f\x7f]|\\["\\n]|\\u[0-9a-f]{4})*"|[!-~]+)( |$))+')
TOKEN = "the-token-of-this-pod"


def binary() -> Path:
    named = os.environ.get("MUSTER_BUILD")
    for place in [Path(named)] if named else [REPO / "build/dev", REPO / "build/release"]:
        for path in (place / "muster", place / "bin/muster"):
            if path.exists():
                return path
    raise AssertionError("no muster: set MUSTER_BUILD")


class Threaded(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64


class Peer:
    """A server on one address: what it answers to each command, and what it was told to do."""

    def __init__(self, address: str, answer: Callable[[bytes], bytes]) -> None:
        self.answer, self.commands, self.connects = answer, [], 0     # type: ignore[var-annotated]
        peer = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                peer.connects += 1
                data = b""
                while True:
                    try:
                        more = self.request.recv(65536)
                        if not more:
                            return
                        data += more
                        while True:
                            words, rest = take_command(data)
                            if words is None:
                                break
                            data = rest
                            line = b" ".join(words)
                            peer.commands.append(line)
                            self.reply(peer.answer(line))
                    except OSError:
                        return

            def reply(self, text: bytes) -> None:
                if text.startswith(b"SLOW"):
                    for byte in text[4:]:
                        self.request.sendall(bytes([byte]))
                        time.sleep(0.2)
                else:
                    self.request.sendall(text)

        self.server = Threaded((address, PORT), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def take_command(data: bytes) -> tuple[Optional[list[bytes]], bytes]:
    """The first whole command of the bytes that a client sent, and the rest."""
    lines = data.split(b"\r\n")
    if not data.startswith(b"*") or len(lines) < 2:
        return None, data
    count, at, words = int(lines[0][1:]), len(lines[0]) + 2, []
    for _ in range(count):
        end = data.find(b"\r\n", at)
        if end < 0:
            return None, data
        size = int(data[at + 1:end])
        if len(data) < end + 2 + size + 2:
            return None, data
        words.append(data[end + 2:end + 2 + size])
        at = end + 2 + size + 2
    return words, data[at:]


def bulk(text: bytes) -> bytes:
    return b"$%d\r\n%s\r\n" % (len(text), text)


class Api:
    """The Kubernetes API of one StatefulSet over plain HTTP; `hostile` may answer in its place."""

    def __init__(self, port: int = API_PORT) -> None:
        self.hostile: Optional[Callable[[str], Optional[bytes]]] = None
        self.label = self.node = ""
        self.version = 10
        self.seen: list[str] = []
        self.watchers: list[socket.socket] = []
        api = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                try:
                    while api.one(self):
                        pass
                except (OSError, ValueError):
                    pass

        self.server = Threaded(("127.0.0.1", port), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.cut()
        self.server.shutdown()
        self.server.server_close()

    def cut(self) -> None:
        """End every watch, so that what comes next is asked for."""
        for connection in self.watchers:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.watchers.clear()

    def one(self, handler: Any) -> bool:
        line = handler.rfile.readline(70000).decode()
        if not line:
            return False
        size = 0
        while True:
            header = handler.rfile.readline(70000).decode().strip()
            if not header:
                break
            if header.lower().startswith("content-length:"):
                size = int(header.split(":")[1])
        body = handler.rfile.read(size)
        method, target, _ = line.split()
        self.seen.append(f"{method} {target}")
        raw = self.hostile(target) if self.hostile else None
        if raw is not None:
            handler.wfile.write(raw)
            return False
        if "watch=true" in target:
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            self.watchers.append(handler.request)
            while handler.rfile.read(1):
                pass
            return False
        code, answer = self.good(method, urllib.parse.urlsplit(target).path, body)
        text = json.dumps(answer).encode()
        handler.wfile.write(b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\n"
                            b"Content-Length: %d\r\n\r\n" % (code, len(text)) + text)
        return True

    def meta(self, name: str, **more: Any) -> dict[str, Any]:
        return {"name": name, "namespace": "lab", "uid": f"uid-{name}",
                "resourceVersion": str(self.version), **more}

    def pod(self, index: int) -> dict[str, Any]:
        labels = {"app": "muster", "topology.kubernetes.io/zone": f"zone-{index}"}
        if self.label and index == 1:
            labels["topology.kubernetes.io/zone"] = labels["note"] = self.label
        owner = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "muster",
                 "uid": "uid-muster", "controller": True}
        return {"metadata": self.meta(f"muster-{index}", labels=labels, ownerReferences=[owner],
                                      annotations={"note": self.label}),
                "spec": {"nodeName": self.node if self.node and index == 1 else f"node-{index}"},
                "status": {"phase": "Running", "podIP": ADDRESSES[index]}}

    def good(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        self.version += 1
        last = path.rsplit("/", 1)[1]
        if last.startswith("muster-") and "/pods/" in path:
            return 200, {"kind": "Pod", **self.pod(int(last[7:]))}
        if method in ("POST", "PUT"):
            obj = json.loads(body)
            obj["metadata"].update(uid="uid-x", resourceVersion=str(self.version))
            return 201, obj
        items: list[Any] = []
        if last == "pods":
            items = [self.pod(i) for i in range(len(ADDRESSES))]
        elif last == "statefulsets":
            items = [{"metadata": self.meta("muster", generation=1), "spec": {
                "replicas": 3, "serviceName": "headless",
                "selector": {"matchLabels": {"app": "muster"}}}, "status": {}}]
        elif last not in ("configmaps", "endpointslices"):
            return 404, {"kind": "Status", "code": 404, "reason": "NotFound"}
        kind = {"pods": "PodList", "statefulsets": "StatefulSetList",
                "configmaps": "ConfigMapList", "endpointslices": "EndpointSliceList"}[last]
        return 200, {"kind": kind, "metadata": {"resourceVersion": str(self.version)},
                     "items": items}


class HostileCase(MusterTestCase):
    timeout = 100
    format = "logfmt"

    def setUp(self) -> None:
        super().setUp()
        self.directory = Path(tempfile.mkdtemp(prefix="mho-", dir="/tmp"))
        self.addCleanup(shutil.rmtree, self.directory, True)
        self.peers: list[Peer] = []
        self.api = Api()
        self.addCleanup(self.api.close)

    def play(self, answer: Callable[[bytes], bytes]) -> None:
        for address in ADDRESSES:
            self.peers.append(Peer(address, answer))
            self.addCleanup(self.peers[-1].close)

    def start(self) -> None:
        (self.directory / "token").write_text(TOKEN)
        environment = {
            "POD_NAME": "muster-0", "POD_NAMESPACE": "lab", "POD_UID": "uid-muster-0",
            "POD_IP": ADDRESSES[0], "MUSTER_REDIS_HOST": ADDRESSES[0],
            "MUSTER_REDIS_PORT": str(PORT), "MUSTER_HTTP_ADDRESS": "127.0.0.1",
            "MUSTER_HTTP_PORT": str(HTTP_PORT), "MUSTER_LOG_FORMAT": self.format,
            "MUSTER_HOOK_SOCKET": str(self.directory / "agent.sock"),
            "MUSTER_KUBERNETES_APISERVER": f"http://127.0.0.1:{API_PORT}",
            "MUSTER_KUBERNETES_LEASESECONDS": "3",
            "MUSTER_KUBERNETES_TOKENFILE": str(self.directory / "token"),
        }
        self.log_path = self.directory / "log"
        with open(self.log_path, "wb") as log:
            self.agent = subprocess.Popen([str(binary()), "agent"], env=environment,
                                          stdin=subprocess.DEVNULL, stderr=log, stdout=log)
        self.addCleanup(self.stop)
        wait_until(lambda: self.alive() is not None, 20, "the agent answers", 0.05)
        wait_until(lambda: "watch_connected what=pods" in self.log() or
                   '"what":"pods"' in self.log(), 20, "it knows its pods")
        self.first_mib = self.mib()

    def stop(self) -> None:
        if self.agent.poll() is None:
            self.agent.send_signal(signal.SIGTERM)
            try:
                self.agent.wait(10)
            except subprocess.TimeoutExpired:
                self.agent.kill()
                self.agent.wait()

    def log(self) -> str:
        return self.log_path.read_bytes().decode("utf-8")      # anything else is a failure

    def mib(self) -> float:
        status = Path(f"/proc/{self.agent.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024     # type: ignore[index]

    def alive(self) -> Optional[float]:
        """Seconds until /livez said yes."""
        begin = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", HTTP_PORT, timeout=5)
        try:
            connection.request("GET", "/livez")
            if connection.getresponse().status == 200:
                return time.monotonic() - begin
        except OSError:
            pass
        finally:
            connection.close()
        return None

    def quick(self) -> Optional[float]:
        """The same, if less than one; once is enough, for other tests run beside this one."""
        took = self.alive()
        return took if took is not None and took < 1.0 else None

    def judge(self) -> None:
        """It runs, is small, changed nothing, and its log is whole."""
        self.assertIsNone(self.agent.poll(), self.log()[-2000:])
        self.wait_until(self.quick, 10, "an answer within a second")
        sanitized = b"__asan_init" in binary().read_bytes()
        growth = self.mib() - self.first_mib
        print(f"grew by {growth:.1f} MiB", end=" ")
        self.assertLess(growth, GROWTH_MIB + (SANITIZER_MIB if sanitized else 0))
        for peer in self.peers:
            changes = [c for c in peer.commands if CHANGES.search(c)]
            self.assertEqual(changes, [])
        self.stop()
        self.assertEqual(self.agent.returncode, 0, self.log()[-2000:])
        for line in self.log().splitlines():
            if self.format == "json":
                self.assertIn("event", json.loads(line))
            else:
                self.assertRegex(line, rf"\A{LOGFMT.pattern}\Z")
        self.assertLess(len(self.log().splitlines()), 150)


ID = b"a" * 40
LINE = b"%s 127.77.0.1:16600@26600%s myself,master - 0 0 1 connected%s\n"


def nodes(line: bytes = b"", name: bytes = ID, host: bytes = b"", slots: bytes = b"") -> bytes:
    return bulk(LINE % (name, host, slots) + line)


class Peers(HostileCase):
    def assault(self, answer: Callable[[bytes], bytes], seconds: float = 3) -> None:
        self.play(answer)
        self.start()
        time.sleep(seconds)
        self.assertTrue(all(peer.commands for peer in self.peers), "all were asked")
        self.judge()

    def test_h2_replies_that_promise_too_much(self) -> None:
        bombs = [b"*2147483647\r\n", b"$2147483647\r\n", b"$-5\r\n", b"*1\r\n" * 1000000,
                 b"+" + b"x" * 8000000, b"*-2\r\n", b"$99999999999999999999\r\n", b"\x00\xff\r\n",
                 b"%2147483647\r\n", b"SLOW$100000\r\nxxxxxxxxxxxxxxxx", b"$5\r\nhelloXX",
                 b"*3\r\n:1\r\n"]
        turn = iter(range(10**9))
        self.assault(lambda _: bombs[next(turn) % len(bombs)], 6)

    def test_h3_views_that_are_lies(self) -> None:
        lies = [nodes((b"b" * 40 + b" 127.77.0.2:16600@26600 master - 0 0 2 connected\n") * 40000),
                nodes(host=b"," + b"h" * 65536), nodes(host=b",%n%n%s"), nodes(slots=b" -1"),
                nodes(slots=b" 16384"), nodes(slots=b" 5-3"), nodes(slots=b" 0-5 3-9"),
                nodes(name=b"a" * 39), nodes(name=b"a" * 41), nodes(name=b"A" * 40),
                nodes(host=b",a\x1b[31m"), nodes(b"\n\n"), nodes(b"\x00"), bulk(b""),
                nodes(slots=b" [0->-" + b"z" * 40 + b"]"),
                nodes(b"b" * 40 + b" 999.1.1.1:99999@1 master - 0 0 1 connected\n")]
        turn = iter(range(10**9))

        def answer(command: bytes) -> bytes:
            if command.upper() == b"CLUSTER NODES":
                return lies[next(turn) % len(lies)]
            return bulk(b"role:master\r\nrun_id:%n\r\ncluster_state:ok\nloading:2\r\n"
                        b"master_repl_offset:-0\r\n" + b"x:y\r\n" * 20000)
        self.assault(answer, 6)

    def test_h10_addresses_that_the_api_does_not_name(self) -> None:
        stranger = Peer(OUTSIDE, lambda _: b"+OK\r\n")
        self.addCleanup(stranger.close)
        away = b"%s:%d" % (OUTSIDE.encode(), PORT)

        def answer(command: bytes) -> bytes:
            word = command.upper()
            if word == b"CLUSTER NODES":
                return nodes(b"b" * 40 + b" " + away + b"@26600 master - 0 0 2 connected 0-16383\n")
            if word.startswith(b"INFO"):
                return bulk(b"# Replication\r\nrole:slave\r\nmaster_host:" + OUTSIDE.encode() +
                            b"\r\nmaster_port:%d\r\nmaster_link_status:up\r\n" % PORT)
            return b"-MOVED 0 " + away + b"\r\n"
        self.assault(answer, 4)
        self.assertEqual(stranger.connects, 0)


class Objects(HostileCase):
    """H4 and H5: what the API server says."""

    def quiet(self) -> None:
        self.play(lambda _: b"-LOADING Redis is loading the dataset in memory\r\n")

    def forge(self) -> None:
        self.quiet()
        for text in ('x" level=error event=forged', "a\nts=0 level=error event=forged",
                     "\x1b[2J\x1b[31m", "../../../etc/passwd", "%n%s", "\u202e\u009b", "{}", "'"):
            self.api.label = self.api.node = text
            if self.api.watchers:
                self.api.cut()
            if not hasattr(self, "agent"):
                self.api.label = self.api.node = ""
                self.start()
            time.sleep(0.7)
        self.judge()
        self.assertNotRegex(self.log(), r"(?m)^[^\"]*event=forged")

    def test_h4_labels_that_forge_lines(self) -> None:
        self.forge()

    def test_h4_labels_that_forge_json(self) -> None:
        self.format = "json"
        self.forge()

    def assault(self, *answers: bytes) -> None:
        """After a good start these are the only answers; the last good view must survive them."""
        self.quiet()
        self.start()
        turn = iter(range(10**9))
        self.api.hostile = lambda _: answers[next(turn) % len(answers)]
        self.api.cut()
        mark = len(self.log())
        wait_until(lambda: "api-problem" in self.log()[mark:], 20, "the API's trouble is told")
        time.sleep(4)
        connection = http.client.HTTPConnection("127.0.0.1", HTTP_PORT, timeout=5)
        connection.request("GET", "/status")
        pods = json.loads(connection.getresponse().read())["pods"]
        connection.close()
        self.assertEqual(sorted(p["name"] for p in pods), ["muster-0", "muster-1", "muster-2"],
                         "the last view is kept")
        self.judge()

    @staticmethod
    def http(body: bytes, head: bytes = b"") -> bytes:
        return b"HTTP/1.1 200 OK\r\n" + head + b"Content-Length: %d\r\n\r\n" % len(body) + body

    def test_h5_json_that_is_no_object(self) -> None:
        listed = b'{"kind":"PodList","metadata":{"resourceVersion":"99999"},"items":['
        self.assault(*(self.http(body) for body in (
            b'{"a":' * 100000, b"[" * 100000, b'{"metadata":{"resourceVersion":1e400},"items":[]}',
            b'{"metadata":{"resourceVersion":"\\ud800"},"items":[]}', b"\xff\xfe", b"null", b"",
            listed + b'{"metadata":{"name":"\\udc00","uid":"u","resourceVersion":"1"}}]}',
            listed + b"{}," * 300000 + b"{}]}", listed + b'{"metadata":null}]}',
            b'{"items":{},"metadata":{"resourceVersion":"1","resourceVersion":"2"}}')))

    def test_h5_a_string_of_a_hundred_megabytes(self) -> None:
        """Announced, and in chunks that never end."""
        text = b'{"kind":"' + b"x" * 100_000_000 + b'"}'
        self.assault(self.http(text), b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" +
                     b"%x\r\n" % len(text) + text)

    def test_h6_http_that_is_none(self) -> None:
        elsewhere = Api(API_PORT + 1)
        self.addCleanup(elsewhere.close)
        away = b"http://127.0.0.1:%d/" % (API_PORT + 1)
        chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        self.assault(
            b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1048576 + b"\r\n\r\n{}",
            b"HTTP/1.1 302 Found\r\nLocation: " + away + b"\r\nContent-Length: 0\r\n\r\n",
            chunked + b"ffffffffffffffffffff\r\n{}\r\n0\r\n\r\n", chunked + b"-1\r\n{}",
            self.http(b'{"metadata":{}}', b"Content-Length: 3\r\n"), b"nonsense\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", b"\x16\x03\x01" * 100,
            b"HTTP/1.1 999999 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n{")
        self.assertEqual(elsewhere.seen, [], "no request, and no token, went elsewhere")


class Clients(HostileCase):
    def test_h9_a_thousand_slow_clients(self) -> None:
        self.play(lambda _: b"-LOADING Redis is loading the dataset in memory\r\n")
        self.start()
        slow: list[socket.socket] = []
        times: list[float] = []
        for number in range(1000):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", HTTP_PORT))
            slow.append(client)
            if number % 100 == 99:
                for other in slow[-100:]:
                    try:
                        other.send(b"GET /livez HTTP/1.1\r\nX-A: ")
                    except OSError:
                        pass
                times += [self.alive() or 9 for _ in range(10)]
        for client in slow:
            client.close()
        times.sort()
        print(f"99 of 100 answers within {times[-2]:.3f} s, slowest {times[-1]:.3f} s", end=" ")
        self.assertLess(times[-2], 1.0)
        for request in (b"POST /livez HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
                        b"GET /" + b"x" * 1048576 + b" HTTP/1.1\r\n\r\n", b"\x00" * 5000,
                        b"DELETE / HTTP/1.1\r\n\r\n", b"GET /%n%s HTTP/1.1\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", HTTP_PORT), 5) as client:
                try:
                    client.sendall(request)
                    answer = client.recv(4096)
                except ConnectionError:
                    continue
                self.assertRegex(answer[:12], rb"HTTP/1.1 4\d\d")
        self.judge()


if __name__ == "__main__":
    main()
