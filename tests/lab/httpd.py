# SPDX-License-Identifier: Apache-2.0
"""A small HTTP/1.1 server on asyncio: keep-alive, bounded requests, streams that can be cut.

It knows nothing of Kubernetes. A handler gets a `Request` and a `Reply` to answer on.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import urllib.parse
from dataclasses import dataclass, field
from typing import Any, Awaitable, Callable, Optional

HEAD_MAX = 64 * 1024
BODY_MAX = 3 * 1024 * 1024      # as kube-apiserver's limit for a request
IDLE_SECONDS = 300.0

PHRASES = {200: "OK", 201: "Created", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden",
           404: "Not Found", 405: "Method Not Allowed", 406: "Not Acceptable", 409: "Conflict",
           410: "Gone", 413: "Request Entity Too Large", 415: "Unsupported Media Type",
           422: "Unprocessable Entity", 429: "Too Many Requests", 500: "Internal Server Error",
           502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Timeout"}


class BadRequest(Exception):
    """What came in is not HTTP we speak; the connection is closed after the answer."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes = b""


@dataclass
class Reply:
    """The answering side of one request."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    keep_alive: bool = True
    code: int = 0
    truncate: Optional[int] = None       # a fault: cut the body after so many bytes
    _left: int = field(default=0, repr=False)

    async def send(self, code: int, body: Any, headers: Optional[dict[str, str]] = None) -> None:
        """Send a whole answer; anything but bytes is encoded as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(
            body, separators=(",", ":")).encode()
        self.code = code
        cut = data if self.truncate is None else data[:self.truncate]
        if len(cut) < len(data):
            self.keep_alive = False
        self.writer.write(self._head(code, headers, f"Content-Length: {len(data)}") + cut)
        await self.writer.drain()

    async def start_stream(self, code: int) -> None:
        """Begin a chunked answer."""
        self.code = code
        self._left = self.truncate if self.truncate is not None else -1
        self.writer.write(self._head(code, None, "Transfer-Encoding: chunked"))
        await self.writer.drain()

    async def chunk(self, data: bytes) -> bool:
        """Send a piece of a stream; False when the answer has been cut."""
        whole = f"{len(data):x}\r\n".encode() + data + b"\r\n"
        if 0 <= self._left < len(data):
            self.writer.write(f"{len(data):x}\r\n".encode() + data[:self._left])
            await self.writer.drain()
            self.keep_alive = False
            return False
        if self._left > 0:
            self._left -= len(data)
        self.writer.write(whole)
        await self.writer.drain()
        return True

    async def end_stream(self) -> None:
        self.writer.write(b"0\r\n\r\n")
        await self.writer.drain()

    async def hole(self) -> None:
        """Say nothing until the client has left."""
        self.keep_alive = False
        while await self.reader.read(4096):
            pass

    def drop(self) -> None:
        """Close the connection without another byte."""
        self.keep_alive = False
        self.writer.transport.abort()

    def _head(self, code: int, headers: Optional[dict[str, str]], framing: str) -> bytes:
        lines = [f"HTTP/1.1 {code} {PHRASES.get(code, 'Unknown')}",
                 "Content-Type: application/json", framing]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        if not self.keep_alive:
            lines.append("Connection: close")
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


Handler = Callable[[Request, Reply], Awaitable[None]]


async def read_request(reader: asyncio.StreamReader,
                       writer: asyncio.StreamWriter) -> Optional[Request]:
    """The next request of a connection, or None when the client is done."""
    try:
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), IDLE_SECONDS)
    except asyncio.LimitOverrunError as error:
        raise BadRequest(400, "request head too large") from error
    except (asyncio.IncompleteReadError, asyncio.TimeoutError, ConnectionError, ssl.SSLError):
        return None
    lines = head.decode("latin-1").split("\r\n")
    parts = lines[0].split(" ")
    if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
        raise BadRequest(400, "malformed request line")
    headers = {}
    for line in lines[1:-2]:
        name, colon, value = line.partition(":")
        if not colon:
            raise BadRequest(400, "malformed header")
        headers[name.strip().lower()] = value.strip()
    url = urllib.parse.urlsplit(parts[1])
    query = {k: v[-1] for k, v in
             urllib.parse.parse_qs(url.query, keep_blank_values=True).items()}
    body = await _read_body(headers, reader, writer)
    return Request(parts[0], urllib.parse.unquote(url.path), query, headers, body)


async def _read_body(headers: dict[str, str], reader: asyncio.StreamReader,
                     writer: asyncio.StreamWriter) -> bytes:
    if headers.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return await _read_chunks(reader)
    text = headers.get("content-length", "0")
    if not text.isdigit():
        raise BadRequest(400, "malformed Content-Length")
    if int(text) > BODY_MAX:
        raise BadRequest(413, "request body too large")
    return await reader.readexactly(int(text))


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while True:
        size = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
        if size < 0 or len(body) + size > BODY_MAX:
            raise BadRequest(413, "request body too large")
        body += await reader.readexactly(size)
        await reader.readuntil(b"\r\n")
        if size == 0:
            return body


class Server:
    """A listener that can go away, cutting every connection, and come back on the same port."""

    def __init__(self, address: str, port: int, context: ssl.SSLContext, handler: Handler) -> None:
        self.address, self.port = address, port
        self.context = context
        self._handler = handler
        self._server: Optional[asyncio.base_events.Server] = None
        self._connections: set[asyncio.StreamWriter] = set()

    @property
    def listening(self) -> bool:
        return self._server is not None

    async def start(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(
                self._connection, self.address, self.port, ssl=self.context, limit=HEAD_MAX,
                reuse_address=True, backlog=512)

    async def stop(self) -> None:
        """Refuse new connections and reset the present ones, as a dying API server does."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._connections):
            writer.transport.abort()

    async def _connection(self, reader: asyncio.StreamReader,
                          writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        try:
            await self._requests(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError, TimeoutError):
            pass
        finally:
            self._connections.discard(writer)
            writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError, TimeoutError, OSError):
                await writer.wait_closed()

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while self.listening:
            reply = Reply(reader, writer)
            try:
                request = await read_request(reader, writer)
            except (BadRequest, ValueError) as error:
                reply.keep_alive = False
                code = error.code if isinstance(error, BadRequest) else 400
                await reply.send(code, {"message": str(error)})
                return
            if request is None:
                return
            if request.headers.get("connection", "").lower() == "close":
                reply.keep_alive = False
            await self._handler(request, reply)
            if not reply.keep_alive or writer.is_closing():
                return
