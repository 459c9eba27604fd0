"""Requests that are signed with OAuth 1.0a (RFC 5849), two-legged: the parameters, the base string, the signature.

The parameters stand in the ``Authorization`` header, in the query, or in a form in the body, and nowhere else (§3.5).

HMAC-SHA1 and HMAC-SHA256 are known, since OneRoster's clients use both. PLAINTEXT would send the secret itself, and
RSA-SHA1 nobody uses here.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import quote, unquote_to_bytes, urlsplit

Pair = tuple[bytes, bytes]
METHODS = {"HMAC-SHA1": "sha1", "HMAC-SHA256": "sha256"}
_PARAMETER = re.compile(r'\s*([\w.~%-]+)\s*=\s*(?:"([^"]*)"|([^\s",]*))\s*(?:,|$)', re.ASCII)
_TIMESTAMP = re.compile(r"[0-9]{1,12}", re.ASCII)
_CONSUMER_KEY = re.compile(r"[\x21-\x7e]{1,255}", re.ASCII)
_LONGEST = 255
_MOST_PARAMETERS = 30
#: Pairs of the query and of a form, each of which is encoded and sorted before anything is known of who sends them.
_MOST_PAIRS = 100
_DEFAULT_PORTS = {"http": 80, "https": 443}
_PREFIX = b"oauth_"
_SIGNATURE = b"oauth_signature"


class Place(StrEnum):
    """Where the parameters may stand, in words of refusals."""

    HEADER = "the Authorization header"
    QUERY = "the query"
    BODY = "the form in the body"


class MalformedError(Exception):
    """A request that no signature can be checked of; the text says what to mend and repeats nothing of it."""


@dataclass(frozen=True, slots=True)
class Signed:
    """What the OAuth parameters say. ``parameters``: those of the header that were signed; others are in the forms."""

    consumer_key: str
    method: str
    timestamp: int  # seconds since 1970
    nonce: str
    signature: str
    body_hash: str | None
    parameters: tuple[Pair, ...]


def read(header: str | None, query: Sequence[Pair] = (), form: Sequence[Pair] = ()) -> Signed | None:
    """The OAuth parameters of a request; None for one that has none.

    ``header``: what stands behind the scheme of an ``Authorization: OAuth``, if there is one. Raises MalformedError
    for parameters in several places, and for such that no signature can be checked of.
    """
    given = {
        Place.HEADER: None if header is None else list(_pairs(header)),
        Place.QUERY: [pair for pair in query if pair[0].startswith(_PREFIX)] or None,
        Place.BODY: [pair for pair in form if pair[0].startswith(_PREFIX)] or None,
    }
    places = [(place, pairs) for place, pairs in given.items() if pairs is not None]
    if not places:
        return None
    if len(places) > 1:
        where = " and in ".join(place for place, _ in places)
        raise MalformedError(f"OAuth's parameters stand in {where}. Send them in one place.")
    ((place, pairs),) = places
    found = _unique(place, pairs)
    _check(place, found)
    return Signed(
        found["oauth_consumer_key"],
        found["oauth_signature_method"],
        int(found["oauth_timestamp"]),
        found["oauth_nonce"],
        found["oauth_signature"],
        found.get("oauth_body_hash"),
        tuple(pair for pair in pairs if pair[0] != b"realm") if place is Place.HEADER else (),
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


def _unique(place: Place, pairs: Sequence[Pair]) -> dict[str, str]:
    if max(Counter(name for name, _ in pairs).values(), default=0) > 1:
        raise MalformedError(f"A parameter of {place} is given twice.")
    return {name.decode("ascii", "replace"): value.decode("utf-8", "surrogateescape") for name, value in pairs}


def _check(place: Place, found: dict[str, str]) -> None:
    needed = ("oauth_consumer_key", "oauth_signature_method", "oauth_timestamp", "oauth_nonce", "oauth_signature")
    missing = [name for name in needed if not found.get(name)]
    if missing:
        raise MalformedError(f"{place[0].upper()}{place[1:]} lacks {', '.join(missing)}.")
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


def base_string(signed: Signed, method: str, address: str, *forms: Sequence[Pair]) -> bytes:
    """What was signed (RFC 5849 §3.4.1). ``address`` has no query; ``forms`` are the query and a form in the body."""
    pairs = [*signed.parameters, *(pair for form in forms for pair in form)]
    named = sorted((_encoded(name), _encoded(value)) for name, value in pairs if name != _SIGNATURE)
    parameters = "&".join(f"{name}={value}" for name, value in named)
    return "&".join((_encoded(method.upper().encode()), _encoded(address.encode("utf-8", "surrogateescape")),
                     _encoded(parameters.encode()))).encode()  # fmt: skip


def form_pairs(form: bytes) -> list[Pair]:
    """The pairs of ``application/x-www-form-urlencoded``, in which a space is + or %20. Raises MalformedError."""
    if form.count(b"&") >= _MOST_PAIRS:
        raise MalformedError(f"A signed request has {_MOST_PAIRS} parameters at most.")
    found = []
    for part in form.split(b"&"):
        if part:
            name, _, value = part.replace(b"+", b" ").partition(b"=")
            found.append((unquote_to_bytes(name), unquote_to_bytes(value)))
    return found


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
