"""Requests that are signed with OAuth 1.0a (RFC 5849), two-legged: the header, the base string, the signature.

HMAC-SHA1 and HMAC-SHA256 are known, since OneRoster's clients use both. PLAINTEXT would send the secret itself, and
RSA-SHA1 nobody uses here.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes, urlsplit

Pair = tuple[bytes, bytes]
METHODS = {"HMAC-SHA1": "sha1", "HMAC-SHA256": "sha256"}
_PARAMETER = re.compile(r'\s*([\w.~%-]+)\s*=\s*(?:"([^"]*)"|([^\s",]*))\s*(?:,|$)', re.ASCII)
_TIMESTAMP = re.compile(r"[0-9]{1,12}", re.ASCII)
_CONSUMER_KEY = re.compile(r"[\x21-\x7e]{1,255}", re.ASCII)
_LONGEST = 255
_MOST_PARAMETERS = 30
_DEFAULT_PORTS = {"http": 80, "https": 443}
_UNSIGNED = (b"realm", b"oauth_signature")


class MalformedError(Exception):
    """A header that no signature can be checked of; the text says what to mend and repeats nothing of it."""


@dataclass(frozen=True, slots=True)
class Signed:
    """What an ``Authorization: OAuth …`` header says. ``parameters`` are those of it that were signed."""

    consumer_key: str
    method: str
    timestamp: int  # seconds since 1970
    nonce: str
    signature: str
    body_hash: str | None
    parameters: tuple[Pair, ...]


def read(header: str) -> Signed:
    """The parameters of the header behind its scheme. Raises MalformedError."""
    pairs = list(_pairs(header))
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        raise MalformedError("A parameter of the Authorization header is given twice.")
    found = {name.decode("ascii", "replace"): value.decode("utf-8", "surrogateescape") for name, value in pairs}
    _check(found)
    return Signed(
        found["oauth_consumer_key"],
        found["oauth_signature_method"],
        int(found["oauth_timestamp"]),
        found["oauth_nonce"],
        found["oauth_signature"],
        found.get("oauth_body_hash"),
        tuple(pair for pair in pairs if pair[0] not in _UNSIGNED),
    )


def _pairs(header: str) -> Iterator[Pair]:
    at = 0
    for _ in range(_MOST_PARAMETERS):
        if at >= len(header):
            return
        match = _PARAMETER.match(header, at)
        if match is None:
            break
        name, quoted, bare = match.groups()
        yield _decoded(name), _decoded(quoted if quoted is not None else bare)
        at = match.end()
    raise MalformedError('The Authorization header is not of the form OAuth name="value", name="value", ….')


def _check(found: dict[str, str]) -> None:
    needed = ("oauth_consumer_key", "oauth_signature_method", "oauth_timestamp", "oauth_nonce", "oauth_signature")
    missing = [name for name in needed if not found.get(name)]
    if missing:
        raise MalformedError(f"The Authorization header lacks {', '.join(missing)}.")
    if found["oauth_signature_method"] not in METHODS:
        raise MalformedError(f"Sign with one of {', '.join(METHODS)}.")
    if found.get("oauth_version", "1.0") != "1.0":
        raise MalformedError("oauth_version can only be 1.0.")
    if found.get("oauth_token"):
        raise MalformedError("Sign without oauth_token: the consumer's secret is all that counts here.")
    if not _CONSUMER_KEY.fullmatch(found["oauth_consumer_key"]):
        raise MalformedError("oauth_consumer_key is no client's id.")
    if not _TIMESTAMP.fullmatch(found["oauth_timestamp"]):
        raise MalformedError("oauth_timestamp is not a number of seconds since 1970.")
    if len(found["oauth_nonce"]) > _LONGEST:
        raise MalformedError(f"oauth_nonce has {_LONGEST} characters at most.")


def base_string(signed: Signed, method: str, address: str, *forms: bytes) -> bytes:
    """What was signed (RFC 5849 §3.4.1). ``address`` has no query; ``forms`` are the query and a form in the body."""
    pairs = [*signed.parameters, *(pair for form in forms for pair in form_pairs(form))]
    named = sorted((_encoded(name), _encoded(value)) for name, value in pairs)
    parameters = "&".join(f"{name}={value}" for name, value in named)
    return "&".join((_encoded(method.upper().encode()), _encoded(address.encode("utf-8", "surrogateescape")),
                     _encoded(parameters.encode()))).encode()  # fmt: skip


def form_pairs(form: bytes) -> Iterable[Pair]:
    """The pairs of ``application/x-www-form-urlencoded``, in which a space is + or %20."""
    for part in form.split(b"&"):
        if part:
            name, _, value = part.replace(b"+", b" ").partition(b"=")
            yield unquote_to_bytes(name), unquote_to_bytes(value)


def without_default_port(url: str) -> str:
    """The beginning of an address as it is signed: scheme and host in lower case, no port that goes without saying."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    host = f"[{host}]" if ":" in host else host
    port = "" if parts.port in (None, _DEFAULT_PORTS.get(parts.scheme.lower())) else f":{parts.port}"
    return f"{parts.scheme.lower()}://{host}{port}{parts.path}"


def matches(signed: Signed, base: bytes, secret: str) -> bool:
    """Whether this secret made the signature of a base string."""
    key = quote(secret, safe="") + "&"
    made = base64.b64encode(hmac.digest(key.encode(), base, METHODS[signed.method]))
    return hmac.compare_digest(made, signed.signature.encode("utf-8", "surrogateescape"))


def fits_body(signed: Signed, body: bytes) -> bool:
    """Whether a body is the one whose hash was signed, where one was (the extension oauth_body_hash)."""
    if signed.body_hash is None:
        return True
    hashes = (base64.b64encode(hashlib.new(name, body).digest()).decode() for name in METHODS.values())
    return any(hmac.compare_digest(made.encode(), signed.body_hash.encode("utf-8", "surrogateescape"))
               for made in hashes)  # fmt: skip


def _decoded(text: str) -> bytes:
    return unquote_to_bytes(text.encode("utf-8", "surrogateescape"))


def _encoded(value: bytes) -> str:
    return quote(value, safe="")
