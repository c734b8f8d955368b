"""Says of each receipt and trust file, one pair a line of standard input, what verify_receipt finds."""

from __future__ import annotations

import json
import pathlib
import sys

from ledgerd import ReceiptNotVerified, verify_receipt

for line in sys.stdin:
    receipt, trust = (pathlib.Path(name).read_bytes() for name in json.loads(line))
    try:
        verify_receipt(receipt, trust)
        print("verified")
    except ReceiptNotVerified as e:
        print(e.outcome, *sorted(e.broken), "-", *sorted(e.undecidable)) if e.outcome != "malformed" else print(e.outcome)
