"""Why a signature does not hold: the checks of a receiver one by one, in plain words. Pure.

Nothing that is answered here helps to forge a message: neither a secret nor a signature that was not given is told.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from hub.webhooks import mistakes, sign
from hub.webhooks.sign import secret_bytes

TOLERANCE_SECONDS = 300
#: The receiver's clock and the hub's may differ by so much without a word.
CLOCKS_SECONDS = 30
HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")
_SHOWN = 60


class Check(StrEnum):
    """What a finding is about. Stable."""

    HEADER_MISSING = "header_missing"
    HEADER_NAME = "header_name"
    TIMESTAMP_FORM = "timestamp_form"
    TIMESTAMP_SKEW = "timestamp_skew"
    CLOCK_SKEW = "clock_skew"
    SIGNATURE_FORM = "signature_form"
    SIGNATURE_SCHEME = "signature_scheme"
    UNKNOWN_ID = "unknown_id"
    OTHER_SUBSCRIPTION = "other_subscription"
    SECRET_FORM = "secret_form"
    SECRET_ENDED = "secret_ended"
    SECRET_WRONG = "secret_wrong"
    BODY_EMPTY = "body_empty"
    BODY_ALTERED = "body_altered"
    BODY_REWRITTEN = "body_rewritten"
    MISMATCH = "mismatch"
    COMPUTED = "computed"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found. ``fails``: a receiver that checks it refuses the message."""

    check: Check
    text: str
    fails: bool = True


@dataclass(frozen=True, slots=True)
class Ended:
    """A secret that signs no more since ``until``."""

    secret: str
    until: datetime


@dataclass(frozen=True, slots=True)
class Received:
    """A message as a receiver has it. ``received_at``: its own clock then; ``computed``: what its code came to."""

    headers: Mapping[str, str]
    body: bytes
    received_at: datetime | None = None
    computed: str | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the truth. ``secrets``: the live keys (``whsec_``, ``whsk_`` or ``whpk_``), newest first.

    ``sent``: the body that was signed, None where it is not kept. ``sent_id``: whether the id is one that was sent;
    None where nobody knows. ``subscription``: whose message it is to be.
    """

    secrets: Sequence[str]
    now: datetime
    ended: Sequence[Ended] = ()
    sent: bytes | None = None
    sent_id: bool | None = None
    subscription: str | None = None


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """``verified``: the signature holds for the body. ``content``: what the signed content begins with."""

    verified: bool
    findings: list[Finding] = field(default_factory=list)
    content: str | None = None

    @property
    def fails(self) -> bool:
        """Whether a receiver has a reason to refuse the message."""
        return any(finding.fails for finding in self.findings)


def diagnose(received: Received, known: Known) -> Diagnosis:
    """What is wrong with a message, or with the receiver that refuses it."""
    findings: list[Finding] = []
    headers = _headers(received.headers, findings)
    message_id, sent_at, given = (headers.get(name, "") for name in HEADERS)
    if sent_at:
        findings += _times(sent_at, received.received_at, known.now)
    if message_id and known.sent_id is False:
        text = "The hub has sent no message with this webhook-id to this subscription within 30 days."
        findings.append(Finding(Check.UNKNOWN_ID, text))
    findings += _addressee(received.body, known.subscription)
    if not message_id or not sent_at or not given:
        return Diagnosis(verified=False, findings=findings)
    entries = _entries(given, {_scheme(key) for key in known.secrets}, findings)
    verified = _matches(known.secrets, message_id, sent_at, received.body, entries)
    if not verified:
        findings += _why(received, known, message_id, sent_at, entries)
    if received.computed is not None:
        findings.append(_computed(received, known, message_id, sent_at))
    start = f"{message_id}.{sent_at}.{received.body[:_SHOWN].decode('utf-8', 'replace')}"
    return Diagnosis(verified, findings, "".join(c for c in start if c.isprintable()))


def named(given: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """The three headers, each with the name under which it stands there and its value, as far as they are there."""
    plain = {re.sub(r"^http_", "", name.strip().lower()).replace("_", "-"): (name, v) for name, v in given.items()}
    found: dict[str, tuple[str, str]] = {}
    for wanted in HEADERS:
        for name in (wanted, wanted.replace("webhook", "svix"), f"x-{wanted}"):
            if name in plain:
                written, value = plain[name]
                found[wanted] = (written.strip(), value.strip())
                break
    return found


def _headers(given: Mapping[str, str], findings: list[Finding]) -> dict[str, str]:
    """The three headers by their names, also where somebody gave them others."""
    found: dict[str, str] = {}
    there = named(given)
    for wanted in HEADERS:
        written, found[wanted] = there.get(wanted, (wanted, ""))
        if written.lower() != wanted:
            text = f"{wanted} is here as {written}: your code has to look for it under the name that it has."
            findings.append(Finding(Check.HEADER_NAME, text, fails=False))
        if not found[wanted]:
            text = (
                f"The header {wanted} is missing. The hub sends it with every message: something between the hub and"
                " your code drops it, or your code looks for another name (names have no upper or lower case)."
            )
            findings.append(Finding(Check.HEADER_MISSING, text))
    return found


def _times(sent_at: str, received_at: datetime | None, now: datetime) -> list[Finding]:
    if not sent_at.isascii() or not sent_at.isdigit() or len(sent_at) > 12:
        milliseconds = " This one looks like milliseconds." if sent_at.isdigit() else ""
        text = f"webhook-timestamp has to be whole seconds since 1970, as the hub sends it.{milliseconds}"
        return [Finding(Check.TIMESTAMP_FORM, text)]
    signed, hub = int(sent_at), int(now.timestamp())
    clocks = f"Signed at {_moment(signed)} by the hub's clock, which says {_moment(hub)} now"
    if received_at is None:
        if abs(hub - signed) <= TOLERANCE_SECONDS:
            return []
        text = (
            f"{clocks}: {hub - signed} seconds later. That does no harm if you look at it afterwards, but a receiver"
            f" with the usual tolerance refuses it now ({TOLERANCE_SECONDS} s). Say when it came (received_at) to have"
            " the clocks compared."
        )
        return [Finding(Check.TIMESTAMP_SKEW, text, fails=False)]
    there = int(received_at.timestamp())
    if abs(there - signed) > TOLERANCE_SECONDS:
        text = (
            f"{clocks}; your clock said {_moment(there)} when it came, {there - signed} seconds after the signature,"
            f" and more than {TOLERANCE_SECONDS} are refused. Either your clock is wrong, or the message waited on its"
            " way to your code: check it where it comes in, before any queue."
        )
        return [Finding(Check.TIMESTAMP_SKEW, text)]
    if signed - there > CLOCKS_SECONDS:
        text = f"{clocks}; your clock said {_moment(there)} when it came, which is before it was sent: set your clock."
        return [Finding(Check.CLOCK_SKEW, text, fails=False)]
    return []


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _addressee(body: bytes, subscription: str | None) -> list[Finding]:
    """Whether the message says itself that it is for another subscription, which has another secret."""
    named = re.search(rb'"subscription"\s*:\s*"([0-9a-f-]{36})"', body[:2000])
    if subscription is None or named is None or named[1].decode() == subscription:
        return []
    text = f"This message belongs to the subscription {named[1].decode()}: that one has a secret of its own."
    return [Finding(Check.OTHER_SUBSCRIPTION, text)]


def _scheme(key: str) -> str:
    return "v1a" if key.startswith((sign.PRIVATE, sign.PUBLIC)) else "v1"


def _entries(given: str, schemes: Collection[str], findings: list[Finding]) -> list[str]:
    """The entries of the schemes that are known, those of v1 mended where they can be."""
    texts = given.split()
    if len(texts) == 1 and given.count("v1,") > 1:
        texts = re.findall(r"v1,[^,\s]+", given)
        findings.append(
            Finding(Check.SIGNATURE_FORM, "The entries of webhook-signature are separated by spaces, not commas.")
        )
    entries = []
    for text in texts:
        if re.match(r"v\d+[a-z]+,|v(?!1,)\d+,", text):
            entries.append(text)
            continue
        mended, wrong = mistakes.mended_entry(text)
        if wrong is not None:
            findings.append(Finding(Check.SIGNATURE_FORM, f"webhook-signature is not as it was sent: {wrong}."))
        entries.append(mended)
    if not any(entry.startswith(f"{scheme},") for entry in entries for scheme in schemes):
        text = f"webhook-signature has no entry of {' or '.join(sorted(schemes))}, which this subscription uses."
        findings.append(Finding(Check.SIGNATURE_SCHEME, text))
    return entries


def _matches(secrets: Sequence[str], message_id: str, sent_at: str, body: bytes, entries: Sequence[str]) -> bool:
    if not sent_at.isascii() or not sent_at.isdigit():
        return False
    headers = dict(zip(HEADERS, (message_id, sent_at, " ".join(entries)), strict=True))
    keys = [sign.public_key(key) if key.startswith(sign.PRIVATE) else key for key in secrets]
    return any(sign.verify(key, headers, body, now=int(sent_at)) for key in keys)


def _why(received: Received, known: Known, message_id: str, sent_at: str, entries: Sequence[str]) -> list[Finding]:
    """Why no live secret gives one of the entries."""
    body = received.body

    def holds(secrets: Sequence[str], text: bytes) -> bool:
        return _matches(secrets, message_id, sent_at, text, entries)

    for ended in known.ended:
        if holds([ended.secret], body):
            text = (
                f"It was signed with a secret that ended on {_moment(int(ended.until.timestamp()))}. The hub signs with"
                " the one that was shown when it was rotated: use that."
            )
            return [Finding(Check.SECRET_ENDED, text)]
    if not body:
        text = "The body is empty: your framework has read it already, or the proxy dropped it. Take it before that."
        return [Finding(Check.BODY_EMPTY, text)]
    for other, done in mistakes.bodies(body):
        if holds(known.secrets, other):
            return [Finding(Check.BODY_REWRITTEN, f"The body is not what the hub signed: {done}.")]
    if known.sent is not None and holds(known.secrets, known.sent):
        return [Finding(Check.BODY_ALTERED, _differs(known.sent, body))]
    if known.sent is not None and known.sent == body:
        text = "The body is what the hub sent, but none of its secrets gives this signature for this id and time."
        return [Finding(Check.SECRET_WRONG, text)]
    text = (
        "Neither this body nor a form of it that was written again gives this signature with the secret. Either the"
        " secret is another one (one of another subscription, or one from before a rotation), or the id, the time or"
        " the body was changed on the way. Compare the length of the body with content-length."
    )
    return [Finding(Check.MISMATCH, text)]


def _differs(sent: bytes, body: bytes) -> str:
    place = next((i for i, (a, b) in enumerate(zip(sent, body, strict=False)) if a != b), min(len(sent), len(body)))
    return (
        f"The body is not what the hub signed: it differs from byte {place} on, and has {len(body)} bytes in place of"
        f" {len(sent)}. Check the raw bytes of the request, before anything reads them as JSON or text."
    )


def _computed(received: Received, known: Known, message_id: str, sent_at: str) -> Finding:
    """What the receiver's own result says about its code."""
    computed = received.computed or ""
    for secret in (key for key in known.secrets if _scheme(key) == "v1"):
        done = mistakes.computed_by(computed, secret, secret_bytes(secret), message_id, sent_at, received.body)
        if done is not None:
            text = f"Your code comes to its signature because {', and '.join(done)}." if done else (
                "What your code computed is right: compare it with each entry of webhook-signature, in constant time."
            )  # fmt: skip
            return Finding(Check.COMPUTED, text, fails=bool(done))
    for ended in (each for each in known.ended if _scheme(each.secret) == "v1"):
        key = secret_bytes(ended.secret)
        if mistakes.computed_by(computed, ended.secret, key, message_id, sent_at, received.body) is not None:
            text = f"Your code uses a secret that ended on {_moment(int(ended.until.timestamp()))}."
            return Finding(Check.SECRET_ENDED, text)
    text = (
        "What your code computed comes from none of the usual mistakes with this secret: it uses another secret or"
        " another body. Print the length of the key (32 bytes) and of the signed content in your code."
    )
    return Finding(Check.COMPUTED, text)
