#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`helm install` on a real Kubernetes: the cluster forms by itself, with nothing allowed that it does not need."""

from __future__ import annotations

import os
import sys
import tempfile
import time
import unittest
from pathlib import Path
from typing import Any

from kube.pki import Authority
from release import Manifests, Refused, Release, comeback, figure, wait_until

GOLDEN = Path(__file__).resolve().parent / "golden"
KEYS = 300
# seconds; the goals of the figures are smaller, these catch what is broken
FIRST_KEY_MAX = 120
RETURN_MAX = 180
# seconds, of which the servers themselves take 2: the promise
SERVE_MAX = 3.0
# only of the cluster that tests/e2e/cluster started it is known that this machine reaches its pods
REACHES_PODS = bool(os.environ.get("E2E_STATE"))


class Installed(unittest.TestCase):
    """One release for all tests of a class."""

    values: dict[str, Any] = {}
    release: Release
    status: dict[str, Any]

    @classmethod
    def setUpClass(cls) -> None:
        if cls is Installed:
            raise unittest.SkipTest("the base of the others")
        cls.release = cls.make()
        cls.addClassCleanup(cls.release.remove)
        cls.release.remove()
        cls.release.create_namespace()
        try:
            cls.prepare()
            begun = cls.release.install()
            written = cls.release.write_first_key(FIRST_KEY_MAX)
            cls.status = cls.release.wait_formed()
            up = [cls.release.logged(pod, "redis", "Ready to accept connections") for pod in cls.release.pods]
            figure(f"{cls.__name__}: from installing to the first key {written - begun:.1f} s (goal 60 s), "
                   f"the last {written - max(one for one in up if one):.1f} s of it after the last server "
                   "was up (goal 3 s)")
        except BaseException:
            print(cls.release.describe(), file=sys.stderr)
            raise

    @classmethod
    def make(cls) -> Release:
        """The release, not installed yet."""
        return Release("e2e-" + cls.__name__.lower(), **cls.values)

    def checks(self) -> None:
        """`muster check` has nothing to say; an agent that was late is heard with the next round."""
        wait_until(lambda: self.release.muster("check") or True, 60, "muster check exits 0")

    @classmethod
    def prepare(cls) -> None:
        """What must be in the namespace before."""

    def run(self, result: Any = None) -> Any:
        before = len(result.failures) + len(result.errors) if result else 0
        done = super().run(result)
        if result and len(result.failures) + len(result.errors) > before:
            print(self.release.describe(), file=sys.stderr)
        return done

    def write_keys(self) -> None:
        """KEYS keys over all slots."""
        self.release.shell(f"for i in $(seq {KEYS}); do echo set key:$i value:$i; done | {self.release.client()} "
                           "| grep -c OK")

    def read_keys(self) -> int:
        """How many of them are there as they were written."""
        return int(self.release.shell(f"for i in $(seq {KEYS}); do echo get key:$i; done | {self.release.client()} "
                                      "| grep -c ^value: || true"))

    def pod_of(self, role: str) -> dict[str, Any]:
        """The first pod of that role that is not the one that commands are run in."""
        status = wait_until(self.release.status, 60, "a leader that answers")
        return next(one for one in status["pods"] if one["role"] == role and one["name"] != self.release.pods[0])

    def lose_data_of_a_primary(self, reason: str, told: str, files: str = "") -> None:
        """A primary's server starts again in its pod, without these files: no key is lost, and a person is told so."""
        self.write_keys()
        before = self.pod_of("primary")
        pod = before["name"]
        wait_until(lambda: "state=online" in self.release.redis("info", "replication", pod=pod), 60,
                   f"a replica of {pod} in sync")
        begun = time.monotonic()
        try:
            self.release.shell(f"rm -rf {files}; {self.release.client()}", "shutdown", "nosave", "now", "force", pod=pod)
        except Refused:
            pass  # with its first process the container ends, and with that the client
        wait_until(lambda: next(one for one in self.release.status()["pods"] if one["name"] == pod)["role"] == "replica",
                   RETURN_MAX, f"another primary than {pod}, and {pod} its replica")
        self.release.wait_formed()
        figure(f"{type(self).__name__}: whole again {time.monotonic() - begun:.1f} s after a primary's server started "
               "again without its data (cluster-node-timeout 15 s)")
        self.assertEqual(self.read_keys(), KEYS)
        self.assertEqual(self.release.get("pod", pod)["status"]["podIP"], before["ip"], "it is to be the same pod")
        self.assertRegex(self.release.events(reason), told.format(pod=pod))

    def delete_and_wait(self, pod: str) -> dict[str, Any]:
        """Deletes a pod like a person would; its new status when the cluster is whole again."""
        uid = self.release.get("pod", pod)["metadata"]["uid"]
        self.release.kubectl("delete", "pod", pod, "--timeout=120s", timeout=150)
        wait_until(lambda: self.release.get("pod", pod)["metadata"]["uid"] != uid, 60, f"a new {pod}")
        self.release.kubectl("wait", "--for=condition=Ready", f"pod/{pod}", "--timeout=180s", timeout=200)
        status = self.release.wait_formed()
        return next(one for one in status["pods"] if one["name"] == pod)


class Defaults(Installed):
    """As `helm install` does it: Redis with a password, on volumes."""

    def test_three_shards_with_a_replica_each_apart_from_their_primaries(self) -> None:
        self.assertEqual(len(self.status["shards"]), 3)
        zones = {one["name"]: one["zone"] for one in self.status["pods"]}
        for shard in self.status["shards"]:
            self.assertEqual(len(shard["replicas"]), 1, shard)
            self.assertNotEqual(zones[shard["primary"]], zones[shard["replicas"][0]], (shard, zones))

    def test_check_finds_nothing_to_say(self) -> None:
        self.checks()

    def test_helm_says_no_warning(self) -> None:
        # the API server warns of what `restricted` would refuse in a template
        self.assertNotIn("Warning", self.release.warnings)

    def test_the_agents_may_do_what_they_need_and_nothing_else(self) -> None:
        def allowed(account: str) -> set[str]:
            text = self.release.kubectl("auth", "can-i", "--list",
                                        f"--as=system:serviceaccount:{self.release.namespace}:{account}")
            return {" ".join(line.split()) for line in text.splitlines()[1:]}
        # what every account may differs between releases of Kubernetes
        own = sorted(allowed(self.release.name) - allowed("default"))
        self.assertEqual("\n".join(own) + "\n", (GOLDEN / "can-i.txt").read_text())
        self.assertFalse(allowed("default") - allowed(self.release.name))

    def test_root_file_systems_are_read_only(self) -> None:
        pod = self.release.get("pod", self.release.pods[0])
        for one in pod["spec"]["containers"] + pod["spec"]["initContainers"]:
            self.assertIs(one["securityContext"]["readOnlyRootFilesystem"], True, one["name"])
        for place in ("/", "/etc", "/tmp", "/hook", "/run/muster"):
            with self.assertRaisesRegex(Refused, "Read-only file system"):
                self.release.shell('touch "$1/x"', place)

    def test_the_server_has_no_token(self) -> None:
        with self.assertRaisesRegex(Refused, "No such file"):
            self.release.shell("ls /var/run/secrets/kubernetes.io")

    def test_nothing_without_the_password(self) -> None:
        answer = self.release.shell("redis-cli get first")
        self.assertIn("NOAUTH", answer)

    def test_the_service_answers(self) -> None:
        # by its address: a cluster for tests may have no DNS
        address = self.release.get("service", self.release.name)["spec"]["clusterIP"]
        self.assertEqual(self.release.redis("-h", address, "get", "first"), "key")

    # late from here on, for roles that move may lie together in a zone, which `muster check` has to say
    def test_y_a_deleted_replica_comes_back_with_its_data(self) -> None:
        self.comes_back("replica")

    def test_y_a_deleted_primary_comes_back_with_its_data(self) -> None:
        self.comes_back("primary")

    def comes_back(self, role: str) -> None:
        """The same node id at a new address, and no key lost."""
        self.write_keys()
        before = self.pod_of(role)
        after = self.delete_and_wait(before["name"])
        self.assertEqual(after["nodeId"], before["nodeId"])
        self.assertNotEqual(after["ip"], before["ip"])
        self.assertEqual(self.read_keys(), KEYS)

    def test_z_a_primary_whose_volume_is_emptied(self) -> None:
        # by default a replica has its slots before it could start again
        self.lose_data_of_a_primary("PrimaryHandedOver", r"the server of {pod} has ended, and \S+ has its \d+ slots",
                                    "/data/*")

    def test_zz_all_pods_at_once(self) -> None:
        self.write_keys()
        before = self.release.wait_formed()
        addresses = {one["name"]: one["ip"] for one in before["pods"]}
        nodes = self.release.redis("cluster", "nodes")
        access = self.release.access()
        with self.release.new_addresses() as found:
            # gracefully, and in one request: kubectl's own are so far apart that a primary may hand over to a replica
            # which is deleted only then
            self.release.kubectl("delete", "--raw", f"/api/v1/namespaces/{self.release.namespace}/pods?labelSelector="
                                 "app.kubernetes.io/name%3Dredis-cluster")
            if REACHES_PODS:
                took = comeback.seconds_to_serve(self.release.pods, comeback.shards(nodes, addresses),
                                                 lambda: found, RETURN_MAX, access)
                figure(f"all pods deleted at once: every shard takes writes {took:.2f} s after the last server's first "
                       f"PONG (at most {SERVE_MAX:g} s)")
            wait_until(lambda: set(found) == set(self.release.pods), RETURN_MAX, "all pods made anew")
        status = self.release.wait_formed()
        self.assertEqual({one["name"]: one["nodeId"] for one in status["pods"]},
                         {one["name"]: one["nodeId"] for one in before["pods"]})
        self.assertFalse(set(found.values()) & set(addresses.values()))
        self.assertEqual(comeback.parts(self.release.redis("cluster", "nodes")), comeback.parts(nodes))
        self.assertEqual(self.read_keys(), KEYS)
        if REACHES_PODS:
            self.assertLessEqual(took, SERVE_MAX)


class Valkey(Installed):
    """Valkey, nothing asked and nothing kept; the agent as an ordinary container, as before Kubernetes 1.29.

    A primary that dies is left to Redis's own election, so one that returns without its data has to wait for it.
    """

    values = {"server__image__repository": "valkey/valkey", "server__image__tag": "8.1", "server__layout": "valkey",
              "auth__enabled": False, "persistence__enabled": False, "agent__sidecar": "plain",
              "policy__crashHandover": "off"}

    def test_it_is_valkey(self) -> None:
        self.assertTrue(all(one["server"].startswith("valkey 8.1") for one in self.status["pods"]), self.status)

    def test_the_agent_is_an_ordinary_container(self) -> None:
        spec = self.release.get("pod", self.release.pods[0])["spec"]
        self.assertEqual({one["name"] for one in spec["containers"]}, {"agent", "redis"})

    def test_no_password_is_asked(self) -> None:
        self.assertEqual(self.release.shell("valkey-cli -c get first"), "key")

    def test_a_deleted_replica_comes_back_and_copies_its_primary(self) -> None:
        self.write_keys()
        pod = self.pod_of("replica")["name"]
        after = self.delete_and_wait(pod)
        self.assertEqual(after["role"], "replica")
        self.assertEqual(self.read_keys(), KEYS)
        wait_until(lambda: "master_link_status:up" in self.release.redis("info", "replication", pod=pod), 30,
                   "the copy complete")

    def test_a_primary_whose_container_starts_again(self) -> None:
        # the emptyDir and its nodes.conf outlive the container, the data was in memory only
        self.lose_data_of_a_primary("ServerHeld", "{pod} is held back before its start: .*may have its data.*"
                                                  "muster gate open")


class Tls(Installed):
    """Redis with TLS only, and a password."""

    values = {"redis__tls__enabled": True, "redis__tls__existingSecret": "tls"}

    @classmethod
    def prepare(cls) -> None:
        name = f"{cls.release.name}.{cls.release.namespace}.svc"
        with tempfile.TemporaryDirectory() as folder:
            own = Authority(Path(folder)).issue("tls", name, names=(name,))
            cls.release.kubectl("create", "secret", "generic", "tls", f"--from-file=ca.crt={folder}/ca.crt",
                                *(f"--from-file={own.with_suffix(end)}" for end in (".crt", ".key")))

    def test_no_plain_port(self) -> None:
        with self.assertRaises(Refused):
            self.release.shell("timeout 2 redis-cli ping | grep PONG")

    def test_check_finds_nothing_to_say(self) -> None:
        self.checks()

    # late: its roles move
    def test_z_a_deleted_primary_comes_back_with_its_data(self) -> None:
        self.write_keys()
        before = self.pod_of("primary")
        after = self.delete_and_wait(before["name"])
        self.assertEqual(after["nodeId"], before["nodeId"])
        self.assertEqual(self.read_keys(), KEYS)


class Kustomize(Installed):
    """`kubectl apply -k manifests`, for those who do without Helm."""

    @classmethod
    def make(cls) -> Release:
        return Manifests()

    def test_check_finds_nothing_to_say(self) -> None:
        self.checks()


if __name__ == "__main__":
    unittest.main(verbosity=2)
