# SPDX-License-Identifier: Apache-2.0
"""AUTH and TLS of a lab's servers: the secrets and certificates in DIR/secret, made once and shared.

    password          the default user's (requirepass and masterauth); the lab's own tools use it
    agent-password    the ACL user's of --set lab.user=NAME; without one the agents share the first
    ca.crt ca.key     signs the certificate of every pod, whose agent is a client with the same one
    tools.crt .key    the lab's own client certificate

All of them are read again when they change, so whoever rotates one writes its file first.
"""

from __future__ import annotations

import secrets
import shutil
import ssl
from pathlib import Path
from typing import Any, Optional

import pki

CERTIFICATE_NAME = "redis.lab"       # a DNS name that every pod's certificate has too
# The smallest ACL user that an agent can be (agent/README.md has the reasons).
AGENT_RULES = ("resetchannels -@all +client|setname +info +cluster|myid +cluster|info "
               "+cluster|nodes +cluster|set-config-epoch +cluster|addslotsrange +cluster|meet "
               "+cluster|replicate +cluster|forget +cluster|failover "
               "+config|get +config|set")
# What policy.scaling: auto needs beside that.
SCALE_RULES = ("+cluster|setslot +cluster|getkeysinslot +cluster|countkeysinslot +migrate +select "
               "+restore-asking ~* +function|dump +function|restore +memory|usage")


class Access:
    """How to be let in by the servers of one lab."""

    def __init__(self, directory: Path) -> None:
        self.secret = directory / "secret"
        self._context: Optional[ssl.SSLContext] = None
        self._stamps: list[int] = []

    @property
    def context(self) -> Optional[ssl.SSLContext]:
        """For TLS, which checks the server's certificate; None without."""
        files = [self.secret / name for name in ("ca.crt", "tools.crt", "tools.key")]
        if not files[0].exists():
            return None
        stamps = [file.stat().st_mtime_ns for file in files]
        if self._context is None or stamps != self._stamps:
            context = ssl.create_default_context(cafile=str(files[0]))
            context.load_cert_chain(files[1], files[2])
            self._context, self._stamps = context, stamps
        return self._context

    @property
    def login(self) -> tuple[str, ...]:
        """The AUTH command, or nothing."""
        path = self.secret / "password"
        return ("AUTH", path.read_text().strip()) if path.exists() else ()


def make_secrets(directory: Path, auth: bool, tls: bool) -> None:
    """What the whole lab shares."""
    secret = directory / "secret"
    secret.mkdir(mode=0o700)
    if auth:
        for name in ("password", "agent-password"):
            (secret / name).write_text(secrets.token_hex(16) + "\n")
    if tls:
        pki.make_ca(secret)
        pki.issue(secret, "tools", secret / "ca.crt", pki.Request("tools", "", "clientAuth"))


def make_pod_certificate(directory: Path, pod: Path, name: str, address: str) -> None:
    """POD/tls/: the pod's certificate, and the authority's as a Secret would bring it along."""
    tls = pod / "tls"
    tls.mkdir(exist_ok=True)
    pki.issue(tls, "tls", directory / "secret/ca.crt", pki.Request(
        name, f"IP:{address},DNS:{CERTIFICATE_NAME}", "serverAuth,clientAuth"))
    shutil.copy(directory / "secret/ca.crt", tls / "ca.crt")


def put_password(directory: Path, pod: Path, user: str) -> None:
    """POD/password: the agent's, replaced atomically as the kubelet does with a Secret."""
    new = pod / "password.new"
    shutil.copy(directory / "secret" / ("agent-password" if user else "password"), new)
    new.rename(pod / "password")


def server_conf(directory: Path, user: str, rules: str) -> str:
    """The lines of a server's configuration file that must not be seen in its arguments."""
    password = (directory / "secret/password").read_text().strip()
    lines = [f"requirepass {password}", f"masterauth {password}"]
    if user:
        theirs = (directory / "secret/agent-password").read_text().strip()
        lines.append(f"user {user} on >{theirs} {rules or AGENT_RULES}")
    return "\n".join(lines) + "\n"


def server_tls_args(pod: Path, port: int, client_certificates: bool) -> list[str]:
    """TLS only: clients, bus and replication."""
    tls = pod / "tls"
    return ["--port", "0", "--tls-port", str(port), "--tls-cluster", "yes",
            "--tls-replication", "yes", "--tls-cert-file", str(tls / "tls.crt"),
            "--tls-key-file", str(tls / "tls.key"), "--tls-ca-cert-file", str(tls / "ca.crt"),
            "--tls-auth-clients", "yes" if client_certificates else "no"]


def agent_keys(pod: Path, auth: bool, user: str, tls: bool, client_certificates: bool
               ) -> dict[str, Any]:
    """The redis.* keys of agent.yaml that go with them."""
    keys: dict[str, Any] = {}
    if auth:
        keys["redis.passwordFile"] = str(pod / "password")
        keys["redis.username"] = user
    if tls:
        keys["redis.tls.enabled"] = True
        keys["redis.tls.caFile"] = str(pod / "tls/ca.crt")
        if client_certificates:
            keys["redis.tls.certFile"] = str(pod / "tls/tls.crt")
            keys["redis.tls.keyFile"] = str(pod / "tls/tls.key")
    return keys
