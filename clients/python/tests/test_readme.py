"""Runs the examples of README.md, from the top, as one program."""

from __future__ import annotations

import contextlib
import io
import os
import pathlib
import re
from typing import Any
from unittest import mock

from town import Town

HERE = pathlib.Path(__file__).resolve().parents[1]


class Readme(Town):
    def test_examples(self) -> None:
        blocks = re.findall(r"```python\n(.*?)```", (HERE / "README.md").read_text("utf-8"), re.DOTALL)
        self.assertGreater(len(blocks), 5)
        side = self.settings["here"]
        program: dict[str, Any] = {"__name__": "readme"}
        said = io.StringIO()
        where = os.getcwd()
        os.chdir(HERE.parents[1])
        try:
            with mock.patch.dict(os.environ, LEDGERD_SERVER=side["server"], LEDGERD_TOKEN=side["token"]), contextlib.redirect_stdout(said):
                for block in blocks:
                    exec(compile(block, "README.md", "exec"), program)
        finally:
            os.chdir(where)
            program["client"].close()
        for line in (
            r"denied by \['never'\] ev_",
            r"asked finance about ev_",
            r"tool_failed \['no such mailbox'\] ev_",
            r"contradicted \['what it asks for was tried",
            r"attempt 1 of receipt",
            r"run.closed support completed at 10 of ledger.example/test",
            r"undecidable \{'signature'",
        ):
            self.assertRegex(said.getvalue(), line)
