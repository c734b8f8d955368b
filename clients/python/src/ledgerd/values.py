"""JSON as it is sent and kept: nothing but JSON's own values, and every digit of an integer."""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn


def encode(value: object) -> bytes:
    """Writes a JSON value. TypeError or ValueError of anything that is none."""
    try:
        _check(value)
    except RecursionError:
        raise ValueError("want a JSON value, found one that holds itself, or too many levels") from None
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _check(value: object) -> None:
    # json.dumps writes more than JSON has: NaN, numbers as names of members.
    if value is None or isinstance(value, (bool, int)):
        return
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"want a JSON value, found {value}: JSON has no such number")
    elif isinstance(value, str):
        if re.search("[\ud800-\udfff]", value):
            raise ValueError("want a JSON value, found a string with an unpaired surrogate")
    elif isinstance(value, dict):
        for name, member in value.items():
            if not isinstance(name, str):
                raise TypeError(f"want a JSON value, found an object with a member called by a {type(name).__name__}")
            _check(name)
            _check(member)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _check(item)
    else:
        raise TypeError(f"want a JSON value, found a {type(value).__name__}")


def decode(data: bytes | str) -> Any:
    return json.loads(data, parse_constant=_constant)


def _constant(word: str) -> NoReturn:
    raise ValueError(f"want a JSON value, found {word}")


def copied(value: object) -> Any:
    """The value as whoever reads it from the ledger gets it."""
    return decode(encode(value))


_NAME = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@-]{1,200}")


def check_name(what: str, name: str) -> str:
    """Refuses what a path cannot take as it is."""
    if not _NAME.fullmatch(name) or name in (".", ".."):
        raise ValueError(f"want a {what} of 1 to 200 letters, digits and any of -._~!$&'()*+,;=:@, found {name[:80]!r}")
    return name
