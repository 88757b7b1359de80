# SPDX-License-Identifier: Apache-2.0
"""What a cluster consists of: its addresses, and the programs and files of each host.

Everything a host sees lies at the places that a person expects: /var/lib/kubelet, /run/containerd, /var/log.
"""

from __future__ import annotations

import ipaddress
import json
import shutil
from pathlib import Path

from kube.hosts import Host
from kube.pki import Authority

ZONES = ("zone-a", "zone-b", "zone-c")
PAUSE_IMAGE = "registry.k8s.io/pause:3.10"
PKI = "/var/lib/kubernetes"
# what a pod's name in the service network ends with; nothing resolves it here (there is no DNS add-on)
ISSUER = "https://kubernetes.default.svc.cluster.local"


class Network:
    """The addresses below one /16: .0 hosts, .16 and following one subnet of pods per node, .128 services."""

    def __init__(self, block: str) -> None:
        base = ipaddress.IPv4Network(block)
        if base.prefixlen != 16:
            raise ValueError(f"--network {block}: a /16 is needed, such as 10.88.0.0/16")
        self.block = str(base)
        self._prefix = ".".join(str(base.network_address).split(".")[:2])
        self.interface = "e2e" + self._prefix.replace(".", "-")
        self.control = f"{self._prefix}.0.1"
        self.machine = f"{self._prefix}.0.2"
        self.services = f"{self._prefix}.128.0/20"
        self.api_service = f"{self._prefix}.128.1"
        self.server = f"https://{self.control}:6443"

    def node(self, number: int) -> str:
        """The address of node NUMBER, from 1."""
        return f"{self._prefix}.0.{10 + number}"

    def pods(self, number: int) -> str:
        """The subnet of the pods of node NUMBER."""
        return f"{self._prefix}.{15 + number}.0/24"


def _json(value: object) -> str:
    return json.dumps(value, indent=1) + "\n"


def _give(host: Host, *files: Path) -> None:
    """Copies keys and certificates to the host's /var/lib/kubernetes."""
    target = host.var / "lib/kubernetes"
    target.mkdir(parents=True, exist_ok=True)
    for file in files:
        shutil.copy(file, target / file.name)


def write_control(host: Host, network: Network, authority: Authority) -> None:
    """etcd, the API server, the controllers, the scheduler, and the provisioner of volumes."""
    serving = authority.issue(
        "apiserver", "kube-apiserver", addresses=(network.control, network.api_service, "127.0.0.1"),
        names=("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"))
    # not system:masters: what the API server may do at a kubelet is a rule like any other
    to_kubelets = authority.issue("apiserver-kubelet", "kube-apiserver", "system:masters")
    tokens = authority.key_pair("tokens")
    pairs = [one.with_suffix(end) for one in (serving, to_kubelets) for end in (".crt", ".key")]
    _give(host, authority.folder / "ca.crt", *pairs, tokens.with_suffix(".key"), tokens.with_suffix(".pub"))
    for name, user, group in (("controllers", "system:kube-controller-manager", ""),
                              ("scheduler", "system:kube-scheduler", ""),
                              ("provisioner", "provisioner", "system:masters")):
        host.write(f"var/lib/kubernetes/{name}.kubeconfig",
                   authority.kubeconfig(name, network.server, user, group))
    host.unit("etcd", "etcd", "--data-dir=/var/lib/etcd", "--unsafe-no-fsync", "--log-level=warn",
              "--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379",
              "--listen-peer-urls=http://127.0.0.1:2380")
    host.unit("kube-apiserver", "kube-apiserver", f"--advertise-address={network.control}",
              "--etcd-servers=http://127.0.0.1:2379", f"--service-cluster-ip-range={network.services}",
              f"--client-ca-file={PKI}/ca.crt", f"--tls-cert-file={PKI}/apiserver.crt",
              f"--tls-private-key-file={PKI}/apiserver.key",
              f"--kubelet-certificate-authority={PKI}/ca.crt",
              f"--kubelet-client-certificate={PKI}/apiserver-kubelet.crt",
              f"--kubelet-client-key={PKI}/apiserver-kubelet.key",
              "--kubelet-preferred-address-types=InternalIP",
              f"--service-account-issuer={ISSUER}", f"--service-account-key-file={PKI}/tokens.pub",
              f"--service-account-signing-key-file={PKI}/tokens.key",
              "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
              "--allow-privileged=true")
    host.unit("kube-controller-manager", "kube-controller-manager", "--leader-elect=false",
              f"--kubeconfig={PKI}/controllers.kubeconfig", "--use-service-account-credentials=true",
              f"--service-account-private-key-file={PKI}/tokens.key", f"--root-ca-file={PKI}/ca.crt")
    host.unit("kube-scheduler", "kube-scheduler", "--leader-elect=false",
              f"--kubeconfig={PKI}/scheduler.kubeconfig")
    host.unit("provisioner", "/usr/bin/python3", "/run/host/provisioner.py",
              f"--kubeconfig={PKI}/provisioner.kubeconfig", "--state=/run/state")
    shutil.copy(Path(__file__).parent / "provisioner.py", host.folder / "provisioner.py")


def _containerd() -> str:
    # restrict_oom_score_adj: no process may lower its oom_score_adj without CAP_SYS_RESOURCE, which root in a sandbox
    # or container often lacks; containerd's default would then fail to make any sandbox
    return f"""version = 2
oom_score = 0

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE_IMAGE}"
restrict_oom_score_adj = true

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "/var/lib/kubernetes/cni"
"""


def _kubelet(host: Host) -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
        "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": True},
                           "x509": {"clientCAFile": f"{PKI}/ca.crt"}},
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{PKI}/kubelet.crt", "tlsPrivateKeyFile": f"{PKI}/kubelet.key",
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "cgroupDriver": "cgroupfs", "cgroupRoot": f"/{host.cgroup}", "failSwapOn": False,
        "oomScoreAdj": 0,
        # the machine's disk is not this cluster's: nothing is evicted for what others keep there
        "evictionHard": {"nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%",
                         "imagefs.inodesFree": "0%", "memory.available": "100Mi"},
        "imageGCHighThresholdPercent": 100,
        "shutdownGracePeriod": "0s", "registryPullQPS": 0,
    }


def _kube_proxy() -> dict[str, object]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration", "mode": "iptables",
        "clientConnection": {"kubeconfig": f"{PKI}/proxy.kubeconfig"}, "oomScoreAdj": 0,
        "iptables": {"minSyncPeriod": "100ms"},
        # these belong to the machine and cannot be written from a network namespace
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "detectLocalMode": "BridgeInterface", "detectLocal": {"bridgeInterface": "cni0"},
    }


def write_node(host: Host, number: int, network: Network, authority: Authority) -> None:
    """containerd, the kubelet and kube-proxy of node NUMBER, and the network of its pods."""
    zone = ZONES[(number - 1) % len(ZONES)]
    serving = authority.issue(host.name, f"system:node:{host.name}", "system:nodes",
                              addresses=(host.address,), names=(host.name,))
    _give(host, authority.folder / "ca.crt")
    for end in (".crt", ".key"):
        shutil.copy(serving.with_suffix(end), host.var / f"lib/kubernetes/kubelet{end}")
    host.write("var/lib/kubernetes/kubelet.kubeconfig", authority.kubeconfig(
        host.name, network.server, f"system:node:{host.name}", "system:nodes"))
    host.write("var/lib/kubernetes/proxy.kubeconfig", authority.kubeconfig(
        "proxy", network.server, "system:kube-proxy"))
    host.write("var/lib/kubernetes/containerd.toml", _containerd())
    host.write("var/lib/kubernetes/kubelet.json", _json(_kubelet(host)))
    host.write("var/lib/kubernetes/proxy.json", _json(_kube_proxy()))
    host.write("var/lib/kubernetes/cni/10-bridge.conflist", _json({
        "cniVersion": "0.4.0", "name": "pods", "plugins": [
            {"type": "bridge", "bridge": "cni0", "isGateway": True, "hairpinMode": True,
             "ipam": {"type": "host-local", "ranges": [[{"subnet": network.pods(number)}]],
                      "routes": [{"dst": "0.0.0.0/0"}]}},
            {"type": "portmap", "capabilities": {"portMappings": True}}]}))
    host.unit("containerd", "containerd", "--config", "/var/lib/kubernetes/containerd.toml")
    host.unit("kubelet", "kubelet", "--config=/var/lib/kubernetes/kubelet.json",
              "--kubeconfig=/var/lib/kubernetes/kubelet.kubeconfig",
              f"--hostname-override={host.name}", f"--node-ip={host.address}",
              f"--node-labels=topology.kubernetes.io/zone={zone},topology.kubernetes.io/region=region-1")
    host.unit("kube-proxy", "kube-proxy", "--config=/var/lib/kubernetes/proxy.json",
              f"--hostname-override={host.name}")
