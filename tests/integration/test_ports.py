#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Ports: what clients are told of them, with and without TLS, and ports that somebody else has."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, Optional

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from muster_test import CLIENT_PORT, REPO, Lab, MusterTestCase, main, on_servers, resp  # noqa: E402

from access import Access  # noqa: E402  (of the lab)

BASE_PORT = int(os.environ.get("MUSTER_TEST_PORT", "20300"))
PLAIN_PORT = 6390            # beside TLS at CLIENT_PORT
BUS_PORT = CLIENT_PORT + 10000
NAMES = [f"muster-{i}" for i in range(3)]
KEYS = [f"key:{i}" for i in range(30)]
ELSEWHERE = "192.0.2.1"      # TEST-NET-1 (RFC 5737)


class Announced(MusterTestCase):
    """A client is sent on to a port that speaks what it speaks."""

    timeout = 120

    def told(self, lab: Lab, port: int, access: Optional[Access]) -> set[tuple[str, int]]:
        """Where a client that asks every server at this port is sent, by MOVED and CLUSTER SLOTS."""
        found = set()
        for pod in NAMES:
            with resp.Client(lab.address(pod), port, access=access) as client:
                for entry in client.call("CLUSTER", "SLOTS"):
                    found |= {(node[0].decode(), node[1]) for node in entry[2:]}
                for key in KEYS:
                    try:
                        client.call("GET", key)
                    except resp.RespError as error:
                        word, _slot, address = str(error).split()
                        self.assertEqual(word, "MOVED")
                        host, _, number = address.rpartition(":")
                        found.add((host, int(number)))
        return found

    def assert_announced(self, lab: Lab, plain_port: int) -> None:
        addresses = [lab.address(pod) for pod in NAMES]
        self.assertEqual(self.told(lab, CLIENT_PORT, lab.access),
                         {(address, CLIENT_PORT) for address in addresses}, "over TLS")
        if plain_port:
            self.assertEqual(self.told(lab, plain_port, None),
                             {(address, plain_port) for address in addresses}, "in plain")
        for pod in NAMES:
            settings = lab.redis(pod, "CONFIG", "GET", "cluster-announce-*")
            given = {name.decode(): value.decode()
                     for name, value in zip(settings[::2], settings[1::2])}
            self.assertEqual(given["cluster-announce-ip"], lab.address(pod))
            for name in ("port", "bus-port", "tls-port"):    # the server's own are the right ones
                self.assertEqual(given[f"cluster-announce-{name}"], "0", pod)
            bus = {line.split()[1].partition(",")[0].partition("@")[2]
                   for line in lab.text(pod, "CLUSTER", "NODES").splitlines()}
            self.assertEqual(bus, {str(BUS_PORT)}, pod)

    def follow(self, lab: Lab, *options: str) -> None:
        """As people do: redis-cli goes where MOVED points, for keys of all shards."""
        program = subprocess.run([str(REPO / "tests/lib/server.sh"), "--cli"], text=True, check=True,
                                 stdout=subprocess.PIPE, timeout=60).stdout.strip()
        words = [program, "-c", "-h", lab.address("muster-0"), *options]
        done = subprocess.run(words, input="".join(f"SET {key} 1\n" for key in KEYS), text=True,
                              capture_output=True, timeout=20, check=False)
        self.assertEqual(done.stdout.split().count("OK"), len(KEYS), done.stdout + done.stderr)

    def follow_both(self, lab: Lab, plain_port: int) -> None:
        secret = lab.state / "secret"
        self.follow(lab, "-p", str(CLIENT_PORT), "--tls", "--cacert", str(secret / "ca.crt"),
                    "--cert", str(secret / "tools.crt"), "--key", str(secret / "tools.key"))
        if plain_port:
            self.follow(lab, "-p", str(plain_port))

    def try_with(self, server: str, plain_port: int) -> None:
        with Lab(pods=len(NAMES), replicas_per_primary=0, tls=True, server=server,
                 settings={"lab.serverArgs": f"--port {plain_port}"}) as lab:
            lab.up(timeout=60)
            self.assert_announced(lab, plain_port)
            self.follow_both(lab, plain_port)
            lab.delete("muster-1")           # another address, by the gate
            lab.wait("formed", 40)
            lab.redis("muster-2", "CONFIG", "SET", "cluster-announce-ip", ELSEWHERE)
            self.wait_until(lambda: lab.redis("muster-2", "CONFIG", "GET", "cluster-announce-ip")[1]
                            .decode() == lab.address("muster-2"), 40, "the agent puts it right")
            lab.wait("formed", 40)
            self.wait_until(lambda: ELSEWHERE not in "".join(
                lab.text(pod, "CLUSTER", "NODES") for pod in NAMES), 15, "nobody believes it")
            self.assert_announced(lab, plain_port)

    @on_servers("valkey-9", "redis-7.0")
    def test_with_both_ports_open(self, server: str) -> None:
        self.try_with(server, PLAIN_PORT)

    def test_with_tls_only(self) -> None:
        self.try_with("redis-7.0", 0)


class Taken(MusterTestCase):
    """FAULTS G4."""

    timeout = 120

    def said_by_the_lab(self, lab: Lab) -> str:
        return (lab.state / "daemon.log").read_text()

    def wait_named(self, lab: Lab, pod: str, port: int) -> None:
        """By the server, in the log that `kubectl logs` shows, and by whoever sees it end."""
        for where in (lambda: lab.log(pod, "redis"), lambda: self.said_by_the_lab(lab)):
            self.wait_until(lambda: f"Failed listening on port {port}" in where(), 20,
                            f"port {port} is named for {pod}")

    def test_a_bus_port_that_is_taken_everywhere(self) -> None:
        """Nothing is formed, nobody is met; the cluster forms once it is free."""
        port = BASE_PORT + 77
        settings: dict[str, Any] = {"lab.serverArgs": f"--cluster-port {port}", "lab.backoff": 0.5}
        with socket.create_server(("", port)) as holder, \
                Lab(pods=len(NAMES), replicas_per_primary=0, settings=settings) as lab:
            lab.up(wait="none")
            for pod in NAMES:
                self.wait_named(lab, pod, port)
            holder.close()
            lab.wait("formed", 60)

    def test_a_client_port_that_is_taken_while_the_server_is_away(self) -> None:
        """Of a server that restarts: it comes back, with what it had, once the port is free."""
        settings = {"lab.firstBackoff": 2.0, "lab.backoff": 2.0}
        with Lab(pods=len(NAMES), replicas_per_primary=0, settings=settings) as lab:
            lab.up()
            node, address = lab.text("muster-1", "CLUSTER", "MYID"), lab.address("muster-1")
            mark = len(lab.log("muster-1"))
            lab.kill("muster-1", wait=False)
            holder = self.wait_until(lambda: hold(address), 5, "the port is ours")
            with holder:
                self.wait_named(lab, "muster-1", CLIENT_PORT)
                self.wait_until(lambda: f"event=server_lost ip={address}" in
                                lab.log("muster-1")[mark:], 10, "the agent misses it")
            lab.wait("formed", 60)
            self.assertEqual(lab.text("muster-1", "CLUSTER", "MYID"), node)

    def test_a_client_port_without_room_for_the_bus_port(self) -> None:
        with Lab(pods=1, replicas_per_primary=0,
                 settings={"lab.serverArgs": f"--port {65536 - 10000}"}) as lab:
            lab.up(wait="none")
            self.wait_until(lambda: "port number too high" in self.said_by_the_lab(lab), 15,
                            "the server says why it ends")


def hold(address: str) -> Optional[socket.socket]:
    try:
        return socket.create_server((address, CLIENT_PORT))
    except OSError:
        return None


if __name__ == "__main__":
    main()
