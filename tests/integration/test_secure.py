#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""AUTH, ACL users and TLS to the servers: formed, rotated, refused; no secret where it is seen."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from muster_test import CLIENT_PORT, REPO, Lab, MusterTestCase, main, on_servers, resp  # noqa: E402

import access  # noqa: E402  (of the lab)
import pki  # noqa: E402
from config import server_program  # noqa: E402
from wire import Impostor, Tap  # noqa: E402
from witness import With, Witness, a_replica, page  # noqa: E402

PODS = 6
NAMES = [f"muster-{i}" for i in range(PODS)]
TAP_PORT = 7001              # where the agents look for a server, and find one of wire.py
MEMORY_REGION_MAX = 64 * 1024 * 1024
# Of each the agent's password passes one place at most: the copy that it signs in with, and the one
# before it while a rotation is under way.
MEMORY_COPIES = 1


def secret_of(lab: Lab, name: str = "password") -> str:
    return (lab.state / "secret" / name).read_text().strip()


def put_file(path: Path, text: str) -> None:
    """As the kubelet does with a Secret: another file takes the name."""
    new = path.with_name(path.name + ".new")
    new.write_text(text)
    new.rename(path)


def memory_copies(pid: int, secret: bytes) -> int:
    """How often the text is found in the writable memory of a process."""
    found = 0
    lines = Path(f"/proc/{pid}/maps").read_text(encoding="ascii").splitlines()
    with open(f"/proc/{pid}/mem", "rb") as memory:
        for line in lines:
            span, rights, *_ = line.split()
            first, last = (int(part, 16) for part in span.split("-"))
            if not rights.startswith("rw") or last - first > MEMORY_REGION_MAX:
                continue             # a sanitizer's shadow is not worth the walk
            memory.seek(first)
            try:
                found += memory.read(last - first).count(secret)
            except OSError:          # [vvar] and the like
                continue
    return found


class SecureTestCase(MusterTestCase):
    """With what every secured lab must hold to."""

    def wait_log(self, lab: Lab, pod: str, text: str, after: int = 0, timeout: float = 15) -> int:
        """Wait for the text in the agent's log behind `after`; where it ends."""
        def look() -> int:
            at = lab.log(pod).find(text, after)
            return at + len(text) if at >= 0 else 0
        end: int = self.wait_until(look, timeout, f"{text!r} in the log of {pod}")
        return end

    def assert_formed(self, lab: Lab) -> None:
        lab.wait("formed", 60)
        for name, pod in lab.pods().items():
            self.assertEqual(pod["restarts"], {"redis": 0, "agent": 0}, name)

    def assert_seen(self, witness: Witness) -> None:
        """agent/README.md: no agent was blind for long, no replica's link stayed down."""
        print(f"blind {witness.longest_blind:.1f} s, link down {witness.longest_down:.1f} s", end=" ")
        self.assertGreater(witness.samples, 50)
        self.assertLess(witness.longest_blind, 5, "an agent was blind")
        self.assertLess(witness.longest_down, 15, "a replica had no link")

    def assert_secret_is_nowhere(self, lab: Lab, *secrets: str) -> None:
        """FAULTS H8: logs, arguments, environments, memory, status, metrics, API objects."""
        texts = {str(p): p.read_text(errors="replace") for p in lab.state.rglob("*.log")}
        texts |= {str(p): p.read_text() for p in lab.state.glob("pods/*/agent.yaml")}
        for process in Path("/proc").glob("[0-9]*"):
            for name in ("cmdline", "environ", "status"):
                try:
                    texts[f"{process}/{name}"] = (process / name).read_text(errors="replace")
                except OSError:      # it has ended
                    continue
        pods = lab.pods()
        for name, pod in pods.items():
            for path in ("/status", "/metrics", "/status?digest"):
                texts[f"{name}{path}"] = page(pod["ip"], path)
        for resource in ("configmaps", "events", "leases", "pods"):
            texts[resource] = json.dumps(lab.get(resource))
        self.assertGreater(len(texts), 30)
        for secret in secrets:
            self.assertEqual([where for where, text in texts.items() if secret in text], [])
        for name, pod in pods.items():
            with open(f"/proc/{pod['pids']['agent']}/limits", encoding="ascii") as limits:
                self.assertRegex(limits.read(), r"Max core file size +0 ", name)
            for secret in secrets:
                self.assertLessEqual(memory_copies(pod["pids"]["agent"], secret.encode()),
                                     MEMORY_COPIES, f"passwords left behind in {name}")


class Auth(SecureTestCase):
    """The default user's password: formed, and rotated while it runs (FAULTS C10)."""

    timeout = 200

    @on_servers("valkey-9", "redis-7.0")
    def test_a_password_is_rotated_while_the_cluster_runs(self, server: str) -> None:
        with Lab(pods=PODS, auth=True, server=server) as lab:
            lab.up(timeout=60)
            with self.assertRaisesRegex(resp.RespError, "NOAUTH"):
                resp.command(lab.address("muster-0"), "PING")
            old, new = secret_of(lab), "new-" + os.urandom(12).hex()
            print(f"{server}: C10", end=" ")
            with Witness(lab, NAMES, [With(lab, new), With(lab, old)]) as witness:
                self.rotate(lab, new)
            self.assert_seen(witness)
            self.assert_formed(lab)
            self.assert_secret_is_nowhere(lab, old, new)
            self.a_restarted_server_comes_back(lab)

    def rotate(self, lab: Lab, new: str) -> None:
        """The file first, then server by server, every connection cut each time.

        Halfway for so long that it would show if an agent knew one password only.
        """
        for pod in NAMES:
            put_file(lab.state / "pods" / pod / "password", new + "\n")
        old = secret_of(lab)
        servers = [lab.address(pod) for pod in NAMES]
        for done, server in enumerate(servers):
            self.command(server, old, "CONFIG", "SET", "requirepass", new, "masterauth", new)
            for place, other in enumerate(servers):
                for kind in ("normal", "replica"):
                    self.command(other, new if place <= done else old, "CLIENT", "KILL", "TYPE",
                                 kind)
            time.sleep(5 if done == PODS // 2 - 1 else 0.3)
        put_file(lab.state / "secret/password", new + "\n")
        for server in servers:
            with self.assertRaisesRegex(resp.RespError, "WRONGPASS"):
                self.command(server, old, "PING")

    @staticmethod
    def command(server: str, password: str, *words: str) -> Any:
        with resp.Client(server) as client:
            client.call("AUTH", password)
            return client.call(*words)

    def a_restarted_server_comes_back(self, lab: Lab) -> None:
        replica = a_replica(lab)
        lab.kill(replica, timeout=90)
        lab.wait("formed", 90)


class Documented(MusterTestCase):
    def test_the_acl_user_of_the_readme_is_the_one_that_is_tested(self) -> None:
        text = (REPO / "agent/README.md").read_text()
        section = text[text.index("## Access to the servers"):text.index("## Conventions")]
        told = set(re.findall(r"`(\+[a-z|-]+)`", section.replace("\\|", "|")))
        rules = f"{access.AGENT_RULES} {access.SCALE_RULES}"
        self.assertEqual(told, {word for word in rules.split() if word.startswith("+")})


class AclUser(SecureTestCase):
    """FAULTS C11: each right that the agents need is missing in turn."""

    timeout = 240
    reads = ("info", "cluster|myid", "cluster|info", "cluster|nodes", "config|get")
    acts = ("config|set", "cluster|set-config-epoch", "cluster|addslotsrange", "cluster|meet",
            "cluster|replicate")

    @on_servers("redis-7.0", "valkey-9")
    def test_every_right_that_is_missing_is_named_and_nothing_is_done_without_it(
            self, server: str) -> None:
        rules = "-@all +client|setname " + " ".join(f"+{right}" for right in self.reads)
        with Lab(pods=PODS, server=server, auth=True, node_timeout=2000,
                 settings={"lab.user": "muster", "lab.userRules": rules}) as lab:
            lab.up(wait="running", timeout=30)
            self.forms_as_rights_are_given(lab)
            self.forgets_as_the_right_is_given(lab)
            self.is_blind_without_any_of_the_reads(lab)
            old, new = secret_of(lab, "agent-password"), "new-" + os.urandom(12).hex()
            with Witness(lab, NAMES) as witness:
                self.has_two_passwords_for_a_while(lab, old, new)
            self.assert_seen(witness)
            for pod in NAMES:        # the list of access.py is complete
                refused = [entry for entry in lab.redis(pod, "ACL", "LOG")
                           if entry[7].decode() not in (*self.reads, *self.acts, "cluster|forget")]
                self.assertEqual(refused, [])
            self.assert_secret_is_nowhere(lab, old, new)

    def allow(self, lab: Lab, *rules: str, pods: tuple[str, ...] = tuple(NAMES)) -> bool:
        for pod in pods:
            lab.redis(pod, "ACL", "SETUSER", "muster", *rules)
        return True

    def forms_as_rights_are_given(self, lab: Lab) -> None:
        for right in self.acts:
            lacks = f"the ACL user lacks +{right}"
            self.wait_until(lambda: lacks in "".join(map(lab.log, NAMES)), 20, lacks)
            self.allow(lab, f"+{right}")
        lab.wait("formed", 40)
        self.wait_until(lambda: "record: formed" in "".join(map(lab.log, NAMES)), 10,
                        "that the record says so, too")

    def forgets_as_the_right_is_given(self, lab: Lab) -> None:
        """A replica that lost its volume comes back under another id; the old one is to go."""
        replica = a_replica(lab)
        lab.lose_volume(replica, wait=False)
        self.wait_until(lambda: "lacks +cluster|forget" in "".join(map(lab.log, NAMES)), 40,
                        "that cluster|forget is named")
        self.assertIn(b"fail", lab.redis("muster-0", "CLUSTER", "NODES"))
        self.wait_until(lambda: self.allow(lab, "+cluster|forget", *(f"+{r}" for r in self.acts)),
                        20, "that all servers take the user's rights")
        lab.wait("formed", 90)       # what was refused is tried again after 30 s at most

    def is_blind_without_any_of_the_reads(self, lab: Lab) -> None:
        before = self.done_by_agents(lab)
        for right in self.reads:
            at = len(lab.log("muster-0"))
            self.allow(lab, f"-{right}", pods=("muster-0",))
            self.wait_log(lab, "muster-0", f"the ACL user lacks +{right}", at, 20)
            self.assertTrue(lab.pods()["muster-0"]["ready"])
            self.allow(lab, f"+{right}", pods=("muster-0",))
            if right != "config|get":
                self.wait_log(lab, "muster-0", "event=server_answers", at)
        self.assertEqual(self.done_by_agents(lab), before)
        lab.wait("formed", 20)

    def has_two_passwords_for_a_while(self, lab: Lab, old: str, new: str) -> None:
        """The other way of a rotation: not one AUTH is refused (or ACL LOG would have it)."""
        self.allow(lab, f">{new}")
        for pod in NAMES:
            put_file(lab.state / "pods" / pod / "password", new + "\n")
        self.cut_connections(lab)
        self.allow(lab, f"<{old}")
        self.cut_connections(lab)
        for pod in NAMES:
            self.wait_log(lab, pod, "event=password_changed")

    def cut_connections(self, lab: Lab) -> None:
        before = {pod: self.signed_in(lab, pod) for pod in NAMES}
        for pod in NAMES:
            lab.redis(pod, "CLIENT", "KILL", "USER", "muster")
        for pod in NAMES:
            self.wait_until(lambda: self.signed_in(lab, pod) - before[pod], 10,
                            f"the agents are back at {pod}")

    def signed_in(self, lab: Lab, pod: str) -> set[str]:
        """The agents' connections."""
        lines = lab.text(pod, "CLIENT", "LIST").splitlines()
        return {line.split()[0] for line in lines if " user=muster " in line + " "}

    def done_by_agents(self, lab: Lab) -> dict[str, str]:
        """The calls of every command that changes something, on all servers."""
        changed = {}
        for pod in NAMES:
            for name, figures in resp.parse_info(lab.redis(pod, "INFO", "commandstats")).items():
                command = name.removeprefix("cmdstat_")
                if command in (*self.acts, "cluster|forget", "cluster|failover"):
                    changed[f"{pod} {command}"] = re.split("[=,]", figures)[1]
        return changed


class Tls(SecureTestCase):
    """Mutual TLS: clients, bus and replication."""

    timeout = 120

    def test_six_servers_that_speak_tls_only_form_a_cluster(self) -> None:
        with Lab(pods=PODS, auth=True, tls=True) as lab:
            lab.up(timeout=60)
            with self.assertRaises(resp.RespError):
                resp.command(lab.address("muster-0"), "PING")
            self.assert_formed(lab)
            self.certificates_are_renewed(lab)
            self.assert_formed(lab)
            self.assert_secret_is_nowhere(lab, secret_of(lab))

    def certificates_are_renewed(self, lab: Lab) -> None:
        """Other files at the same places, for servers and agents, with no process restarted."""
        for pod in NAMES:
            tls = lab.state / "pods" / pod / "tls"
            before = (tls / "tls.crt").read_text()
            access.make_pod_certificate(lab.state, tls.parent, pod, lab.address(pod))
            self.assertNotEqual((tls / "tls.crt").read_text(), before)
            for setting, name in (("tls-cert-file", "tls.crt"), ("tls-key-file", "tls.key")):
                lab.redis(pod, "CONFIG", "SET", setting, str(tls / name))
        for pod in NAMES:
            lab.redis(pod, "CLIENT", "KILL", "TYPE", "normal")
        for pod in NAMES:
            self.wait_log(lab, pod, "event=certificates_changed")

    def test_without_client_certificates_by_a_name_and_on_another_bus_port(self) -> None:
        with Lab(pods=3, replicas_per_primary=0, tls=True, server="valkey-9", settings={
                "lab.clientCerts": False, "redis.tls.serverName": access.CERTIFICATE_NAME,
                "lab.serverArgs": "--cluster-port 17379"}) as lab:
            lab.up(timeout=60)


@on_servers("redis-7.0", "valkey-9")
class Refused(SecureTestCase):
    """One agent, and something at its server's address that is not to be told the password."""

    timeout = 120
    server: str

    def setUp(self) -> None:
        super().setUp()
        self.lab = self.enterContext(Lab(pods=1, replicas_per_primary=0, auth=True, tls=True,
                                         server=self.server, settings={"redis.port": TAP_PORT}))
        self.lab.up(wait="running")
        self.address = self.lab.address("muster-0")
        self.at = (self.address, TAP_PORT)
        self.secret = secret_of(self.lab).encode()

    def certificates(self) -> dict[str, tuple[Path, Path]]:
        """Each is wrong in one thing only; the last in nothing."""
        here = self.lab.state / "impostor"
        here.mkdir()
        good = self.lab.state / "secret/ca.crt"
        other = pki.make_ca(here, "other")
        names = f"IP:{self.address}"
        wanted = {"self-signed": None, "other authority": (other, pki.Request("x", names)),
                  "wrong name": (good, pki.Request(self.address, "IP:127.0.0.1,DNS:x")),
                  "expired": (good, pki.Request("x", names, days=-1)),
                  "sha1": (good, pki.Request("x", names, digest="sha1")),
                  "weak key": (good, pki.Request("x", names, key="rsa:1024")),
                  "client's": (good, pki.Request("x", names, usage="clientAuth")),
                  "good": (good, pki.Request("x", names))}
        made = {}
        for kind, how in wanted.items():
            made[kind] = ((other, other.with_suffix(".key")) if how is None
                          else pki.issue(here, kind.replace(" ", "-").replace("'", ""), *how))
        return made

    def test_no_password_is_sent_to_whom_the_certificate_is_wrong(self) -> None:
        """FAULTS H7, to the servers."""
        accepted = []
        with Impostor(self.at) as impostor:
            for kind, files in self.certificates().items():
                at = len(self.lab.log("muster-0"))
                impostor.show(*files)
                if kind == "good":   # shows that the others could have been believed
                    self.wait_until(lambda: self.secret in impostor.heard, 15, "the password")
                    continue
                self.wait_log(self.lab, "muster-0", "the server's certificate is refused", at)
                self.wait_until(lambda: impostor.connections >= 2, 15, "two connections")
                accepted += [kind] if impostor.heard else []
        self.assertEqual(accepted, [])
        self.assertFalse(self.lab.pods()["muster-0"]["ready"])

    def test_no_password_is_sent_in_plain_where_one_side_speaks_tls(self) -> None:
        """FAULTS G5, both ways."""
        plain = self.plain_server()
        with Tap(self.at, plain) as tap:                      # TLS here, plain there
            self.wait_log(self.lab, "muster-0", "the server does not speak TLS")
            self.wait_until(lambda: tap.connections >= 2, 15, "two connections")
            self.assertTrue(tap.heard.startswith(b"\x16\x03"), "a ClientHello")
            self.assertNotIn(self.secret, tap.heard)
        self.assertFalse(self.lab.pods()["muster-0"]["ready"])
        path = self.lab.state / "pods/muster-0/agent.yaml"
        put_file(path, path.read_text().replace("enabled: true", "enabled: false"))
        self.lab.kill("muster-0", container="agent", wait=False)
        with Tap(self.at, (self.address, CLIENT_PORT)) as tap:   # plain here, TLS there
            self.wait_log(self.lab, "muster-0", "TLS (redis.tls.enabled)")
            self.wait_until(lambda: tap.connections >= 2, 15, "two connections")
            self.assertIn(b"PING", tap.heard)
            self.assertNotIn(self.secret, tap.heard)
        print(f"{self.server}: G5 secrets on the wire 0", end=" ")
        with Tap(self.at, plain) as tap:                      # and what is wanted can be told
            self.wait_until(lambda: self.secret in tap.heard, 15, "the password")

    def plain_server(self) -> tuple[str, int]:
        """A server with the lab's password and without TLS."""
        # below the range from which the kernel gives ports to connections, and this file's own
        port = int(os.environ.get("MUSTER_TEST_PORT", "20300"))
        directory = self.lab.state / "plain"
        directory.mkdir()
        (directory / "redis.conf").write_text(
            f"port {port}\nbind 127.0.0.1\nrequirepass {secret_of(self.lab)}\nsave \"\"\n"
            f"cluster-enabled yes\ncluster-port {port + 1}\ndir {directory}\n")
        server = subprocess.Popen([server_program(self.server), str(directory / "redis.conf")],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)

        def listens() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0
        self.wait_until(listens, 15, "the plain server listens")
        return "127.0.0.1", port


if __name__ == "__main__":
    main()
