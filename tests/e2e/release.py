# SPDX-License-Identifier: Apache-2.0
"""A release of the chart in a namespace of its own that enforces Pod Security `restricted`, on the cluster of KUBECONFIG.

The programs are found by KUBECTL and HELM. Further values, for clusters that take their images from elsewhere, can be
given as a file in E2E_VALUES.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Callable, Iterator, Optional

REPO = Path(__file__).resolve().parents[2]
sys.path.append(str(REPO / "tests/lib"))

import comeback  # noqa: E402

CHART = REPO / "charts/redis-cluster"
KUBECTL = os.environ.get("KUBECTL", "kubectl")
HELM = os.environ.get("HELM", "helm")
SLOTS = 16384
LOG_TAIL_LINES = 40


class Refused(Exception):
    """A command failed; the message is what it said, the code what it exited with, if it did."""

    def __init__(self, said: str, code: Optional[int] = None) -> None:
        super().__init__(said)
        self.code = code


def call(*argv: str, text_in: Optional[str] = None, timeout: float = 120, silent: bool = False) -> str:
    """Runs a command; its output. Refused when it fails, takes too long, or says something aside and is to be silent."""
    try:
        done = subprocess.run(argv, input=text_in, capture_output=True, text=True, check=False, timeout=timeout)
    except subprocess.TimeoutExpired as error:
        raise Refused(f"{' '.join(argv)}: no answer within {timeout:g} s") from error
    if done.returncode != 0 or (silent and done.stderr):
        said = "\n".join(part for part in (done.stderr.strip(), done.stdout.strip()) if part)
        raise Refused(f"{' '.join(argv)}: {said or done.returncode}", done.returncode)
    return done.stdout


def wait_until(check: Callable[[], Any], seconds: float, what: str, period: float = 0.5) -> Any:
    """Calls check until it returns something true, and returns that; AssertionError in the end."""
    until, last = time.monotonic() + seconds, ""
    while True:
        try:
            value = check()
            if value:
                return value
            last = ""
        except Refused as error:
            last = f" (last: {error})"
        if time.monotonic() >= until:
            raise AssertionError(f"{what} did not come true within {seconds:g} s{last}")
        time.sleep(period)


def figure(text: str) -> None:
    """A measured figure, which tests/run.sh shows."""
    # on a line of its own: unittest may be in the middle of one
    print(f"\nfigure: {text}", flush=True)


class Release:
    """One release: `shop` in namespace NAME; its StatefulSet is shop-redis-cluster."""

    def __init__(self, namespace: str, **values: Any) -> None:
        """Values by their path with __ for dots: auth__enabled=False."""
        self.namespace = namespace
        self.name = "shop-redis-cluster"
        self.values = {path.replace("__", "."): value for path, value in values.items()}
        self.valkey = str(self.values.get("server.layout", "")).endswith("valkey")
        self.auth = bool(self.values.get("auth.enabled", True))
        self.tls = bool(self.values.get("redis.tls.enabled", False))
        self.pods = [f"{self.name}-{ordinal}" for ordinal in range(int(self.values.get("replicas", 6)))]
        self.warnings = ""

    # -- life ----------------------------------------------------------------------------------------------------------

    def create_namespace(self) -> None:
        """The namespace, in which no pod starts that is not `restricted`."""
        levels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}
        self.apply({"apiVersion": "v1", "kind": "Namespace",
                    "metadata": {"name": self.namespace, "labels": levels}})

    def install(self) -> float:
        """helm install; the time (of time.time) at which it was called."""
        return self._helm("install")

    def upgrade(self, **values: Any) -> float:
        """helm upgrade with these values changed; the time at which it was called."""
        self.values.update({path.replace("__", "."): value for path, value in values.items()})
        return self._helm("upgrade")

    def _helm(self, verb: str) -> float:
        words = [HELM, verb, "shop", str(CHART), "--namespace", self.namespace]
        if os.environ.get("E2E_VALUES"):
            words += ["--values", os.environ["E2E_VALUES"]]
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            tree: dict[str, Any] = {}
            for path, value in self.values.items():
                *parents, last = path.split(".")
                node = tree
                for parent in parents:
                    node = node.setdefault(parent, {})
                node[last] = value
            json.dump(tree, file)
            file.flush()
            begun = time.time()
            done = subprocess.run([*words, "--values", file.name], capture_output=True, text=True, check=False,
                                  timeout=120)
        if done.returncode != 0:
            raise Refused(f"helm {verb}: {done.stderr.strip()}")
        self.warnings = done.stderr
        return begun

    def remove(self) -> None:
        """Uninstalls, and removes the namespace with its volumes; waits until both are gone."""
        call(HELM, "uninstall", "shop", "--namespace", self.namespace, "--ignore-not-found", "--wait", timeout=300)
        wait_until(lambda: not json.loads(self.kubectl("get", "pods", "-o", "json"))["items"], 120,
                   f"the pods of {self.namespace} gone")
        call(KUBECTL, "delete", "namespace", self.namespace, "--ignore-not-found", "--timeout=120s", timeout=150)

    # -- asking --------------------------------------------------------------------------------------------------------

    def kubectl(self, *args: str, timeout: float = 120, silent: bool = False) -> str:
        """kubectl in the namespace."""
        return call(KUBECTL, "--namespace", self.namespace, *args, timeout=timeout, silent=silent)

    def apply(self, value: object) -> None:
        """kubectl apply of one object."""
        call(KUBECTL, "apply", "-f", "-", text_in=json.dumps(value))

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """One object."""
        return json.loads(self.kubectl("get", kind, name, "-o", "json"))

    def muster(self, *args: str, pod: Optional[str] = None, silent: bool = False) -> str:
        """A command of muster in a pod's agent."""
        return self.kubectl("exec", pod or self.pods[0], "-c", "agent", "--", "muster", *args, silent=silent)

    def check(self, pod: Optional[str] = None) -> tuple[int, str]:
        """muster check: what it exits with, and says."""
        try:
            return 0, self.muster("check", pod=pod)
        except Refused as error:
            if error.code is None:
                raise
            return error.code, str(error)

    def status(self, pod: Optional[str] = None) -> dict[str, Any]:
        """muster status --json, of the leader; Refused while it can only be had of an agent that knows its own server."""
        return json.loads(self.muster("status", "--json", pod=pod, silent=True))

    def redis(self, *args: str, pod: Optional[str] = None, timeout: float = 60) -> str:
        """A command by the image's own client, which follows redirections."""
        return self.shell(self.client(), *args, pod=pod, timeout=timeout)

    def client(self, before: str = "") -> str:
        """The image's own client as a shell's words, with its arguments as "$@"; run by `before`, such as timeout."""
        words = ["valkey-cli" if self.valkey else "redis-cli", "-c"]
        if self.tls:
            words += ["--tls", "--cacert", "/etc/muster/tls/ca.crt", "--cert", "/etc/muster/tls/tls.crt",
                      "--key", "/etc/muster/tls/tls.key"]
        password = "REDISCLI_AUTH=$(cat /etc/muster/password/password) " if self.auth else ""
        return f'{password}{before} {" ".join(words)} "$@"'

    def shell(self, script: str, *args: str, pod: Optional[str] = None, timeout: float = 60) -> str:
        """A script in a pod's server container."""
        return self.kubectl("exec", pod or self.pods[0], "-c", "redis", "--", "sh", "-c", script, "sh", *args,
                            timeout=timeout).strip()

    def access(self) -> Optional[comeback.Password]:
        """For clients outside of the pods, to servers without TLS."""
        if not self.auth:
            return None
        return comeback.Password(base64.b64decode(self.get("secret", f"{self.name}-auth")["data"]["password"]).decode())

    def restarts(self) -> dict[str, int]:
        """How often each container was started again, by "POD CONTAINER"."""
        return {f"{one['metadata']['name']} {container['name']}": container["restartCount"]
                for one in json.loads(self.kubectl("get", "pods", "-o", "json"))["items"]
                for kind in ("containerStatuses", "initContainerStatuses")
                for container in one["status"].get(kind, [])}

    def events(self, reason: str) -> str:
        """What the events of that reason say, a line for each; they are those of the StatefulSet."""
        return self.kubectl("get", "events", "--field-selector", f"reason={reason},involvedObject.name={self.name}",
                            "-o", 'jsonpath={range .items[*]}{.message}{"\\n"}{end}')

    @contextmanager
    def watch_addresses(self, tell: Callable[[str, str, str], None]) -> Iterator[None]:
        """Inside it: tell(name, uid, address) of each pod that is there or comes, as soon as the API server has it."""
        line = '{.metadata.name} {.metadata.uid} {.status.podIP}{"\\n"}'
        with subprocess.Popen([KUBECTL, "--namespace", self.namespace, "get", "pods", "--watch", "-o",
                               f"jsonpath={line}"], stdout=subprocess.PIPE, text=True) as watch:
            def read() -> None:
                assert watch.stdout
                for name, uid, *address in map(str.split, watch.stdout):
                    if address:
                        tell(name, uid, address[0])
            reader = threading.Thread(target=read)
            reader.start()
            try:
                yield
            finally:
                watch.kill()
                reader.join()

    @contextmanager
    def new_addresses(self) -> Iterator[dict[str, str]]:
        """Inside it: the address of each pod that is made from now on, by name."""
        old = {one["metadata"]["uid"] for one in json.loads(self.kubectl("get", "pods", "-o", "json"))["items"]}
        found: dict[str, str] = {}

        def tell(name: str, uid: str, address: str) -> None:
            if uid not in old:
                found[name] = address
        with self.watch_addresses(tell):
            yield found

    def logged(self, pod: str, container: str, words: str) -> Optional[float]:
        """When (time.time) a container first logged a line with these words; None when it has not."""
        for line in self.kubectl("logs", pod, "-c", container, "--timestamps").splitlines():
            stamp, _, text = line.partition(" ")
            if words in text:
                return datetime.fromisoformat(stamp[:26].rstrip("Z") + "+00:00").timestamp()
        return None

    # -- waiting -------------------------------------------------------------------------------------------------------

    def wait_formed(self, seconds: float = 180) -> dict[str, Any]:
        """Waits for a whole and healthy cluster of which every pod is ready; its status."""
        def formed() -> Any:
            status = self.status()
            cluster = status["cluster"]
            return status if cluster["formed"] and cluster["state"] == "ok" \
                and cluster["slotsCovered"] == SLOTS and len(status["pods"]) == len(self.pods) \
                and all(one["ready"] for one in status["pods"]) else None
        return wait_until(formed, seconds, f"a formed cluster in {self.namespace}", period=1)

    def write_first_key(self, seconds: float = 180) -> float:
        """Writes from inside the first pod as soon as that is possible; the time of success."""
        loop = f'until [ "$({self.client()} 2>/dev/null)" = OK ]; do sleep 0.1; done; date +%s.%N'
        until = time.monotonic() + seconds
        return float(wait_until(
            lambda: self.shell(loop, "set", "first", "key", timeout=max(1.0, until - time.monotonic())),
            seconds, "the first key written", period=0.2))

    def describe(self) -> str:
        """What a person asks for first when something went wrong."""
        parts = []
        for words in (["get", "pods", "-o", "wide"], ["get", "events", "--sort-by=.lastTimestamp"],
                      *(["logs", pod, "-c", one, f"--tail={LOG_TAIL_LINES}"]
                        for pod in self.pods for one in ("agent", "redis"))):
            try:
                parts.append(f"$ kubectl {' '.join(words)}\n{self.kubectl(*words)}")
            except Refused as error:
                parts.append(str(error))
        return "\n".join(parts)


class Manifests(Release):
    """What `kubectl apply -k manifests` makes: names and namespace are in it, and no password is asked."""

    def __init__(self) -> None:
        super().__init__("redis-cluster", auth__enabled=False)
        self.name = "redis-cluster"
        self.pods = [f"{self.name}-{ordinal}" for ordinal in range(6)]

    def create_namespace(self) -> None:
        """It is among the manifests."""

    def install(self) -> float:
        begun = time.time()
        call(KUBECTL, "apply", "-k", str(REPO / "manifests"))
        return begun

    def remove(self) -> None:
        call(KUBECTL, "delete", "-k", str(REPO / "manifests"), "--ignore-not-found", "--timeout=180s", timeout=200)
