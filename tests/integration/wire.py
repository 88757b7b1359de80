# SPDX-License-Identifier: Apache-2.0
"""What a server gets to see of an agent: recorders that stand where a server should be."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from pathlib import Path
from typing import Any, Optional

Address = tuple[str, int]


class Recorder:
    """Listens at an address and keeps every byte that comes in. Use it as a context."""

    def __init__(self, address: Address) -> None:
        self.heard = b""             # from clients, after TLS where there is any
        self.connections = 0
        self._listener = socket.create_server(address)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Recorder":
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    def _run(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve_one, args=(client,), daemon=True).start()

    def _serve_one(self, client: socket.socket) -> None:
        client.settimeout(5)
        with client, contextlib.suppress(OSError):
            self.serve(client)
        self.connections += 1        # counted when it is over, so that nothing is missed

    def serve(self, client: socket.socket) -> None:
        raise NotImplementedError


class Impostor(Recorder):
    """A TLS server with a certificate that may be changed, and no answer to anything."""

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self._context: Optional[ssl.SSLContext] = None

    def show(self, cert: Path, key: Path) -> None:
        """From now on this certificate, weak as it may be; forgets what was heard."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.load_cert_chain(cert, key)
        self._context, self.heard, self.connections = context, b"", 0

    def serve(self, client: socket.socket) -> None:
        if self._context is None:
            return
        with self._context.wrap_socket(client, server_side=True) as secured:
            secured.settimeout(1)
            while data := secured.recv(4096):
                self.heard += data


class Tap(Recorder):
    """Passes everything on to a real server, and back."""

    def __init__(self, address: Address, target: Address) -> None:
        super().__init__(address)
        self._target = target

    def serve(self, client: socket.socket) -> None:
        with socket.create_connection(self._target, 5) as server:
            back = threading.Thread(target=self._pass_back, args=(server, client), daemon=True)
            back.start()
            with contextlib.suppress(OSError):
                while data := client.recv(4096):
                    self.heard += data
                    server.sendall(data)
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            back.join(5)

    @staticmethod
    def _pass_back(server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(4096):
                client.sendall(data)
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)
