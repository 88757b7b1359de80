#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""docker compose on a real engine of this machine: `up` is all, and after `down` too. Needs no Kubernetes."""
import json
import os
import subprocess
import sys
import tempfile
import time
import unittest
from concurrent.futures import ThreadPoolExecutor

from release import comeback, figure

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FILE = os.path.join(REPO, "docker/docker-compose.yml")
SERVICES = [f"redis-{i}" for i in range(6)]
HEALTHY_SECONDS = 120
# of which the servers themselves take 2: the promise
SERVE_SECONDS = 3.0
COMMAND_SECONDS = 600


def run(*words, **kwargs):
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=COMMAND_SECONDS, **kwargs)


def build(image, server):
    """The image of this commit, on a base that is pulled or made."""
    made = run(os.path.join(REPO, "tests/chart/base-image.sh"))
    archive = subprocess.run(["git", "-C", REPO, "archive", "HEAD"], capture_output=True, check=True).stdout
    if made.returncode == 0:
        made = subprocess.run(["docker", "build", "--tag", image, "--target", "server",
                               "--build-arg", "SERVER=" + server, "-"],
                              input=archive, capture_output=True, check=False, timeout=COMMAND_SECONDS)
    if made.returncode != 0:
        raise AssertionError(f"{image}: {made.stdout[-2000:]} {made.stderr[-2000:]}")


class Compose:
    """The promises, for one kind of server."""
    server = cli = ""

    @classmethod
    def setUpClass(cls):
        cls.image = f"muster-{cls.server}:e2e"
        build(cls.image, cls.server)

    def setUp(self):
        self.project = f"muster-e2e-{os.getpid()}"
        self.override = tempfile.NamedTemporaryFile("w", suffix=".json")
        services = {name: {"image": self.image, "build": None} for name in SERVICES}
        json.dump({"services": services}, self.override)
        self.override.flush()
        self.addCleanup(self.override.close)
        self.addCleanup(self.compose, "down", "--volumes", "--timeout", "5")

    def compose(self, *words):
        return run(os.path.join(REPO, "tests/chart/compose.sh"), "--project-name", self.project,
                   "--file", FILE, "--file", self.override.name, *words)

    def exec(self, service, *words):
        return self.compose("exec", "-T", service, *words)

    def up(self):
        done = self.compose("up", "--detach", "--no-build")
        self.assertEqual(done.returncode, 0, done.stderr)
        return self.wait_healthy()

    def wait_healthy(self):
        """Seconds until `muster check` has nothing to say."""
        start = time.monotonic()
        while (check := self.exec("redis-0", "muster", "check")).returncode != 0:
            if time.monotonic() > start + HEALTHY_SECONDS:
                self.fail(f"not healthy: {check.stdout}{check.stderr}{self.compose('logs', '--tail', '10').stdout}")
            time.sleep(0.5)
        return time.monotonic() - start

    def status(self):
        return json.loads(self.exec("redis-3", "muster", "status", "--json").stdout)

    def docker(self, *words):
        done = run("docker", *words)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def addresses(self):
        """Of each service whose container has one."""
        containers = [f"{self.project}-{service}-1" for service in SERVICES]
        # it tells those that are there, and fails for the others
        told = run("docker", "inspect", "--format", "{{.Name}}{{range .NetworkSettings.Networks}} {{.IPAddress}}{{end}}",
                   *containers).stdout
        found = dict(line.strip("/").split(maxsplit=1) for line in told.splitlines() if " " in line.strip())
        return {service: found[name] for service, name in zip(SERVICES, containers) if name in found}

    def nodes(self):
        return self.exec("redis-1", self.cli, "cluster", "nodes").stdout

    def ask(self, service, command):
        """What the server answers to the command for each of 30 keys, in which $i is its number."""
        done = self.exec(service, "sh", "-c", f"for i in $(seq 30); do {self.cli} -c {command}; done")
        return done.stdout.split()

    def test_up_down_up(self):
        print(f"{self.server}: healthy {self.up():.1f} s after up", flush=True)
        before = self.status()
        self.assertEqual(len(before["shards"]), 3)
        self.assertEqual([len(s["replicas"]) for s in before["shards"]], [1, 1, 1])
        self.assertEqual(self.ask("redis-1", "set key-$i value-$i"), 30 * ["OK"])

        # the engine gives the same addresses out again, to whom it likes
        self.come_back(before, "down and up")
        self.come_back(before, "down, and up at other addresses", elsewhere=True)

    def come_back(self, before, how, elsewhere=False):
        """The same cluster after `down` and `up`."""
        addresses, nodes = self.addresses(), self.nodes()
        start = time.monotonic()
        subnet = self.docker("network", "inspect", "--format", "{{(index .IPAM.Config 0).Subnet}}",
                             f"{self.project}_default").strip()
        self.assertEqual(self.compose("down").returncode, 0)
        self.assertLess(time.monotonic() - start, 60, "a server was killed at the end of its grace period")
        if elsewhere:
            self.docker("network", "create", "--subnet", subnet, f"{self.project}-taken")
            self.addCleanup(run, "docker", "network", "rm", f"{self.project}-taken")
        with ThreadPoolExecutor() as pool:
            up = pool.submit(self.compose, "up", "--detach", "--no-build")
            took = comeback.seconds_to_serve(SERVICES, comeback.shards(nodes, addresses), self.addresses,
                                             HEALTHY_SECONDS)
        self.assertEqual(up.result().returncode, 0, up.result().stderr)
        figure(f"compose, {self.server}, {how}: every shard takes writes {took:.2f} s after the last server's first PONG "
               f"(at most {SERVE_SECONDS:g} s)")
        self.wait_healthy()
        after = self.status()
        self.assertEqual(after["cluster"]["uid"], before["cluster"]["uid"])
        self.assertEqual(comeback.parts(self.nodes()), comeback.parts(nodes))
        if elsewhere:
            self.assertFalse(set(self.addresses().values()) & set(addresses.values()))
        self.assertEqual(self.ask("redis-5", "get key-$i"), [f"value-{i}" for i in range(1, 31)])
        self.assertLessEqual(took, SERVE_SECONDS)

    def test_what_is_killed_comes_back(self):
        self.up()
        self.ask("redis-0", "set key-$i value-$i")
        before = {p["nodeId"] for p in self.status()["pods"]}
        # the server alone: its init starts it again
        self.exec("redis-2", "sh", "-c", f"kill -9 $(pidof {self.server})")
        time.sleep(2)
        self.wait_healthy()
        # the whole container
        self.compose("kill", "redis-4")
        self.compose("start", "redis-4")
        self.wait_healthy()
        self.assertEqual({p["nodeId"] for p in self.status()["pods"]}, before)
        self.assertEqual(self.ask("redis-5", "get key-$i"), [f"value-{i}" for i in range(1, 31)])


class Redis(Compose, unittest.TestCase):
    server, cli = "redis-server", "redis-cli"


class Valkey(Compose, unittest.TestCase):
    server, cli = "valkey-server", "valkey-cli"


if __name__ == "__main__":
    if run("docker", "version").returncode != 0:
        helper = os.path.join(REPO, "tests/lib/with-docker.sh")
        if "MUSTER_WITH_DOCKER" in os.environ:
            sys.exit("there is no Docker engine, and none could be started")
        os.environ["MUSTER_WITH_DOCKER"] = "1"
        os.execv(helper, [helper, sys.executable, *sys.argv])
    unittest.main(verbosity=1)
