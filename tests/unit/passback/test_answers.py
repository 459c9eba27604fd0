"""What answers of systems mean, when they are asked again, and that nothing of anybody is kept of their words."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oauthlib.oauth1.rfc5849 import signature as oauth

from connectors.oauth1 import authorization
from hub.passback import answers, schedule
from hub.passback.answers import Means, Outcome, outcome, scrubbed, together
from hub.passback.codes import Down, Trouble
from hub.webhooks.egress import Answer
from hub.webhooks.failure import Failure
from transforms.catalogue import CATALOGUE


def answer(status: int, body: Any = b"") -> Answer:
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    return Answer(status, None if 200 <= status < 300 else Failure.STATUS, 1, None, data)


def info(minor: Any, major: str = "failure", text: str = "") -> dict[str, Any]:
    return {"imsx_codeMajor": major, "imsx_severity": "error", "imsx_description": text, "imsx_codeMinor": minor}


def fields(minor: str) -> dict[str, Any]:
    return {"imsx_codeMinorField": [{"imsx_codeMinorFieldName": "x", "imsx_codeMinorFieldValue": minor}]}


@pytest.mark.parametrize(
    ("method", "given_", "means", "code"),
    [
        ("PUT", answer(200), Means.DONE, ""),
        ("PUT", answer(201, b"created"), Means.DONE, ""),
        ("PUT", answer(204), Means.DONE, ""),
        ("PUT", answer(202, {"result": {}}), Means.DONE, ""),
        ("PUT", answer(200, info(fields("fullsuccess"), "success")), Means.DONE, ""),
        ("PUT", answer(200, info(fields("invaliddata"))), Means.REFUSED, Trouble.INVALID_DATA),
        ("PUT", answer(400, {"statusInfoSet": [info("invalid data")]}), Means.REFUSED, Trouble.INVALID_DATA),
        ("PUT", answer(400, {"statusInfoSet": info("unknown object")}), Means.REFUSED, Trouble.UNKNOWN_OBJECT),
        ("PUT", answer(422, {"imsx_StatusInfo": info(fields("forbidden"))}), Means.REFUSED, Trouble.FORBIDDEN),
        ("PUT", answer(422, [1, 2]), Means.REFUSED, Trouble.INVALID_DATA),
        ("PUT", answer(422, b"{"), Means.REFUSED, Trouble.INVALID_DATA),
        ("PUT", answer(409, info(fields("invaliddata"))), Means.REFUSED, Trouble.CONFLICT),
        ("PUT", answer(404), Means.REFUSED, Trouble.UNKNOWN_OBJECT),
        ("PUT", answer(413), Means.REFUSED, Trouble.TOO_LARGE),
        ("PUT", answer(405), Means.REFUSED, Trouble.NOT_SUPPORTED),
        ("PUT", answer(501), Means.REFUSED, Trouble.NOT_SUPPORTED),
        ("PUT", answer(418), Means.REFUSED, Trouble.REFUSED),
        ("DELETE", answer(404), Means.DONE, ""),
        ("DELETE", answer(410), Means.DONE, ""),
        ("DELETE", answer(422, info(fields("deletefailure"))), Means.REFUSED, Trouble.DELETE_REFUSED),
        ("DELETE", answer(409), Means.REFUSED, Trouble.DELETE_REFUSED),
        ("DELETE", answer(403), Means.REFUSED, Trouble.FORBIDDEN),
        ("PUT", answer(500), Means.AGAIN, Trouble.SERVER_ERROR),
        ("PUT", answer(408), Means.AGAIN, Trouble.SERVER_ERROR),
        ("PUT", Answer(None, Failure.TIMEOUT_READ, 1), Means.AGAIN, Trouble.NO_ANSWER),
        ("PUT", Answer(None, Failure.PROTOCOL, 1), Means.AGAIN, Trouble.NO_ANSWER),
        ("PUT", Answer(None, Failure.DNS, 1), Means.DOWN, Down.DNS),
        ("PUT", Answer(None, Failure.BLOCKED_ADDRESS, 1), Means.DOWN, Down.BLOCKED_ADDRESS),
        ("PUT", answer(401), Means.DOWN, Down.UNAUTHORIZED),
        ("PUT", answer(429), Means.DOWN, Down.RATE_LIMITED),
        ("DELETE", answer(503), Means.DOWN, Down.UNAVAILABLE),
        ("PUT", answer(307), Means.DOWN, Down.REDIRECTED),
    ],
)  # fmt: skip
def test_each_answer_has_one_meaning(method: str, given_: Answer, means: Means, code: str) -> None:
    found = outcome(method, given_)
    assert (found.means, found.code) == (means, code)


def test_a_round_shows_whether_it_is_the_target_that_fails() -> None:
    done, again = Outcome(Means.DONE, status=201), Outcome(Means.AGAIN, Trouble.SERVER_ERROR, 500)
    lost, bad = Outcome(Means.REFUSED, Trouble.UNKNOWN_OBJECT, 404), Outcome(Means.REFUSED, "x", 422)
    down = Outcome(Means.DOWN, Down.RATE_LIMITED, 429)

    def code(*outcomes: Outcome, tried: bool = False) -> str | None:
        found = together(outcomes, tried=tried)
        return None if found is None else found.code

    assert code() is None
    assert code(done, down, bad) == Down.RATE_LIMITED
    assert code(again, again) is None
    assert code(again, again, again) == Down.FAILS_ALL
    assert code(again, again, again, done) is None
    assert code(lost, lost, lost) == Down.REFUSES_ALL
    assert code(lost, lost, lost, tried=True) is None
    assert code(bad, bad, bad) is None


NAMES = ("Ada", "Canary", "May", "Will", "Long", "Field", "Data", "Given", "Jörg", "O'Neil", "van", "de", "Value")


@pytest.mark.threat("T48")
@given(
    st.lists(st.sampled_from(NAMES) | st.from_regex(r"[A-Z][a-zé]{2,9}|[0-9]{1,6}|[a-z]+@[a-z]+\.org", fullmatch=True))
)
def test_no_name_number_or_address_is_left_of_a_description(words: list[str]) -> None:
    text = scrubbed("student " + " ".join(words) + " is not enrolled")
    left = set(text.replace(".", " ").split()) - {"…", "student", "is", "not", "enrolled"}
    # What is left besides are words of the standard and plain ones, in lower case.
    members = {name for e in CATALOGUE.entities for name in (e.name, e.singular, *(f.name for f in e.body))}
    assert all(word in members or word in answers._PLAIN for word in left), text
    assert not left & set(NAMES)
    assert len(scrubbed("x" * 10_000 + " is" * 1000)) <= answers.LONGEST_DESCRIPTION
    assert scrubbed("resultValueMax must be a number, not 'A'") == "resultValueMax must be … number, not …"


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True), st.none() | st.floats(0, 1e9))
def test_waits_grow_and_have_an_end(failures: int, chance: float, asked: float | None) -> None:
    assert 4 <= schedule.object_wait(failures, chance=chance) <= 12 * 3600 * 1.2
    wait = schedule.target_wait(failures, chance=chance, retry_after=asked)
    assert 1 <= wait <= (900 * 1.2 if asked is None else 3600)
    assert schedule.object_wait(failures, chance=0.5) <= schedule.object_wait(failures + 1, chance=0.5)


@pytest.mark.parametrize("method", ["HMAC-SHA1", "HMAC-SHA256"])
@pytest.mark.parametrize("url", ["https://SIS.example:443/a/b%20c", "http://sis.example:8080/x?b=2&a=1+1&a="])
def test_a_signature_is_the_one_that_others_compute(method: Any, url: str) -> None:
    header = authorization("key", "s&cret", method, "PUT", url, nonce="n", at=int(time.time()))
    sent = dict(oauth.collect_parameters(headers={"Authorization": header}, exclude_oauth_signature=False))
    made = sent.pop("oauth_signature")
    pairs = [*sent.items(), *parse_qsl(urlsplit(url).query, keep_blank_values=True)]
    base = oauth.signature_base_string("PUT", oauth.base_string_uri(url), oauth.normalize_parameters(pairs))
    client = type("Client", (), {"client_secret": "s&cret", "resource_owner_secret": ""})
    sign = oauth.sign_hmac_sha256_with_client if method == "HMAC-SHA256" else oauth.sign_hmac_sha1_with_client
    assert sign(base, client) == made
