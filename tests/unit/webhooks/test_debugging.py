"""What a receiver is told of a message that it refuses: each mistake by its name, and nothing that helps to forge."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from hub.webhooks import sign
from hub.webhooks.debugging import Check, Diagnosis, Ended, Known, Received, diagnose
from hub.webhooks.mistakes import read_secret

# Not random: names of tests are made of them, and have to be the same in every process.
SECRET, OTHER, OLD = ("whsec_" + base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2, 3))
NOW = datetime(2026, 9, 1, 12, tzinfo=UTC)
AT = int(NOW.timestamp())
SUBSCRIPTION = "0197a000-0000-7000-8000-000000000001"
DATA: dict[str, Any] = {
    "type": "roster.changes", "timestamp": "2026-09-01T12:00:00.000Z",
    "data": {
        "subscription": SUBSCRIPTION, "district": "d", "grant": "g", "from": 1, "to": 2, "more": False,
        "changes": [{"type": "users.updated", "sourcedId": "ä/ü", "version": 2, "href": "https://hub.example/ä"}],
    },
}  # fmt: skip
BODY = orjson.dumps(DATA)
KNOWN = Known([SECRET], NOW, subscription=SUBSCRIPTION)


def message(body: bytes = BODY, *, secrets: tuple[str, ...] = (SECRET,), at: int = AT, **changed: str) -> Received:
    headers = {**sign.headers(secrets, "msg_1", at, BODY), **{n.replace("_", "-"): v for n, v in changed.items()}}
    return Received({n: v for n, v in headers.items() if v}, body)


def checks(found: Diagnosis) -> list[Check]:
    return [finding.check for finding in found.findings]


def test_what_is_right_verifies_and_shows_what_was_signed() -> None:
    found = diagnose(message(secrets=(OTHER, SECRET)), KNOWN)
    assert (found.verified, found.findings, found.fails) == (True, [], False)
    assert found.content is not None
    assert found.content.startswith(f'msg_1.{AT}.{{"type":"roster.changes"')
    assert diagnose(Received({k.upper(): v for k, v in message().headers.items()}, BODY), KNOWN).verified


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_missing_header_is_named(name: str) -> None:
    found = diagnose(message(**{name: ""}), KNOWN)
    assert checks(found) == [Check.HEADER_MISSING]
    assert name in found.findings[0].text
    assert not found.verified


def test_headers_under_other_names_are_found() -> None:
    wsgi = {"HTTP_" + n.upper().replace("-", "_"): v for n, v in message().headers.items()}
    found = diagnose(Received(wsgi, BODY), KNOWN)
    assert (found.verified, checks(found), found.fails) == (True, [Check.HEADER_NAME] * 3, False)
    assert "HTTP_WEBHOOK_ID" in found.findings[0].text
    svix = {n.replace("webhook", "svix"): v for n, v in message().headers.items()}
    assert diagnose(Received(svix, BODY), KNOWN).verified


@pytest.mark.parametrize(
    ("received", "now", "expected", "fails"),
    [
        (timedelta(seconds=299), timedelta(hours=5), [], False),
        (timedelta(seconds=301), timedelta(seconds=301), [Check.TIMESTAMP_SKEW], True),
        (timedelta(seconds=-301), timedelta(), [Check.TIMESTAMP_SKEW], True),
        (timedelta(seconds=-60), timedelta(), [Check.CLOCK_SKEW], False),
        (None, timedelta(days=2), [Check.TIMESTAMP_SKEW], False),
        (None, timedelta(seconds=299), [], False),
    ],
)
def test_both_clocks_are_compared(
    received: timedelta | None, now: timedelta, expected: list[Check], *, fails: bool
) -> None:
    got = replace(message(), received_at=None if received is None else NOW + received)
    found = diagnose(got, replace(KNOWN, now=NOW + now))
    assert (found.verified, checks(found), found.fails) == (True, expected, fails)
    if received is not None and expected:
        assert f"your clock said {NOW + received:%Y-%m-%d %H:%M:%S} UTC" in found.findings[0].text
        assert f"Signed at {NOW:%Y-%m-%d %H:%M:%S} UTC by the hub's clock" in found.findings[0].text


def test_a_time_in_milliseconds_is_told() -> None:
    found = diagnose(message(webhook_timestamp=str(AT * 1000)), KNOWN)
    assert checks(found)[0] is Check.TIMESTAMP_FORM
    assert "milliseconds" in found.findings[0].text
    assert not found.verified


def test_the_secret_that_has_ended_is_told_with_its_end() -> None:
    until = NOW - timedelta(hours=1)
    found = diagnose(message(secrets=(OLD,)), replace(KNOWN, ended=[Ended(OLD, until)]))
    assert checks(found) == [Check.SECRET_ENDED]
    assert "2026-09-01 11:00:00 UTC" in found.findings[0].text


def _spaced(_: bytes) -> bytes:
    return json.dumps(DATA).encode()


def _sorted(_: bytes) -> bytes:
    return json.dumps(DATA, sort_keys=True, indent=2, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("alter", "words"),
    [
        (_spaced, "read as JSON and written again"),
        (_sorted, "members in another order"),
        (lambda b: b + b"\r\n", "white space"),
        (lambda b: b"\xef\xbb\xbf" + b, "byte order mark"),
        (base64.b64encode, "base64"),
        (lambda b: b.decode("latin-1").encode(), "charset"),
        (lambda b: json.dumps(b.decode()).encode(), "JSON string inside JSON"),
    ],
)
def test_a_body_that_was_written_again_is_told_from_one_that_was_altered(
    alter: Callable[[bytes], bytes], words: str
) -> None:
    found = diagnose(message(alter(BODY)), KNOWN)
    assert checks(found) == [Check.BODY_REWRITTEN]
    assert words in found.findings[0].text


def test_an_altered_body_is_told_by_its_place_where_the_sent_one_is_kept() -> None:
    altered = BODY.replace(b'"to":2', b'"to":3')
    assert checks(diagnose(message(altered), KNOWN)) == [Check.MISMATCH]
    found = diagnose(message(altered), replace(KNOWN, sent=BODY))
    assert checks(found) == [Check.BODY_ALTERED]
    assert f"byte {BODY.index(b':2,') + 1} on" in found.findings[0].text
    assert checks(diagnose(message(b""), replace(KNOWN, sent=BODY))) == [Check.BODY_EMPTY]
    assert checks(diagnose(message(secrets=(OTHER,)), replace(KNOWN, sent=BODY))) == [Check.SECRET_WRONG]
    assert checks(diagnose(message(), replace(KNOWN, sent_id=False))) == [Check.UNKNOWN_ID]
    other = replace(KNOWN, subscription="another")
    found = diagnose(message(secrets=(OTHER,)), other)
    assert checks(found) == [Check.OTHER_SUBSCRIPTION, Check.MISMATCH]
    assert SUBSCRIPTION in found.findings[0].text


def _entry(change: Callable[[str], str]) -> Received:
    return message(webhook_signature=change(message().headers["webhook-signature"]))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.removeprefix("v1,"), "`v1,` is missing"),
        (lambda s: s.replace("v1,", "v1="), "`v1,` is missing"),
        (lambda s: s.rstrip("="), "= is missing"),
        (lambda s: f"{s},{s}", "separated by spaces"),
        (lambda s: "v1," + base64.b64decode(s[3:]).hex(), "hexadecimal"),
    ],
)
def test_a_signature_that_was_mangled_is_read_all_the_same(change: Callable[[str], str], words: str) -> None:
    found = diagnose(_entry(change), KNOWN)
    assert (found.verified, checks(found)) == (True, [Check.SIGNATURE_FORM])
    assert words in found.findings[0].text


def test_url_safe_signatures_and_other_schemes() -> None:
    at = next(at for at in range(AT, AT + 500) if {"+", "/"} & set(message(at=at).headers["webhook-signature"]))
    safe = message(at=at).headers["webhook-signature"].replace("+", "-").replace("/", "_")
    found = diagnose(message(at=at, webhook_signature=safe), KNOWN)
    assert (found.verified, checks(found)) == (True, [Check.SIGNATURE_FORM])
    assert "URL-safe" in found.findings[0].text
    assert checks(diagnose(message(webhook_signature="v1a,abcd"), KNOWN))[0] is Check.SIGNATURE_SCHEME


KEY = sign.secret_bytes(SECRET)
SIGNED = f"msg_1.{AT}.".encode() + BODY


def _mac(key: bytes, content: bytes) -> bytes:
    return hmac.new(key, content, hashlib.sha256).digest()


@pytest.mark.parametrize(
    ("digest", "words"),
    [
        (_mac(SECRET.encode(), SIGNED), "takes the secret's text, with whsec_"),
        (_mac(SECRET.removeprefix("whsec_").encode(), SIGNED), "takes the text after whsec_"),
        (_mac(KEY, BODY), "signs the body alone"),
        (_mac(KEY, f"{AT}.".encode() + BODY), "leaves out webhook-id"),
        (_mac(KEY, f"msg_1.{AT}000.".encode() + BODY), "milliseconds"),
        (_mac(KEY, f"msg_1.{AT}.".encode() + _spaced(b"")), "reads the body as JSON and writes it again"),
        (_mac(SECRET.encode(), BODY), "signs the body alone"),
    ],
    ids=range(7),
)
def test_the_mistake_of_the_receivers_own_code_is_found_from_its_result(digest: bytes, words: str) -> None:
    found = diagnose(replace(message(), computed="v1," + base64.b64encode(digest).decode()), KNOWN)
    assert (found.verified, checks(found)) == (True, [Check.COMPUTED])
    assert words in found.findings[0].text


@pytest.mark.parametrize(
    ("form", "words"),
    [(bytes.hex, "hexadecimal"), (lambda d: base64.b64encode(d).decode(), "lacks `v1,`")],
)
def test_the_form_of_its_result_is_told(form: Callable[[bytes], str], words: str) -> None:
    found = diagnose(replace(message(), computed=form(_mac(KEY, SIGNED))), KNOWN)
    assert words in found.findings[0].text
    right = diagnose(replace(message(), computed=message().headers["webhook-signature"]), KNOWN)
    assert (checks(right), right.fails) == ([Check.COMPUTED], False)
    unknown = diagnose(replace(message(), computed="v1,AAAA"), KNOWN)
    assert (checks(unknown), unknown.fails) == ([Check.COMPUTED], True)
    ended = replace(KNOWN, ended=[Ended(OLD, NOW)])
    old = sign.signature(OLD, "msg_1", AT, BODY)
    assert checks(diagnose(replace(message(), computed=old), ended)) == [Check.SECRET_ENDED]


@pytest.mark.threat("T36")
def test_neither_a_secret_nor_a_signature_is_ever_told() -> None:
    altered = BODY.replace(b'"to":2', b'"to":3')
    given = message(altered).headers["webhook-signature"]
    right = sign.signature(SECRET, "msg_1", AT, altered)
    for known in (KNOWN, replace(KNOWN, sent=BODY), replace(KNOWN, ended=[Ended(OLD, NOW)])):
        for computed in (None, "v1,AAAA", base64.b64encode(_mac(KEY, altered)).decode()):
            text = repr(diagnose(replace(message(altered), computed=computed), known))
            for secret in (SECRET, OLD, KEY.hex(), right, right[3:], given):
                assert secret not in text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s, None),
        (lambda s: s + "\n", "white space"),
        (lambda s: f'"{s}"', "quotes"),
        (lambda s: s.removeprefix("whsec_"), "lacks whsec_"),
        (lambda s: "whsec_" + s, "twice"),
        (lambda s: s.rstrip("="), "lacks ="),
    ],
)
def test_a_secret_is_read_however_it_was_stored(change: Callable[[str], str], words: str | None) -> None:
    found = read_secret(change(SECRET))
    assert found is not None
    assert found.key == KEY
    assert (found.wrong is None) if words is None else (found.wrong is not None and words in found.wrong)


def test_what_is_no_secret_is_none() -> None:
    assert [read_secret(text) for text in ("", "whsec_", "whsec_!!", "pass word")] == [None] * 4
    safe = "whsec_" + base64.urlsafe_b64encode(b"\xff" * 32).decode()
    found = read_secret(safe)
    assert found is not None
    assert (found.key, "URL-safe" in str(found.wrong)) == (b"\xff" * 32, True)


def test_signatures_of_a_public_key_are_checked_with_either_half() -> None:
    private = sign.new_private_key()
    for key in (private, sign.public_key(private)):
        known = replace(KNOWN, secrets=[key])
        assert diagnose(message(secrets=(SECRET, private)), known).verified
        assert checks(diagnose(message(_spaced(b""), secrets=(private,)), known)) == [Check.BODY_REWRITTEN]
        assert checks(diagnose(message(), known))[0] is Check.SIGNATURE_SCHEME
        assert checks(diagnose(message(secrets=(sign.new_private_key(),)), known)) == [Check.MISMATCH]
    assert private not in repr(diagnose(message(), replace(KNOWN, secrets=[private])))
