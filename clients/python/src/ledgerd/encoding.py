"""Hashes, the one spelling of base64, and JSON as records have it (docs/record-format.md)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NoReturn, Union

_MAX_DEPTH = 32
_MAX_SAFE = 2**53 - 1


class Malformed(ValueError):
    """Bytes are not in the form that they have to be in."""


def refuse(message: str) -> NoReturn:
    raise Malformed(message)


def sha256(*parts: bytes) -> bytes:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.digest()


def leaf_hash(entry: bytes) -> bytes:
    """RFC 6962, section 2.1."""
    return sha256(b"\x00", entry)


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01", left, right)


def b64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def from_b64url(text: str, size: int | None = None) -> bytes:
    """Decodes base64url without padding, in its one spelling."""
    if not re.fullmatch("[A-Za-z0-9_-]*", text) or len(text) % 4 == 1:
        refuse("not base64url")
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if b64url(data) != text:
        refuse("base64url in another spelling than the one there is")
    if size is not None and len(data) != size:
        refuse(f"want {size} bytes in base64url, found {len(data)}")
    return data


def from_b64(text: str, size: int | None = None) -> bytes:
    """Decodes base64 with padding, in its one spelling."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        refuse("not base64")
    if base64.b64encode(data).decode() != text:
        refuse("base64 in another spelling than the one there is")
    if size is not None and len(data) != size:
        refuse(f"want {size} bytes in base64, found {len(data)}")
    return data


def evidence_id(entry: bytes) -> str:
    return "ev_" + b64url(leaf_hash(entry))


@dataclass(frozen=True)
class Number:
    """A number as it was written."""

    text: str

    @property
    def integer(self) -> bool:
        return not set(self.text) & set(".eE")

    @property
    def value(self) -> int:
        """The value of one that is an integer, and within ±(2^53 − 1)."""
        return int(self.text)


Node = Union[dict[str, "Node"], list["Node"], str, Number, bool, None]


def parse_json(data: bytes, *, records: bool = True) -> Node:
    """Parses one JSON value: I-JSON as records have it, from the first byte to the last.

    records=False allows white space around it, and every number and character that
    JSON has: trust files.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        refuse("not UTF-8")
    if records and (text.strip(" \t\r\n") != text or not text):
        refuse("white space around the value, or nothing")
    strict = _check_number if records else Number
    try:
        node: Node = json.loads(
            text, object_pairs_hook=_members, parse_int=strict, parse_float=strict, parse_constant=_constant
        )
    except (json.JSONDecodeError, RecursionError) as e:
        refuse(f"no JSON value: {e}")
    _walk(node, 1, records)
    return node


def _constant(word: str) -> NoReturn:
    refuse(f"{word} is no JSON value")


def _members(pairs: list[tuple[str, Node]]) -> dict[str, Node]:
    members = dict(pairs)
    if len(members) != len(pairs):
        refuse("a member stands twice in one object")
    return members


def _check_number(text: str) -> Number:
    number = Number(text)
    digits = re.split("[eE]", text)[0]
    zero = not set(digits) & set("123456789")
    if number.integer:
        if len(text) > 17 or abs(int(text)) > _MAX_SAFE:
            refuse("an integer beyond 2^53 - 1")
    elif len(text) > 64:
        refuse("a number of more than 64 bytes")
    elif abs(float(text)) > _MAX_SAFE:
        refuse("a number beyond 2^53 - 1")
    elif not zero and float(text) == 0:
        refuse("a number nearer to zero than a double can be")
    if zero and (text[0] == "-" or len(digits) != len(text)):
        refuse("a zero is written without sign and exponent")
    return number


def _walk(node: Node, depth: int, records: bool) -> None:
    """Checks what the JSON module does not: depth and strings."""
    if isinstance(node, str):
        _check_text(node, records)
    elif isinstance(node, (dict, list)):
        if depth > _MAX_DEPTH:
            refuse(f"more than {_MAX_DEPTH} levels")
        inside: Iterable[Node] = node
        if isinstance(node, dict):
            for name in node:
                _check_text(name, records)
            inside = node.values()
        for item in inside:
            _walk(item, depth + 1, records)


_SURROGATE = re.compile("[\ud800-\udfff]")
_NONCHARACTER = re.compile(
    "[\ufdd0-\ufdef" + "".join(chr(plane << 16 | low) for plane in range(17) for low in (0xFFFE, 0xFFFF)) + "]"
)


def _check_text(text: str, records: bool) -> None:
    if _SURROGATE.search(text):
        refuse("an unpaired surrogate")
    if records and _NONCHARACTER.search(text):
        refuse("a noncharacter")
