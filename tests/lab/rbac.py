# SPDX-License-Identifier: Apache-2.0
"""Who may do what: bearer tokens and the one Role that the chart grants its service account."""

from __future__ import annotations

import secrets
from typing import Optional

import status
from store import RESOURCES

ADMIN = "lab"

# The rules of the chart's Role, in Kubernetes' own shape. Anything not listed is 403.
ROLE: list[dict[str, list[str]]] = [
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": ["apps"], "resources": ["statefulsets"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"],
     "verbs": ["get", "list", "watch"]},
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"],
     "verbs": ["get", "list", "watch", "create", "update"]},
    {"apiGroups": [""], "resources": ["configmaps"],
     "verbs": ["get", "list", "watch", "create", "update"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
]
NODE_RULE = {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch"]}


class Rbac:
    """Tokens by client (a pod's name, or the lab itself) and the rules they are held to."""

    def __init__(self, namespace: str, node_access: bool) -> None:
        self.namespace = namespace
        self.user = f"system:serviceaccount:{namespace}:muster"
        self.node_access = node_access
        self._clients: dict[str, str] = {}

    def issue(self, client: str) -> str:
        """A new token for a client; the ones it had stop working."""
        self.revoke(client)
        token = secrets.token_urlsafe(32)
        self._clients[token] = client
        return token

    def revoke(self, client: str) -> None:
        self._clients = {t: c for t, c in self._clients.items() if c != client}

    def authenticate(self, header: str) -> str:
        """The client behind an Authorization header; raises 401."""
        kind, _, token = header.partition(" ")
        client: Optional[str] = None
        if kind.lower() == "bearer":
            client = self._clients.get(token.strip())
        if client is None:
            raise status.unauthorized()
        return client

    def authorize(self, client: str, verb: str, resource: str, namespace: str, name: str) -> None:
        """Raise 403 unless a rule allows it. A Role reaches its own namespace only."""
        if client == ADMIN:
            return
        kind = RESOURCES[resource.split("/")[0]] if resource.split("/")[0] in RESOURCES else None
        group = kind.group if kind else ""
        if kind and not kind.namespaced:
            allowed = self.node_access and self._allows(NODE_RULE, verb, resource, group, name)
        else:
            allowed = namespace == self.namespace and any(
                self._allows(rule, verb, resource, group, name) for rule in ROLE)
        if not allowed:
            raise status.forbidden(self.user, verb, resource, group, namespace, name)

    @staticmethod
    def _allows(rule: dict[str, list[str]], verb: str, resource: str, group: str,
                name: str) -> bool:
        names = rule.get("resourceNames")
        return (group in rule["apiGroups"] and resource in rule["resources"]
                and verb in rule["verbs"] and (not names or name in names))
