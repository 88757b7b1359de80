# SPDX-License-Identifier: Apache-2.0
"""A Kubernetes client for tests: one request at a time, and watches as an iterator."""

from __future__ import annotations

import http.client
import json
import ssl
import urllib.parse
from pathlib import Path
from typing import Any, Iterator, Optional

Answer = tuple[int, Any]


class Kube:
    """Requests to a lab's API server as one client (a pod's token, or the lab's own)."""

    def __init__(self, state: Path, token: Path) -> None:
        url = urllib.parse.urlsplit(json.loads((state / "lab.json").read_text())["api"])
        self._host, self._port = url.hostname or "", url.port
        self._context = ssl.create_default_context(cafile=str(state / "ca.crt"))
        self._token = token
        self.headers: dict[str, str] = {}        # of the last answer

    def connection(self, timeout: float = 10) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(self._host, self._port, timeout=timeout,
                                           context=self._context)

    def request(self, method: str, path: str, body: Any = None, kind: str = "application/json",
                connection: Optional[http.client.HTTPSConnection] = None,
                accept: str = "application/json", **query: Any) -> Answer:
        """The status code and the decoded body (None when it is not JSON)."""
        own = connection is None
        connection = connection or self.connection()
        try:
            if query:
                path += "?" + urllib.parse.urlencode(query)
            data = json.dumps(body) if body is not None else None
            connection.request(method, path, data, {
                "Authorization": "Bearer " + self._token.read_text().strip(),
                "Content-Type": kind, "Accept": accept})
            response = connection.getresponse()
            self.headers = dict(response.getheaders())
            text = response.read()
            try:
                return response.status, json.loads(text)
            except ValueError:
                return response.status, None
        finally:
            if own:
                connection.close()

    def get(self, path: str, **query: Any) -> Answer:
        return self.request("GET", path, **query)

    def watch(self, path: str, timeout: float = 5, **query: Any) -> Iterator[dict[str, Any]]:
        """The events of a watch until it ends; an HTTP error is one event of type HTTP."""
        query = {"watch": "1", **query}
        connection = self.connection(timeout)
        try:
            connection.request("GET", path + "?" + urllib.parse.urlencode(query), headers={
                "Authorization": "Bearer " + self._token.read_text().strip()})
            response = connection.getresponse()
            if response.status != 200:
                yield {"type": "HTTP", "object": json.loads(response.read())}
                return
            while True:
                line = response.readline()
                if not line:
                    return
                yield json.loads(line)
        finally:
            connection.close()
