"""The same rules under asyncio: what is particular to it."""

from __future__ import annotations

import asyncio
from typing import Any

from ledgerd import Call, AsyncLedgerd, Denied, Finding, InDoubt, Thought
from town import Town


class Async(Town):
    def client_(self) -> AsyncLedgerd:
        return AsyncLedgerd(self.settings["here"]["server"], self.settings["here"]["token"])

    def test_run(self) -> None:
        async def main() -> None:
            async with self.client_() as client:
                run = await client.open(self.key(), task="complaint")

                async def think() -> Thought:
                    return Thought({"n": 1})

                sent: list[Any] = []

                async def send(mail: Any, call: Call) -> Any:
                    sent.append(mail)
                    await asyncio.sleep(0)
                    return {"to": mail["to"], "attempt": call.attempt}

                plan = await run.decide("plan", think, model="model-1")
                self.assertEqual(plan["choice"], {"n": 1})
                for _ in range(2):
                    output = await run.step("mail", send, {"to": "lea"}, action="send_email")
                    self.assertEqual(output, {"to": "lea", "attempt": 1})
                self.assertEqual(sent, [{"to": "lea"}])
                self.assertEqual(await run.step("plain", lambda input: 2, 1, action="update_crm"), 2)
                with self.assertRaises(Denied):
                    await run.step("wipe", send, {}, action="delete_customer")
                self.assertEqual(await run.run_here("note", "note", {"ticket": "t"}), "noted t")
                await run.checkpoint("half", 1)
                last = await run.last_checkpoint()
                assert last is not None
                self.assertEqual(last["state"], 1)
                self.assertRegex(await run.context([{"name": "a", "text": "b"}]), "^ev_")
                await run.claim("Lea was told.", steps=["mail"])
                self.assertEqual((await run.close())["end"], "completed")
                self.assertEqual((await run.state())["state"], "closed")

        asyncio.run(main())

    def test_cancelled(self) -> None:
        """A task that is cancelled in the middle of a call leaves a doubt that is on record, and not called again."""

        async def main() -> None:
            async with self.client_() as client:
                run = await client.open(self.key(), task="errand")
                calls: list[Any] = []
                began = asyncio.Event()

                async def slow(input: Any) -> None:
                    calls.append(input)
                    began.set()
                    await asyncio.sleep(60)

                task = asyncio.create_task(run.step("mail", slow, 1, action="send_email"))
                await began.wait()
                task.cancel()
                with self.assertRaises(asyncio.CancelledError):
                    await task
                state = (await run.state())["in_doubt"]
                self.assertEqual([d["step"] for d in state], ["mail"])
                self.assertNotEqual(state[0]["doubt"], state[0]["authorization"], "an execution says that nobody knows")
                with self.assertRaises(InDoubt):
                    await run.step("mail", slow, 1, action="send_email")

                async def probe(input: Any, call: Call) -> Finding:
                    return Finding("success", output="found")

                self.assertEqual(await run.step("mail", slow, 1, action="send_email", probe=probe), "found")
                self.assertEqual(calls, [1])

        asyncio.run(main())

    def test_side_by_side(self) -> None:
        """One step asked for by many tasks is called once; many steps go on beside each other."""

        async def main() -> None:
            async with self.client_() as client:
                run = await client.open(self.key(), task="errand")
                calls: list[Any] = []

                async def tool(input: Any) -> Any:
                    calls.append(input)
                    await asyncio.sleep(0.02)
                    return input

                same = [run.step("one", tool, 0, action="update_crm") for _ in range(5)]
                many = [run.step(f"s-{i}", tool, i, action="update_crm") for i in range(1, 6)]
                results = await asyncio.gather(*same, *many)
                self.assertEqual(results, [0] * 5 + [1, 2, 3, 4, 5])
                self.assertEqual(sorted(calls), [0, 1, 2, 3, 4, 5])

        asyncio.run(main())
