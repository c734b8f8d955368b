"""What an exception says of a call: never a failure where it may have happened."""

from __future__ import annotations

import email.message
import http.client
import smtplib
import socket
import ssl
import subprocess
import unittest
import urllib.error

from ledgerd import ToolError
from ledgerd.outcome import outcome_of


class ReadTimeout(Exception):
    """As libraries have them."""


class TransportError(Exception):
    pass


class Refused(TransportError):
    pass


def http_error(code: int, after: str = "") -> urllib.error.HTTPError:
    headers = email.message.Message()
    if after:
        headers["Retry-After"] = after
    return urllib.error.HTTPError("http://x", code, "", headers, None)


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


class Outcomes(unittest.TestCase):
    def test_table(self) -> None:
        for error, idempotent, other in (
            (ToolError("tool_failed", "no"), "tool_failed", "tool_failed"),
            (ToolError("rate_limited", "no", retry_after=3), "rate_limited", "rate_limited"),
            (ToolError("outcome_unknown", "?"), "", ""),
            (ToolError("tool_timeout", "?"), "tool_timeout", ""),
            (ValueError("no such customer"), "tool_failed", "tool_failed"),
            (RuntimeError("no such mailbox"), "tool_failed", "tool_failed"),
            (PermissionError(13, "no"), "tool_failed", "tool_failed"),
            (ConnectionRefusedError(), "tool_unavailable", "tool_unavailable"),
            (socket.gaierror(-2, "no such host"), "tool_unavailable", "tool_unavailable"),
            (urllib.error.URLError(ConnectionRefusedError()), "tool_unavailable", "tool_unavailable"),
            (urllib.error.URLError(TimeoutError()), "tool_timeout", ""),
            (TimeoutError(), "tool_timeout", ""),
            (ConnectionResetError(), "tool_timeout", ""),
            (http.client.RemoteDisconnected("gone"), "tool_timeout", ""),
            (http.client.IncompleteRead(b""), "tool_timeout", ""),
            (EOFError(), "tool_timeout", ""),
            (ssl.SSLEOFError(8, "EOF occurred in violation of protocol"), "tool_timeout", ""),
            (urllib.error.URLError(ssl.SSLError(1, "bad record mac")), "tool_timeout", ""),
            (ssl.SSLCertVerificationError(1, "certificate verify failed"), "tool_failed", "tool_failed"),
            (subprocess.TimeoutExpired("x", 1), "tool_timeout", ""),
            (smtplib.SMTPServerDisconnected("gone"), "tool_timeout", ""),
            (ReadTimeout(), "tool_timeout", ""),
            (Refused(), "tool_timeout", ""),
            (caused(ValueError("wrapped"), TimeoutError()), "tool_timeout", ""),
            (http_error(429, "7"), "rate_limited", "rate_limited"),
            (http_error(503), "tool_unavailable", "tool_unavailable"),
            (http_error(504), "tool_timeout", ""),
            (http_error(502), "tool_timeout", ""),
            (http_error(422), "invalid_tool_payload", "invalid_tool_payload"),
            (http_error(404), "tool_failed", "tool_failed"),
            (TypeError(), "", ""),
            (KeyError("x"), "", ""),
            (AssertionError(), "", ""),
            (ZeroDivisionError(), "", ""),
            (StopIteration(), "", ""),
            (KeyboardInterrupt(), "", ""),
            (SystemExit(), "", ""),
        ):
            with self.subTest(repr(error)):
                self.assertEqual(outcome_of(error, True).failure_class, idempotent)
                self.assertEqual(outcome_of(error, False).failure_class, other)

    def test_retry_after(self) -> None:
        for value, want in (("7", 7), ("", 0), ("soon", 0), ("999999999", 3600), ("Wed, 21 Oct 2015 07:28:00 GMT", 0)):
            self.assertEqual(outcome_of(http_error(429, value), False).retry_after, want)
