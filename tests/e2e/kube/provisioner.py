# SPDX-License-Identifier: Apache-2.0
"""A provisioner of volumes, which does what the local-path provisioner does elsewhere, and what disks of a cloud do.

When the scheduler has chosen a node for a pod and its claim (WaitForFirstConsumer), a folder becomes a PersistentVolume:
of the class `local`, the default, one of that node, to which it is bound; of the class `network` one that every node can
mount. When the claim is gone, the folder goes too. Runs on the control host.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

NAME = "e2e.muster.test/local"
CHOSEN = "volume.kubernetes.io/selected-node"
# by class: the folder of its volumes as nodes see it; the state of all hosts is at /run/state on each
FOLDERS = {"local": "/var/lib/volumes", "network": "/run/state/volumes"}


def storage_class(name: str) -> dict[str, Any]:
    """The class; `local` is the default."""
    return {
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "provisioner": NAME,
        "metadata": {"name": name,
                     "annotations": {"storageclass.kubernetes.io/is-default-class": str(name == "local").lower()}},
        "volumeBindingMode": "WaitForFirstConsumer", "reclaimPolicy": "Delete",
    }


def volume_of(claim: dict[str, Any], node: str) -> dict[str, Any]:
    """The volume for a claim that is to be used on the node first."""
    meta, spec = claim["metadata"], claim["spec"]
    name, kind = f"pvc-{meta['uid']}", spec["storageClassName"]
    where = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]} if kind == "local" \
        else {"key": "kubernetes.io/hostname", "operator": "Exists"}
    return {
        "apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": {"name": name, "annotations": {"pv.kubernetes.io/provisioned-by": NAME}},
        "spec": {
            "capacity": {"storage": spec["resources"]["requests"]["storage"]},
            "accessModes": spec["accessModes"], "storageClassName": kind,
            "persistentVolumeReclaimPolicy": "Delete", "volumeMode": "Filesystem",
            "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": meta["name"],
                         "namespace": meta["namespace"], "uid": meta["uid"]},
            "local": {"path": f"{FOLDERS[kind]}/{name}"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [where]}]}},
        },
    }


class Provisioner:
    """Asks the API once a second; a cluster for tests has few claims."""

    def __init__(self, kubeconfig: str, state: Path) -> None:
        self.kubectl = ["kubectl", f"--kubeconfig={kubeconfig}"]
        self.state = state

    def call(self, *args: str, body: object = None) -> str:
        """kubectl; RuntimeError when it fails."""
        done = subprocess.run([*self.kubectl, *args], input=None if body is None else json.dumps(body),
                              capture_output=True, text=True, check=False, timeout=60)
        if done.returncode != 0:
            raise RuntimeError(f"kubectl {args[0]}: {done.stderr.strip()}")
        return done.stdout

    def folder(self, volume: dict[str, Any], node: str) -> Path:
        """What the volume is on the control host, if it was made for that node."""
        path = volume["spec"]["local"]["path"]
        return Path(path) if volume["spec"]["storageClassName"] == "network" else self.state / node / path[1:]

    def turn(self) -> None:
        """Gives each waiting claim its volume, and removes the volumes whose claims are gone."""
        items = json.loads(self.call("get", "pvc,pv", "--all-namespaces", "-o", "json"))["items"]
        have = {one["metadata"]["name"] for one in items if one["kind"] == "PersistentVolume"}
        for one in items:
            meta = one["metadata"]
            if one["kind"] == "PersistentVolumeClaim":
                node = meta.get("annotations", {}).get(CHOSEN)
                if node and one["spec"].get("storageClassName") in FOLDERS and f"pvc-{meta['uid']}" not in have:
                    volume = volume_of(one, node)
                    self.folder(volume, node).mkdir(parents=True, exist_ok=True)
                    self.call("create", "-f", "-", body=volume)
                    print(f"{meta['namespace']}/{meta['name']}: volume on {node}", flush=True)
            elif one["status"].get("phase") == "Released" \
                    and meta.get("annotations", {}).get("pv.kubernetes.io/provisioned-by") == NAME:
                self.call("delete", "pv", meta["name"], "--wait=false")
                for folder in self.state.glob(self.folder(one, "*").relative_to(self.state).as_posix()):
                    shutil.rmtree(folder)
                print(f"{meta['name']}: removed", flush=True)


def main() -> None:
    """Runs until it is killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kubeconfig", required=True)
    parser.add_argument("--state", type=Path, required=True)
    options = parser.parse_args()
    provisioner = Provisioner(options.kubeconfig, options.state)
    ready = False
    while True:
        try:
            if not ready:
                for name in FOLDERS:
                    provisioner.call("apply", "-f", "-", body=storage_class(name))
                ready = True
            provisioner.turn()
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            print(error, file=sys.stderr, flush=True)
        time.sleep(1)


if __name__ == "__main__":
    main()
