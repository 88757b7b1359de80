# SPDX-License-Identifier: Apache-2.0
"""What the chart's tests share: rendering, and finding what was rendered."""
import os
import subprocess
import unittest

import yaml

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CHART = os.path.join(REPO, "charts/redis-cluster")
HELM = os.environ.get("HELM", "helm")
RELEASE, NAMESPACE, NAME = "shop", "prod", "shop-redis-cluster"


def read(*path):
    with open(os.path.join(REPO, *path), encoding="utf-8") as f:
        return f.read()


def nested(settings):
    """{"a.b": 1} as {"a": {"b": 1}}."""
    tree = {}
    for path, value in settings.items():
        *parents, last = path.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = value
    return tree


def helm_template(settings, kube, release, chart=CHART):
    return subprocess.run(
        [HELM, "template", release, chart, "--namespace", NAMESPACE, "--kube-version", kube,
         "--values", "-"],
        input=yaml.safe_dump(nested(settings)), capture_output=True, text=True, check=False)


class Rendered:
    """All objects of one rendering."""

    def __init__(self, settings, kube="1.34.0", release=RELEASE, chart=CHART):
        done = helm_template(settings, kube, release, chart)
        if done.returncode != 0:
            raise AssertionError(f"{settings}: {done.stderr}")
        self.text = done.stdout
        self.objects = [o for o in yaml.safe_load_all(done.stdout) if o]

    def all(self, kind):
        return [o for o in self.objects if o["kind"] == kind]

    def one(self, kind, name=None):
        found = [o for o in self.all(kind) if name in (None, o["metadata"]["name"])]
        if len(found) != 1:
            raise AssertionError(f"{len(found)} objects {kind} {name or ''}")
        return found[0]

    @property
    def template(self):
        return self.one("StatefulSet")["spec"]["template"]

    @property
    def pod(self):
        return self.template["spec"]

    def containers(self):
        return self.pod["initContainers"] + self.pod["containers"]

    def container(self, name):
        return next(c for c in self.containers() if c["name"] == name)

    def mounts(self, name):
        """{path: volume} of a container."""
        return {m["mountPath"]: m["name"] for m in self.container(name)["volumeMounts"]}

    def volume(self, name):
        return next(v for v in self.pod["volumes"] if v["name"] == name)

    def config(self, key):
        return self.one("ConfigMap", NAME + "-config")["data"][key]

    def server_lines(self):
        return [line for line in self.config("redis.conf").splitlines()
                if line and not line.startswith("#")]

    def agent_config(self):
        return yaml.safe_load(self.config("muster.yaml"))

    def start_words(self):
        """The words behind the hook's "--"."""
        command = self.container("redis")["command"]
        return command[command.index("--") + 1:]


class ChartTest(unittest.TestCase):
    cache = {}

    def render(self, kube="1.34.0", **settings):
        """Settings are named with __ for dots: auth__enabled=False."""
        return self.render_all({k.replace("__", "."): v for k, v in settings.items()}, kube)

    def render_all(self, settings, kube="1.34.0"):
        key = (repr(settings), kube)
        if key not in self.cache:
            self.cache[key] = Rendered(settings, kube)
        return self.cache[key]

    def refused(self, settings, *words, kube="1.34.0"):
        """The values are refused, and the message has the words."""
        done = helm_template(settings, kube, RELEASE)
        self.assertNotEqual(done.returncode, 0, f"{settings} was accepted")
        for word in words:
            self.assertIn(word, done.stderr)
