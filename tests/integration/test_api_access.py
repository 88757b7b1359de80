#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Six pods form one cluster though tokens, rights, certificates or the Lease fail meanwhile.

As test_api_faults.py (agent/FAULTS.md, A9-A12, A14, A16, H7).
"""

from __future__ import annotations

import contextlib
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Iterator

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from muster_test import main, on_servers, wait_until  # noqa: E402

from formation import NAMES, PODS, ApiFaults, Formation  # noqa: E402

# As lax as a system may be: whoever refuses weak certificates does so by itself.
LAX_OPENSSL = """openssl_conf = a
[a]
ssl_conf = b
[b]
system_default = c
[c]
CipherString = DEFAULT:@SECLEVEL=0
"""


@contextlib.contextmanager
def lax_openssl() -> Iterator[str]:
    """The name of a file for OPENSSL_CONF."""
    with tempfile.NamedTemporaryFile("w", suffix=".cnf") as file:
        file.write(LAX_OPENSSL)
        file.flush()
        yield file.name


@on_servers("redis-7.0", "valkey-9")
class Access(ApiFaults):
    def test_a9_a_token_that_is_rotated(self) -> None:
        with Formation(self) as formation:
            formation.intent()
            formation.lab.api("rotate-tokens")
            time.sleep(1)
            formation.lab.api("rotate-tokens")
        print(f"{formation.refused} answers of 401", end=" ")
        self.assertLessEqual(formation.refused, 10 * PODS)

    def test_a10_a_token_file_that_is_missing_or_empty(self) -> None:
        with Formation(self, "*,*,status=503,pod=nobody") as formation:
            formation.intent()
            tokens = [formation.lab.state / "pods" / pod / "token" for pod in NAMES]
            formation.lab.api("rotate-tokens")
            kept = [path.read_text() for path in tokens]
            for number, path in enumerate(tokens):
                if number % 2:
                    path.unlink()
                else:
                    path.write_text("")
            time.sleep(3)
            for path, text in zip(tokens, kept):
                path.write_text(text)

    def deny_in_turn(self, *stages: tuple[str, str]) -> None:
        """What is denied is named, once; what is granted is used at once."""
        denied = [f"{verb},{resource},status=403" for verb, resource in stages]
        with Formation(self, " ".join(denied + ["create,events,status=403"])) as formation:
            for (verb, resource), fault in zip(stages, denied):
                method = {"create": "POST", "update": "PUT"}.get(verb, verb.upper())
                name = rf"{method} \S*/{resource}\S*: HTTP 403"
                # leases and records are written by whoever leads
                enough = any if verb in ("create", "update") else all
                wait_until(lambda: enough(re.search(name, formation.log(pod)) for pod in NAMES),
                           40, f"{verb} {resource} is missed")
                formation.fault(f"clear {fault}")
            formation.lab.wait("formed", timeout=75)
            for pod in NAMES:
                lines = formation.log(pod).splitlines()
                self.assertLessEqual(sum("events_denied" in line for line in lines), 1, pod)
                for verb, resource in stages:
                    named = sum(f"/{resource}" in line and "HTTP 403" in line and
                                "event=turn" not in line for line in lines)
                    self.assertLessEqual(named, 6, f"{pod}: {resource} is said once by each")

    # Each list denies every part of the agent one right at most: what is denied twice waits longer.
    def test_a11_rights_to_read_are_denied_in_turn(self) -> None:
        self.deny_in_turn(("get", "pods"), ("list", "statefulsets"), ("list", "pods"),
                          ("get", "leases"), ("create", "configmaps"))

    def test_a11_rights_to_write_are_denied_in_turn(self) -> None:
        self.deny_in_turn(("list", "configmaps"), ("watch", "statefulsets"), ("watch", "pods"),
                          ("create", "leases"), ("update", "configmaps"))

    def test_a11_rights_to_stay_are_denied_in_turn(self) -> None:
        self.deny_in_turn(("watch", "configmaps"), ("update", "leases"))

    def test_a12_an_authority_that_is_rotated(self) -> None:
        """Certificates that prove nothing are refused; the new authority's file is enough."""
        # servers may start, nobody may lead
        with lax_openssl() as lax, \
                Formation(self, "*,leases,status=503",
                          lab__agentEnv=f"OPENSSL_CONF={lax}") as formation:
            formation.say("HTTP 503")
            lab = formation.lab
            reasons = (("expired", "certificate has expired"), ("self-signed", "self.signed"),
                       ("wrong-name", "no alternative certificate subject name"),
                       ("sha1", "digest algorithm too weak"), ("weak-key", "key too weak"),
                       ("other-ca", "unable to get local issuer certificate"))
            for kind, reason in reasons:
                lab.api("cert", kind)
                before = [formation.count(pod) for pod in NAMES]
                formation.clear()
                wait_until(lambda: any(re.search(reason, formation.log(pod)) for pod in NAMES), 40,
                           f"{kind} is refused: {reason}")
                self.assertEqual([formation.count(pod) for pod in NAMES], before,
                                 f"{kind}: not one request")
                formation.unformed()
            for pod in NAMES:
                new = lab.state / "pods" / pod / "ca.new"
                new.write_bytes((lab.state / "ca-next.crt").read_bytes())
                new.rename(lab.state / "pods" / pod / "ca.crt")
            (lab.state / "ca.crt").write_bytes((lab.state / "ca-next.crt").read_bytes())


@on_servers("redis-7.0", "valkey-9")
class Leaders(ApiFaults):
    def test_a16_a_conflict_on_every_write(self) -> None:
        """Read again and try again, without a storm."""
        writes = ("create,leases,status=409", "update,leases,status=409",
                  "create,configmaps,status=409", "update,configmaps,status=409")
        with Formation(self, " ".join(writes)) as formation:
            began, first = time.monotonic(), [formation.count(pod) for pod in NAMES]
            time.sleep(5)
            sent = [formation.count(pod) - before for pod, before in zip(NAMES, first)]
            seconds = time.monotonic() - began
            print(f"requests with every write refused: {sent} in {seconds:.1f} s", end=" ")
            self.assertLessEqual(max(sent), 8 * seconds)
            formation.unformed()
            formation.clear()
            formation.intent()
            formation.fault(*writes)
            time.sleep(4)
            formation.clear()

    def test_a14_a_leader_that_sleeps_through_its_lease(self) -> None:
        """Another takes over; the sleeper wakes, and does nothing in the name of its old Lease."""
        with Formation(self) as formation:
            formation.intent()
            pod = formation.leader()
            formation.lab.pause(pod, "agent")
            others = [name for name in NAMES if name != pod]
            wait_until(lambda: formation.leader() in others, 20, "another leads")
            # the sleeper's pod keeps its last verdict, so the servers are asked, not the pods
            wait_until(lambda: all("cluster_state:ok" in formation.lab.text(n, "CLUSTER", "INFO")
                                   for n in NAMES), 60, "the servers stand without the sleeper")
            wait_until(formation.recorded, 20, "the record says formed")
            mark = len(formation.log(pod))
            formation.lab.resume(pod, "agent")
            wait_until(lambda: "event=" in formation.log(pod)[mark:], 20, "the sleeper is awake")
            time.sleep(2)
            self.assertNotIn("event=did", formation.log(pod)[mark:])


if __name__ == "__main__":
    main()
