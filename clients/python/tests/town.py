"""The daemon, the human and the peer that python_test.go has around the tests."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import unittest
import urllib.request
from collections.abc import Callable
from typing import Any

from ledgerd import Ledgerd
from ledgerd.transport import Answer, Request

_keys = itertools.count(1)


class Town(unittest.TestCase):
    """A test against a real daemon."""

    def setUp(self) -> None:
        if "LEDGERD_TEST" not in os.environ:
            self.skipTest("wants a daemon: go test ./clients/python")
        self.settings: dict[str, Any] = json.loads(os.environ["LEDGERD_TEST"])

    def client(self, side: str = "here", token: str = "token") -> Ledgerd:
        client = Ledgerd(self.settings[side]["server"], self.settings[side][token])
        self.addCleanup(client.close)
        return client

    def key(self) -> str:
        return f"{self.id().split('.')[-1]}-{os.getpid()}-{next(_keys)}"

    def answer(self, how: str, authorization: str) -> None:
        request = urllib.request.Request(f"{self.settings['human']}/{how}/{authorization}", method="POST")
        urllib.request.urlopen(request, timeout=30).close()


Fault = Callable[[Callable[[Request], Answer], Request], Answer]


def cut(send: Callable[[Request], Answer], request: Request) -> Answer:
    """Nothing gets through."""
    raise ConnectionRefusedError(111, "cut")


def lost(send: Callable[[Request], Answer], request: Request) -> Answer:
    """The daemon does it, and the answer is lost."""
    send(request)
    raise http.client.RemoteDisconnected("lost")


class Line:
    """Stands between a client and the daemon: says what was sent, and breaks where it is told to."""

    def __init__(self, client: Any) -> None:
        self.sent: list[Request] = []
        self.faults: dict[str, list[Fault]] = {}
        self._send = client._transport.send
        client._transport.send = self.send

    def send(self, request: Request) -> Answer:
        self.sent.append(request)
        for end, faults in self.faults.items():
            if request.path.partition("?")[0].endswith(end) and faults:
                return faults.pop(0)(self._send, request)
        answer: Answer = self._send(request)
        return answer
