"""Steps against a real daemon: what is called how often, and what is on record when."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import unittest
from typing import Any
from unittest import mock

from ledgerd import (
    Call, Denied, Failed, Finding, InDoubt, Ledgerd, NoAnswer, Problem, Run, ToolError, Waiting, governed, operation,
)  # fmt: skip
from ledgerd.transport import Answer
from town import Line, Town, cut, lost


class Tool:
    """A function that counts its calls."""

    def __init__(self, *does: Any) -> None:
        self.calls: list[Any] = []
        self.keys: list[str] = []
        self._does = list(does)

    def __call__(self, input: Any, *, call: Call) -> Any:
        self.calls.append(input)
        self.keys.append(call.idempotency_key)
        does = self._does.pop(0) if self._does else None
        if isinstance(does, BaseException):
            raise does
        return does


class Steps(Town):
    def setUp(self) -> None:
        super().setUp()
        self.ledgerd = self.client()
        self.line = Line(self.ledgerd)
        self.run_ = self.ledgerd.open(self.key(), task="errand")

    def state_of(self, step: str) -> str:
        states: dict[str, str] = {s["step"]: s["state"] for s in self.run_.state()["steps"]}
        return states[step]

    def test_replayed_without_a_call(self) -> None:
        tool = Tool({"id": 2**70, "more": [1.5, None, "ü\u2028"]})
        first = self.run_.step("crm", tool, {"n": 2**60}, action="update_crm", resource="customer/7")
        again = self.client().open(self.run_.key, task="errand").step("crm", tool, {"n": 2**60}, action="update_crm", resource="customer/7")
        self.assertEqual(again, first)
        self.assertEqual(again, {"id": 2**70, "more": [1.5, None, "ü\u2028"]})
        self.assertEqual(tool.calls, [{"n": 2**60}])

    def test_recorded_before_it_returns(self) -> None:
        def report_is_sent() -> None:
            self.assertTrue(self.line.sent[-1].path.endswith("/outcome"), self.line.sent)

        self.run_.step("crm", Tool(1), None, action="update_crm")
        report_is_sent()
        with self.assertRaises(Failed):
            self.run_.step("mail", Tool(ToolError("tool_failed", "no such mailbox")), None, action="send_email")
        self.assertEqual(self.state_of("mail"), "failed")

    def test_denied(self) -> None:
        tool = Tool()
        with self.assertRaises(Denied) as denied:
            self.run_.step("wipe", tool, {}, action="delete_customer")
        self.assertEqual((denied.exception.policies, tool.calls), (["never"], []))
        self.assertRegex(denied.exception.authorization, "^ev_")

    def test_exactly_what_was_checked(self) -> None:
        """Row 62: the caller's object changes while a human looks at it."""
        input = {"order": "K-1", "cents": 30000}

        def change_and_approve() -> None:
            while True:
                waiting = self.run_.state()["waiting"]
                if waiting:
                    break
            input["cents"] = 1
            self.answer("approve", waiting[0]["authorization"])

        human = threading.Thread(target=change_and_approve)
        human.start()
        tool = Tool("paid")
        self.run_.step("refund", tool, input, action="issue_refund", resource="K-1", wait=30)
        human.join()
        self.assertEqual(tool.calls, [{"order": "K-1", "cents": 30000}])

    def test_waiting_is_bounded(self) -> None:
        tool = Tool("paid")
        with self.assertRaises(Waiting) as waiting:
            self.run_.step("refund", tool, {"cents": 30000}, action="issue_refund", wait=0.2)
        self.assertEqual((waiting.exception.team, tool.calls), ("finance", []))
        self.answer("refuse", waiting.exception.authorization)
        with self.assertRaises(Denied) as denied:
            self.run_.step("refund", tool, {"cents": 30000}, action="issue_refund")
        self.assertTrue(denied.exception.refusal)

    def test_retried_as_the_rules_say(self) -> None:
        tool = Tool(ToolError("tool_unavailable", "not now"), ToolError("rate_limited", "later"), "ok")
        with mock.patch("time.sleep") as slept:
            result = self.run_.step("crm", tool, 1, action="update_crm", idempotent=True)
        self.assertEqual((result, len(tool.calls)), ("ok", 3))
        self.assertEqual(len(set(tool.keys)), 1)
        self.assertEqual(len(slept.call_args_list), 2)
        self.assertTrue(0.1 <= slept.call_args_list[0].args[0] <= 0.2, slept.call_args_list)

    def test_one_effect_under_lost_answers(self) -> None:
        self.line.faults = {"/crm": [lost, cut], "/outcome": [lost, cut]}
        tool = Tool("done")
        with mock.patch("time.sleep"):
            result = self.run_.step("crm", tool, 1, action="update_crm")
        self.assertEqual((result, len(tool.calls)), ("done", 1))
        bodies = {r.body for r in self.line.sent if r.path.endswith("/crm")}
        self.assertEqual(len(bodies), 1, "sent again, another request")

    def test_never_twice_in_one_attempt(self) -> None:
        """The report does not get through. The same process, which gets the same permission again, reports, and does not call."""
        self.line.faults = {"/outcome": [cut] * (operation.RETRIES + 1)}
        tool = Tool("done")
        with mock.patch("time.sleep"), self.assertRaises(NoAnswer):
            self.run_.step("crm", tool, 1, action="update_crm")
        self.assertEqual(self.state_of("crm"), "in_doubt")
        result = self.run_.step("crm", tool, 1, action="update_crm")
        self.assertEqual((result, len(tool.calls)), ("done", 1))

    def test_interrupted(self) -> None:
        """Ctrl-C in the middle of a call: nobody knows, and it is said so."""
        tool = Tool(KeyboardInterrupt(), "again")
        with self.assertRaises(KeyboardInterrupt):
            self.run_.step("crm", tool, 1, action="update_crm")
        with self.assertRaises(InDoubt) as doubt:
            self.run_.step("crm", tool, 1, action="update_crm")
        self.assertEqual((len(tool.calls), doubt.exception.attempt), (1, 1))

    def test_interrupted_and_unreported(self) -> None:
        self.line.faults = {"/outcome": [cut] * (operation.RETRIES + 1)}
        tool = Tool(KeyboardInterrupt(), "again")
        with mock.patch("time.sleep"), self.assertRaises(KeyboardInterrupt):
            self.run_.step("crm", tool, 1, action="update_crm")
        with self.assertRaises(InDoubt):
            self.run_.step("crm", tool, 1, action="update_crm")
        self.assertEqual(len(tool.calls), 1)

    def test_two_threads_one_call(self) -> None:
        calls = []

        def slow(input: Any) -> str:
            calls.append(input)
            threading.Event().wait(0.1)
            return "done"

        other = self.client().open(self.run_.key, task="errand")
        outputs: list[Any] = []

        def step(run: Run) -> None:
            outputs.append(run.step("crm", slow, 1, action="update_crm"))

        threads = [threading.Thread(target=step, args=(run,)) for run in (self.run_, other, self.run_)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual((outputs, calls), (["done"] * 3, [1]))

    def test_another_process_is_in_doubt(self) -> None:
        """A child of a fork is another process: its asker and its connections are its own."""
        pid = os.fork()
        if pid == 0:  # permitted, called, and gone

            def gone(input: Any) -> None:
                os._exit(7)

            self.run_.step("mail", gone, 1, action="send_email")
            os._exit(1)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 7)
        tool = Tool("sent")
        with self.assertRaises(InDoubt):
            self.run_.step("mail", tool, 1, action="send_email")
        found: list[Any] = []

        def probe(input: Any, call: Call) -> Finding | None:
            found.append((input, call.attempt, call.idempotency_key))
            return Finding("not_run")

        result = self.run_.step("mail", tool, 1, action="send_email", probe=probe)
        self.assertEqual((result, len(tool.calls), found), ("sent", 1, [(1, 1, f"{self.run_.id}/mail")]))

    def test_a_child_is_at_work_on_nothing(self) -> None:
        """A step that its parent is at work on is in doubt for it, and not waited for."""

        def forks(input: Any) -> int:
            pid = os.fork()
            if pid == 0:
                signal.alarm(10)
                try:
                    self.run_.step("mail", Tool("sent"), 1, action="send_email")
                except InDoubt:
                    os._exit(7)
                os._exit(1)
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

        self.assertEqual(self.run_.step("mail", forks, 1, action="send_email"), 7)

    def test_a_child_has_connections_of_its_own(self) -> None:
        def port() -> Any:
            self.run_.state()
            sock = self.ledgerd._transport._idle[-1].sock
            assert sock is not None
            return sock.getsockname()

        before = port()
        pid = os.fork()
        if pid == 0:
            os._exit(3 if port() == before else 0)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 0)
        self.assertEqual(port(), before)

    def test_a_probe_is_asked_once(self) -> None:
        tool = Tool(ToolError("outcome_unknown", "?"), ToolError("outcome_unknown", "?"), "sent")
        with self.assertRaises(InDoubt):
            self.run_.step("mail", tool, 1, action="send_email")
        asked: list[Any] = []

        def probe(input: Any) -> Finding:
            asked.append(input)
            return Finding("not_run")

        with self.assertRaises(InDoubt) as doubt:
            self.run_.step("mail", tool, 1, action="send_email", probe=probe)
        self.assertEqual((len(asked), len(tool.calls), doubt.exception.attempt), (1, 2, 2))

    def test_a_probe_that_cannot_tell(self) -> None:
        tool = Tool(ToolError("outcome_unknown", "the line went dead"))
        with self.assertRaises(InDoubt):
            self.run_.step("mail", tool, 1, action="send_email", probe=lambda input: None)
        with self.assertRaises(InDoubt) as doubt:
            self.run_.step("mail", tool, 1, action="send_email", probe=lambda input: 1 / 0)  # type: ignore[arg-type,return-value]
        self.assertIsInstance(doubt.exception.__cause__, ZeroDivisionError)
        self.run_.report("mail", doubt.exception.attempt, "success", output={"id": 1})
        self.assertEqual(self.run_.step("mail", tool, 1, action="send_email"), {"id": 1})
        self.assertEqual(len(tool.calls), 1)

    def test_output_that_is_no_json(self) -> None:
        """Whoever resumes the run could not get it: a result that cannot be kept is in doubt, for good."""
        for name, output in (("object", object()), ("nan", float("nan")), ("keys", {1: 2}), ("surrogate", "\ud800")):
            tool = Tool(output)
            for _ in range(2):
                with self.subTest(name), self.assertRaises(InDoubt) as doubt:
                    self.run_.step(name, tool, 1, action="update_crm")
                self.assertIn("its result is no JSON", str(doubt.exception))
            self.assertEqual(len(tool.calls), 1)

    def test_output_that_is_too_large(self) -> None:
        tool = Tool("x" * (3 << 20))
        with self.assertRaises(InDoubt) as doubt:
            self.run_.step("crm", tool, 1, action="update_crm")
        assert isinstance(doubt.exception.__cause__, Problem)
        self.assertEqual(doubt.exception.__cause__.status, 413)
        self.assertIn("its result cannot be recorded: too_large", str(doubt.exception))
        found = self.run_.step("crm", tool, 1, action="update_crm", probe=lambda input: Finding("success", "short"))
        self.assertEqual((found, len(tool.calls)), ("short", 1))

    def test_cost(self) -> None:
        self.run_.step("crm", Tool({"cents": 3}), 1, action="update_crm", cost=lambda output: {"usd_micro": output["cents"]})
        with self.assertRaises(Failed):
            self.run_.step("mail", Tool(ToolError("tool_failed", "no", cost={"usd_micro": 4})), 1, action="send_email")
        tool = Tool("done")
        with self.assertRaises(InDoubt) as doubt:
            self.run_.step("more", tool, 1, action="update_crm", cost=lambda output: 1 / 0)  # type: ignore[arg-type,return-value]
        self.assertIsInstance(doubt.exception.__cause__, ZeroDivisionError)
        self.assertEqual(len(tool.calls), 1)
        self.assertEqual(self.run_.state()["spent"]["usd_micro"], 7)

    def test_bytes(self) -> None:
        tool = Tool(b"\x00\xff")
        self.assertEqual(self.run_.step("crm", tool, 1, action="update_crm"), b"\x00\xff")
        self.assertEqual(self.run_.step("crm", tool, 1, action="update_crm"), b"\x00\xff")

    def test_input_that_is_no_json(self) -> None:
        tool = Tool()
        before = len(self.line.sent)
        loop: list[Any] = []
        loop.append(loop)
        for input in (float("nan"), float("inf"), {1: 2}, {"a": object()}, {"a": b"b"}, "\udfff", loop, {"a": {1, 2}}):
            with self.assertRaises((TypeError, ValueError)):
                self.run_.step("crm", tool, input, action="update_crm")
        self.assertEqual((tool.calls, len(self.line.sent)), ([], before))

    def test_names_that_are_none(self) -> None:
        for name in ("", "a/b", "..", ".", "a b", "ü", "a%2fb", "x" * 201, "a\n"):
            with self.subTest(name), self.assertRaises(ValueError):
                self.run_.step(name, Tool(), 1)
            with self.subTest(name), self.assertRaises(ValueError):
                self.ledgerd.open(name, task="errand")
        with self.assertRaises(ValueError):
            self.ledgerd.open("run_1", task="errand")

    def test_a_tool_of_the_daemon(self) -> None:
        tool = Tool()
        with self.assertRaises(ValueError):
            self.run_.step("note", tool, {"ticket": "t"}, action="take_note", tool="note")
        result = self.run_.run_here("note", "note", {"ticket": "t"})
        self.assertEqual((result, tool.calls), ("noted t", []))
        with self.assertRaises(Problem) as problem:
            self.run_.run_here("other", "nothing", {})
        self.assertEqual(problem.exception.reason, "no_tool")
        with self.assertRaises(Failed) as failed:
            self.run_.run_here("bad", "note", {})
        self.assertEqual(failed.exception.failure_class, "invalid_tool_payload")

    def test_governed(self) -> None:
        tool = Tool("a", "b", "c")
        for _ in range(2):
            run = self.ledgerd.open(self.run_.key, task="errand")
            crm = governed(run, "update_crm", tool, resource="customer/7")
            self.assertEqual([crm({"n": 1}), crm({"n": 2}), crm({"n": 3}, step="named")], ["a", "b", "c"])
        self.assertEqual(len(tool.calls), 3)
        self.assertEqual([s["step"] for s in run.state()["steps"]], ["update_crm:1", "update_crm:2", "named"])
        with self.assertRaises(Denied):
            governed(run, "delete_customer", tool)({})

    def test_coroutine_function(self) -> None:
        async def tool(input: Any) -> None: ...

        with self.assertRaises(TypeError):
            self.run_.step("crm", tool, 1, action="update_crm")
        with self.assertRaises(InDoubt) as doubt:  # hidden in a plain one
            self.run_.step("crm", lambda input: tool(input), 1, action="update_crm")
        self.assertIsInstance(doubt.exception.__cause__, TypeError)


class Connections(Town):
    def test_socket(self) -> None:
        with Ledgerd(self.settings["socket"], self.settings["here"]["token"]) as client:
            run = client.open(self.key(), task="errand")
            self.assertEqual(run.step("crm", lambda input: "ok", 1, action="update_crm"), "ok")

    def test_busy_for_a_while(self) -> None:
        client = self.client()
        line = Line(client)
        busy = Answer(503, {"retry-after": "2", "content-type": "application/problem+json"}, b'{"status":503,"reason":"busy"}')
        line.faults = {line_key: [lambda send, request: busy] for line_key in [self.key()]}
        with mock.patch("time.sleep") as slept:
            client.open(next(iter(line.faults)), task="errand")
        self.assertEqual([c.args[0] for c in slept.call_args_list], [2])

    def test_unreachable_is_bounded(self) -> None:
        client = Ledgerd("http://127.0.0.1:1", "ledgerd_x")
        with mock.patch("time.sleep") as slept, self.assertRaises(NoAnswer):
            client.open("k", task="errand")
        self.assertEqual([round(c.args[0], 1) for c in slept.call_args_list], [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5])

    def test_the_daemon_was_restarted(self) -> None:
        """Every connection that was kept is dead: that is found out once, and not once for each."""
        client = self.client()
        run = client.open(self.key(), task="errand")
        kept = [client._transport._take() for _ in range(2 * operation.RETRIES)]
        for connection in kept:
            if connection.sock is None:
                connection.connect()
            assert connection.sock is not None
            connection.sock.shutdown(socket.SHUT_RDWR)
            client._transport._give(connection)
        with mock.patch("time.sleep") as slept:
            self.assertEqual(run.state()["state"], "open")
        self.assertEqual(len(slept.call_args_list), 1)

    def test_where_a_token_is_not_sent(self) -> None:
        for server in ("http://ledger.example:8420", "ftp://127.0.0.1", "127.0.0.1:8420", "http://127.0.0.1?x", "http://u:p@127.0.0.1"):
            with self.subTest(server), self.assertRaises(ValueError):
                Ledgerd(server, "ledgerd_x")
        Ledgerd("https://ledger.example", "ledgerd_x")
        for token in ("", "a b", "a\r\nX: y", "ü"):
            with self.assertRaises(ValueError) as refused:
                Ledgerd("http://127.0.0.1:1", token)
            self.assertNotIn("X: y", str(refused.exception))

    def test_no_token_in_errors(self) -> None:
        client = Ledgerd(self.settings["here"]["server"], "ledgerd_secret")
        self.addCleanup(client.close)
        with self.assertRaises(Problem) as problem:
            client.open("k", task="errand")
        self.assertEqual(problem.exception.reason, "no_token")
        self.assertNotIn("ledgerd_secret", f"{problem.exception!r} {problem.exception} {client!r} {vars(problem.exception)}")

    def test_what_is_no_daemon(self) -> None:
        client = self.client()
        line = Line(client)
        page = Answer(404, {"content-type": "text/html\x1b[31m"}, b"<html>")
        line.faults = {"/k": [lambda send, request: page]}
        with self.assertRaises(Problem) as problem:
            client.open("k", task="errand")
        self.assertEqual((problem.exception.status, problem.exception.reason), (404, "no_problem"))
        self.assertNotIn("\x1b", str(problem.exception))

    def test_hostile_words_are_shown(self) -> None:
        run = self.client().open(self.key(), task="errand")
        with self.assertRaises(Failed) as failed:
            run.step("crm", Tool(ToolError("tool_failed", "\x1b]0;owned\x07 \u202etxt")), 1, action="update_crm")
        self.assertIn("\\u{1b}]0;owned\\u{7} \\u{202e}txt", str(failed.exception))
        self.assertTrue(str(failed.exception).isprintable())
        self.assertEqual(json.loads(json.dumps(failed.exception.errors)), ["\x1b]0;owned\x07 \u202etxt"])


if __name__ == "__main__":
    unittest.main()
