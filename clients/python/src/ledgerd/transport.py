"""One request over HTTP/1.1, to a port or a socket."""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import os
import re
import socket
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

_CONNECT_S = 10.0
_IDLE = 64  # connections that are kept


@dataclass(frozen=True)
class Request:
    """A request that may be sent again, the same to the byte."""

    method: str
    path: str
    body: bytes | None = None
    patience: float = 60.0  # seconds without a byte of the answer
    accept: str = "application/json"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Transport:
    """Sends requests to one daemon, from any thread."""

    def __init__(self, server: str, token: str, context: ssl.SSLContext | None = None) -> None:
        if not re.fullmatch("[\x21-\x7e]+", token):
            raise ValueError("token: want the secret of a token, without white space")
        self._headers = {"Authorization": "Bearer " + token}
        self._socket = server[len("unix:") :] if server.startswith("unix:") else ""
        url = urlsplit("http://localhost" if self._socket else server)
        if url.scheme not in ("http", "https") or not url.hostname or url.query or url.fragment or url.username:
            raise ValueError("server: want http://host:port, https://host:port or unix:/path")
        if url.scheme == "http" and not _loopback(url.hostname):
            raise ValueError(f"server: want https for {url.hostname}: a token sent in the clear is everybody's")
        self._scheme, self._host, self._port, self._base = url.scheme, url.hostname, url.port, url.path.rstrip("/")
        self._context = context or (ssl.create_default_context() if url.scheme == "https" else None)
        self._lock = threading.Lock()
        self._idle: list[http.client.HTTPConnection] = []  # guarded by _lock
        self._pid = os.getpid()  # whose they are: a child shares no connection with its parent

    def send(self, request: Request) -> Answer:
        """Sends a request, once. OSError or HTTPException where there was no whole answer."""
        connection = self._take()
        try:
            if connection.sock is None:
                connection.connect()
            assert connection.sock is not None
            connection.sock.settimeout(request.patience)
            headers = {**self._headers, "Accept": request.accept}
            if request.body is not None:
                headers["Content-Type"] = "application/json"
            connection.request(request.method, self._base + request.path, request.body, headers)
            response = connection.getresponse()
            body = response.read()
        except BaseException:
            connection.close()
            self.close()  # a daemon that went away has left the others, too
            raise
        answer = Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, body)
        if response.will_close:
            connection.close()
        else:
            self._give(connection)
        return answer

    def _take(self) -> http.client.HTTPConnection:
        with self._lock:
            if self._pid != os.getpid():
                for inherited in self._idle:
                    inherited.close()
                self._idle, self._pid = [], os.getpid()
            if self._idle:
                return self._idle.pop()
        if self._socket:
            return _UnixConnection(self._socket, _CONNECT_S)
        if self._scheme == "https":
            return http.client.HTTPSConnection(self._host, self._port, timeout=_CONNECT_S, context=self._context)
        return http.client.HTTPConnection(self._host, self._port, timeout=_CONNECT_S)

    def _give(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            if self._pid == os.getpid() and len(self._idle) < _IDLE:
                self._idle.append(connection)
                return
        connection.close()

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()


def _loopback(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"
