#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Authorities and certificates are replaced while the cluster runs: nobody is restarted, no agent is
blind for longer than a moment, no link stays down (agent/README.md; passwords: test_secure.py).
"""

from __future__ import annotations

import shutil
import ssl
import sys
import time
from pathlib import Path
from typing import Any, Callable

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from muster_test import Lab, MusterTestCase, main, resp  # noqa: E402

import access  # noqa: E402  (of the lab)
import pki  # noqa: E402
from witness import Witness, a_replica  # noqa: E402

PODS = 6
NAMES = [f"muster-{i}" for i in range(PODS)]
BLIND_SECONDS = 5.0          # at most, with the machine busy
DOWN_SECONDS = 8.0           # a link that was cut is made anew by a timer of one second


def put_file(path: Path, text: str) -> None:
    """As the kubelet does with a Secret: another file takes the name."""
    new = path.with_name(path.name + ".new")
    new.write_text(text)
    new.rename(path)


class RotationCase(MusterTestCase):
    timeout = 400

    def assert_nobody_was_restarted(self, lab: Lab) -> None:
        lab.wait("formed", 30)
        for name, pod in lab.pods().items():
            self.assertEqual(pod["restarts"], {"redis": 0, "agent": 0}, name)

    def wait_all(self, lab: Lab, marks: dict[str, int], text: str, timeout: float = 20) -> None:
        """Until the log of every agent has the text behind its mark."""
        self.wait_until(lambda: all(text in lab.log(pod)[marks[pod]:] for pod in NAMES), timeout,
                        f"{text!r} in every agent's log")

    @staticmethod
    def marks(lab: Lab) -> dict[str, int]:
        return {pod: len(lab.log(pod)) for pod in NAMES}

    def watched(self, lab: Lab, change: Callable[[Lab], None]) -> None:
        """The change, while the agents' sight of the servers and the servers' links are sampled."""
        with Witness(lab, NAMES) as witness:
            change(lab)
        print(f"blind {witness.longest_blind:.1f} s, link down {witness.longest_down:.1f} s;",
              end=" ")
        self.assertGreater(witness.samples, 50)
        self.assertLess(witness.longest_blind, BLIND_SECONDS, "an agent was blind")
        self.assertLess(witness.longest_down, DOWN_SECONDS, "a replica had no link")


class Tls(RotationCase):
    """Servers and agents with certificates of an authority that is replaced by another."""

    def test_authorities_are_replaced_while_the_cluster_runs(self) -> None:
        with Lab(pods=PODS, auth=True, tls=True, settings={"kubernetes.leaseSeconds": 3}) as lab:
            lab.up(timeout=60)
            self.watched(lab, self.both_are_trusted)
            self.watched(lab, self.certificates_are_the_new_one_s)
            self.watched(lab, self.the_old_one_is_trusted_no_more)
            self.assert_nobody_was_restarted(lab)
            self.the_api_s_authority(lab)
            self.assert_nobody_was_restarted(lab)
            self.a_restarted_server_comes_back(lab)

    def both_are_trusted(self, lab: Lab) -> None:
        secret = lab.state / "secret"
        pki.make_ca(secret, "next")
        both = (secret / "ca.crt").read_text() + (secret / "next.crt").read_text()
        self.replace(lab, {"ca.crt": both})
        put_file(secret / "ca.crt", both)

    def certificates_are_the_new_one_s(self, lab: Lab) -> None:
        """The lab's own client, too."""
        secret = lab.state / "secret"
        made = secret / "made"
        for pod in NAMES:
            made.mkdir()
            pki.issue(made, "tls", secret / "next.crt", pki.Request(
                pod, f"IP:{lab.address(pod)},DNS:{access.CERTIFICATE_NAME}",
                "serverAuth,clientAuth"))
            texts = {name: (made / name).read_text() for name in ("tls.crt", "tls.key")}
            shutil.rmtree(made)
            self.replace(lab, texts, [pod])
        shutil.copy(secret / "tools.crt", secret / "old.crt")
        shutil.copy(secret / "tools.key", secret / "old.key")
        pki.issue(secret, "tools", secret / "next.crt", pki.Request("tools", "", "clientAuth"))

    def the_old_one_is_trusted_no_more(self, lab: Lab) -> None:
        secret = lab.state / "secret"
        new = (secret / "next.crt").read_text()
        put_file(secret / "ca.crt", new)
        self.replace(lab, {"ca.crt": new})
        context = ssl.create_default_context(cafile=str(secret / "next.crt"))
        context.load_cert_chain(secret / "old.crt", secret / "old.key")
        for pod in NAMES:
            with self.assertRaises(resp.RespError, msg=f"{pod} trusts the old authority"):
                resp.command(lab.address(pod), "PING", access=Old(lab.state, context))

    def replace(self, lab: Lab, texts: dict[str, str], pods: list[str] | None = None) -> None:
        """Other files at the same places; the servers are told, and every connection is cut."""
        chosen = NAMES if pods is None else pods
        before = {pod: self.agents_at(lab, pod) for pod in chosen}
        for pod in chosen:
            tls = lab.state / "pods" / pod / "tls"
            for name, text in texts.items():
                put_file(tls / name, text)
            settings: list[str] = []
            for setting, name in (("tls-cert-file", "tls.crt"), ("tls-key-file", "tls.key"),
                                  ("tls-ca-cert-file", "ca.crt")):
                settings += [setting, str(tls / name)]
            lab.redis(pod, "CONFIG", "SET", *settings)
        for pod in chosen:
            for kind in ("normal", "replica"):
                lab.redis(pod, "CLIENT", "KILL", "TYPE", kind)
        for pod in chosen:
            self.wait_until(lambda: self.agents_at(lab, pod) - before[pod], 15,
                            f"the agents are back at {pod}")

    @staticmethod
    def agents_at(lab: Lab, pod: str) -> set[str]:
        """The connections of agents."""
        lines = lab.text(pod, "CLIENT", "LIST").splitlines()
        return {line.split()[0] for line in lines if " name=muster " in line}

    def the_api_s_authority(self, lab: Lab) -> None:
        """Refused as long as the file names the old one only; then at once, with no restart."""
        marks = self.marks(lab)
        lab.api("cert", "other-ca")
        self.wait_all(lab, marks, "unable to get local issuer certificate")
        new = (lab.state / "ca-next.crt").read_text()
        old = (lab.state / "ca.crt").read_text()
        marks = self.marks(lab)
        for pod in NAMES:
            put_file(lab.state / "pods" / pod / "ca.crt", old + new)
        begin = time.monotonic()
        self.wait_all(lab, marks, "event=api-well", 40)
        print(f"the API's new authority is taken {time.monotonic() - begin:.1f} s after its file",
              end=" ")
        put_file(lab.state / "ca.crt", new)

        def renewed() -> Any:
            return lab.get("leases", "muster-muster")["spec"]["renewTime"]
        before = renewed()
        self.wait_until(lambda: renewed() != before, 10, "the leader leads")

    def a_restarted_server_comes_back(self, lab: Lab) -> None:
        """Every handshake anew: clients, bus, replication."""
        replica = a_replica(lab)
        lab.kill(replica, timeout=90)
        lab.wait("formed", 90)


class Old(access.Access):
    """A client whose certificate is the old authority's."""

    def __init__(self, directory: Path, context: ssl.SSLContext) -> None:
        super().__init__(directory)
        self._old = context

    @property
    def context(self) -> ssl.SSLContext:
        return self._old


if __name__ == "__main__":
    main()
