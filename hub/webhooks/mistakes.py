"""The usual mistakes of receivers that check signatures, each with the words for it. Pure.

A mistake is found by making it: what comes out is compared with what the receiver has.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from hub.webhooks.sign import SECRET

#: The order in which the hub writes the members of its messages; others keep theirs.
_MEMBERS = (
    "id", "type", "timestamp", "data", "subscription", "district", "grant", "from", "to", "more", "changes", "entity",
    "operation", "sourcedId", "version", "at", "counts", "href", "mergedInto", "record",
    "previous",
)  # fmt: skip
_RANK = {name: rank for rank, name in enumerate(_MEMBERS)}
_BOM = b"\xef\xbb\xbf"
_HEX = re.compile(r"[0-9a-fA-F]{64}")


@dataclass(frozen=True, slots=True)
class Reading:
    """One way to read a secret's text. ``wrong``: what is wrong with the text, None where nothing is."""

    key: bytes
    wrong: str | None


def read_secret(text: str) -> Reading | None:
    """The key inside a secret as somebody typed or stored it; None where there is none to be seen."""
    wrong: list[str] = []
    kept = text.strip()
    if kept != text:
        wrong.append("has white space around it")
    if len(kept) > 1 and kept[0] == kept[-1] and kept[0] in "\"'":
        kept = kept[1:-1]
        wrong.append("has quotes around it")
    if not kept.startswith(SECRET):
        wrong.append(f"lacks {SECRET} at its beginning, which most libraries ask for")
    while kept.startswith(SECRET):
        kept = kept.removeprefix(SECRET)
        if kept.startswith(SECRET):
            wrong.append(f"begins with {SECRET} twice")
    if "-" in kept or "_" in kept:
        kept = kept.replace("-", "+").replace("_", "/")
        wrong.append("is written as URL-safe base64 (- and _): the secret has + and / there")
    if len(kept) % 4:
        kept += "=" * (-len(kept) % 4)
        wrong.append("lacks = at its end")
    try:
        key = base64.b64decode(kept, validate=True)
    except binascii.Error:
        return None
    return Reading(key, "; it ".join(wrong) or None) if key else None


def bodies(body: bytes) -> Iterator[tuple[bytes, str]]:
    """What the body may have been before somebody touched it, with what was done to it."""
    for other, done in _bodies(body):
        if other is not None and other != body:
            yield other, done


def _bodies(body: bytes) -> Iterator[tuple[bytes | None, str]]:
    yield body.removeprefix(_BOM), "a byte order mark was put before it"
    yield body.strip(), "white space was added at its beginning or end, such as a line's end"
    yield _or_none(lambda: base64.b64decode(body, validate=True)), "it is still in base64: decode it first"
    yield (
        _or_none(lambda: body.decode().encode("latin-1")),
        "it was read in another charset than UTF-8 and written again; take the bytes as they came",
    )
    parsed = _or_none(lambda: orjson.loads(body))
    if isinstance(parsed, str):
        yield parsed.encode(), "it was written as a JSON string inside JSON"
    if not isinstance(parsed, dict):
        return
    yield (
        orjson.dumps(parsed),
        "it was read as JSON and written again, with other spaces or other escapes: keep the raw bytes of the request",
    )
    yield (
        orjson.dumps(_in_order(parsed)),
        "it was read as JSON and written again, with its members in another order: keep the raw bytes of the request",
    )


def _in_order(value: Any) -> Any:
    """JSON with its members in the order in which the hub writes them."""
    if isinstance(value, list):
        return [_in_order(item) for item in value]
    if not isinstance(value, dict):
        return value
    names = sorted(value, key=lambda name: _RANK.get(name, len(_RANK)))
    return {name: _in_order(value[name]) for name in names}


def _or_none(act: Callable[[], Any]) -> Any:
    try:
        return act()
    except (ValueError, binascii.Error):
        return None


def computed_by(
    computed: str, secret: str, key: bytes, message_id: str, timestamp: str, body: bytes
) -> Sequence[str] | None:
    """Which mistakes of a receiver's code lead to the signature that it computed; none: it is right. None: unknown."""
    found = computed.strip()
    for key_used, key_done in _keys(secret, key):
        for content, content_done in _contents(message_id, timestamp, body):
            digest = hmac.digest(key_used, content, "sha256")
            for text, form_done in _forms(digest):
                if hmac.compare_digest(text.encode(), found.encode()):
                    return [done for done in (key_done, content_done, form_done) if done]
    return None


def _keys(secret: str, key: bytes) -> Iterator[tuple[bytes, str]]:
    bare = secret.strip().removeprefix(SECRET)
    yield key, ""
    yield secret.strip().encode(), f"it takes the secret's text, with {SECRET}, for the key: decode it from base64"
    yield bare.encode(), f"it takes the text after {SECRET} for the key: decode it from base64"
    yield key.hex().encode(), "it takes the key in hexadecimal for the key: use the bytes"
    yield base64.b64encode(bare.encode()), "it encodes the secret in base64 once more: decode it"


def _contents(message_id: str, timestamp: str, body: bytes) -> Iterator[tuple[bytes, str]]:
    head = f"{message_id}.{timestamp}."
    yield head.encode() + body, ""
    yield body, "it signs the body alone: the content is webhook-id, a dot, webhook-timestamp, a dot, and the body"
    yield f"{timestamp}.".encode() + body, "it leaves out webhook-id and its dot"
    yield f"{message_id}.".encode() + body, "it leaves out webhook-timestamp and its dot"
    yield f"{timestamp}.{message_id}.".encode() + body, "it has webhook-timestamp before webhook-id"
    yield f"{message_id}{timestamp}".encode() + body, "it leaves out the dots"
    yield f"{message_id}.{timestamp}000.".encode() + body, "it takes the time in milliseconds"
    for other, done in bodies(body):
        yield head.encode() + other, f"its body differs from the one given here: in the latter {done}"
    parsed = _or_none(lambda: orjson.loads(body))
    if isinstance(parsed, dict):
        for text in written_again(parsed):
            yield head.encode() + text, "it reads the body as JSON and writes it again: sign the raw bytes"


def written_again(parsed: dict[str, Any]) -> Iterator[bytes]:
    """JSON as other libraries write it."""
    for indent, separators, ordered in (
        (None, None, False), (None, (",", ":"), False), (2, None, False), (4, None, False), (None, (",", ":"), True),
        (None, None, True),
    ):  # fmt: skip
        for ascii_only in (True, False):
            text = json.dumps(parsed, indent=indent, separators=separators, sort_keys=ordered, ensure_ascii=ascii_only)
            yield text.encode()


def _forms(digest: bytes) -> Iterator[tuple[str, str]]:
    text = base64.b64encode(digest).decode()
    yield f"v1,{text}", ""
    yield text, "it lacks `v1,` before the signature"
    yield f"v1={text}", "it has `v1=` in place of `v1,`"
    yield f"v1,{text.rstrip('=')}", "it lacks = at the end"
    yield text.rstrip("="), "it lacks `v1,` before the signature and = at its end"
    safe = base64.urlsafe_b64encode(digest).decode()
    for form in (safe, f"v1,{safe}", safe.rstrip("="), f"v1,{safe.rstrip('=')}"):
        yield form, "it is written as URL-safe base64"
    for form in (digest.hex(), f"v1,{digest.hex()}", digest.hex().upper(), f"sha256={digest.hex()}"):
        yield form, "it is written in hexadecimal: write it in base64"


def mended_entry(entry: str) -> tuple[str, str | None]:
    """An entry of ``webhook-signature`` in its right form, with what was wrong with it; None where nothing was."""
    wrong: list[str] = []
    scheme, comma, text = entry.partition(",")
    if not comma:
        scheme, _, text = entry.partition("=") if entry.startswith("v1=") else ("v1", "", entry)
        wrong.append("`v1,` is missing before the signature")
    if _HEX.fullmatch(text):
        text = base64.b64encode(bytes.fromhex(text)).decode()
        wrong.append("the signature is in hexadecimal and not in base64")
    if "-" in text or "_" in text:
        text = text.replace("-", "+").replace("_", "/")
        wrong.append("the signature is URL-safe base64 (- and _), and was sent with + and /")
    if len(text) % 4:
        text += "=" * (-len(text) % 4)
        wrong.append("= is missing at the end of the signature")
    return f"{scheme},{text}", "; ".join(wrong) or None
