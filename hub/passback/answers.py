"""What a system's answer to a PUT or DELETE means. Pure.

Sources: OneRoster 1.2 Gradebook binding (statuses, ``imsx_StatusInfo``), 1.1 (``statusInfoSet``); what else systems do
is a list of quirks that the tests' fake has.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus
from typing import Any

import orjson

from hub.passback.codes import Down, Trouble
from hub.webhooks.egress import Answer
from hub.webhooks.failure import Failure
from transforms.catalogue import CATALOGUE

LONGEST_DESCRIPTION = 200
#: Answers that a wrong address or scope gives to everything.
SUSPICIOUS = frozenset({HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED})
#: So many objects in a row that all fail alike are the target's trouble, not theirs.
MANY = 3

_DOWN = {
    Failure.DNS: Down.DNS, Failure.CONNECT: Down.CONNECT, Failure.TLS: Down.TLS,
    Failure.TIMEOUT_CONNECT: Down.TIMEOUT_CONNECT, Failure.BLOCKED_ADDRESS: Down.BLOCKED_ADDRESS,
}  # fmt: skip
_DOWN_STATUS = {401: Down.UNAUTHORIZED, 429: Down.RATE_LIMITED, 502: Down.UNAVAILABLE, 503: Down.UNAVAILABLE,
                504: Down.UNAVAILABLE}  # fmt: skip
_AGAIN_STATUS = frozenset({408, 421, 425})
_GONE = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
_BY_MINOR = {
    "invaliddata": Trouble.INVALID_DATA, "unknownobject": Trouble.UNKNOWN_OBJECT, "forbidden": Trouble.FORBIDDEN,
    "unauthorisedrequest": Trouble.FORBIDDEN, "deletefailure": Trouble.DELETE_REFUSED,
}  # fmt: skip
_BY_STATUS = {
    400: Trouble.INVALID_DATA, 403: Trouble.FORBIDDEN, 404: Trouble.UNKNOWN_OBJECT, 405: Trouble.NOT_SUPPORTED,
    409: Trouble.CONFLICT, 410: Trouble.UNKNOWN_OBJECT, 412: Trouble.CONFLICT, 413: Trouble.TOO_LARGE,
    422: Trouble.INVALID_DATA, 501: Trouble.NOT_SUPPORTED,
}  # fmt: skip
_MINORS = frozenset({
    "fullsuccess", "invalid_filter_field", "invalid_selection_field", "invalid_sort_field", "invaliddata",
    "unauthorisedrequest", "internal_server_error", "server_busy", "deletefailure", "unknownobject", "forbidden",
    "unsupported",
})  # fmt: skip
#: Words that a description keeps, beside the catalogue's own. They count in lower case alone: a name has a capital.
_PLAIN = frozenset({
    "already", "allowed", "an", "and", "are", "be", "been", "below", "but", "by", "cannot", "characters", "code",
    "data", "date", "deleted", "does", "duplicate", "empty", "enrolled", "error", "exceeds", "exist", "exists",
    "expected", "failed", "field", "for", "format", "found", "from", "has", "have", "id", "in", "invalid", "is", "it",
    "its", "length", "less", "locked", "longer", "maximum", "minimum", "missing", "more", "must", "no", "not", "null",
    "number", "object", "of", "on", "one", "only", "or", "out", "period", "permitted", "range", "readonly", "record",
    "reference", "referenced", "rejected", "required", "resource", "same", "scope", "string", "than", "that", "the",
    "there", "this", "to", "too", "type", "unable", "unknown", "unsupported", "update", "used", "value", "values",
    "was", "with", "without",
})  # fmt: skip
_FIRST = frozenset({
    "The", "This", "Object", "Field", "Value", "Invalid", "Unknown", "Missing", "Required", "Not", "No", "Cannot",
    "Duplicate", "Unable",
})  # fmt: skip
_WORD = re.compile(r"[A-Za-z]+|[^A-Za-z\s]+")


class Means(Enum):
    """What is to be done after an answer."""

    DONE = "done"
    REFUSED = "refused"  # a person has to mend it
    AGAIN = "again"  # this object later
    DOWN = "down"  # the whole target later


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one object. ``description`` is free of data."""

    means: Means
    code: str = ""
    status: int | None = None
    minor: str | None = None
    description: str | None = None
    retry_after: float | None = None


def outcome(method: str, answer: Answer) -> Outcome:
    """What an answer means. A DELETE of what is not there is done."""
    status = answer.status
    if status is None:
        down = _DOWN.get(answer.failure or Failure.PROTOCOL)
        return Outcome(Means.AGAIN, Trouble.NO_ANSWER) if down is None else Outcome(Means.DOWN, down)
    if method == "DELETE" and status in _GONE:
        return Outcome(Means.DONE, status=status)
    if status in _DOWN_STATUS:
        return Outcome(Means.DOWN, _DOWN_STATUS[status], status, retry_after=answer.retry_after)
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return Outcome(Means.DOWN, Down.REDIRECTED, status)
    told = _read(answer.body)
    if answer.failure is None and not told.failed:
        return Outcome(Means.DONE, status=status)
    if status in _AGAIN_STATUS or (status >= HTTPStatus.INTERNAL_SERVER_ERROR and status != HTTPStatus.NOT_IMPLEMENTED):
        return Outcome(Means.AGAIN, Trouble.SERVER_ERROR, status, told.minor, told.description)
    code = _BY_STATUS.get(status) if status in {409, 412, 413, 501} else _BY_MINOR.get(told.minor or "")
    code = code or _BY_STATUS.get(status, Trouble.REFUSED)
    if method == "DELETE" and code is not Trouble.FORBIDDEN:
        code = Trouble.DELETE_REFUSED
    return Outcome(Means.REFUSED, code, status, told.minor, told.description)


def together(outcomes: Sequence[Outcome], *, tried: bool) -> Outcome | None:
    """The trouble of the target itself that several outcomes of one round show, None where they show none.

    ``tried``: the target has taken something before, or was asked often enough: what it refuses now, it means.
    """
    for one in outcomes:
        if one.means is Means.DOWN:
            return one
    if len(outcomes) < MANY or any(one.means is Means.DONE for one in outcomes):
        return None
    if all(one.means is Means.AGAIN for one in outcomes):
        return Outcome(Means.DOWN, Down.FAILS_ALL, outcomes[0].status)
    statuses = {one.status for one in outcomes}
    if not tried and len(statuses) == 1 and statuses <= SUSPICIOUS:
        return Outcome(Means.DOWN, Down.REFUSES_ALL, outcomes[0].status)
    return None


@dataclass(frozen=True, slots=True)
class _Told:
    failed: bool = False
    minor: str | None = None
    description: str | None = None


def _read(body: bytes) -> _Told:
    """What an error's body says, in the forms of 1.2 and 1.1 and what lies between."""
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return _Told()
    for info in _infos(parsed):
        major = str(info.get("imsx_codeMajor", "")).lower()
        minors = [word for value in _values(info.get("imsx_codeMinor")) if (word := _minor(value)) is not None]
        text = info.get("imsx_description")
        return _Told(major in {"failure", "fail"}, next(iter(minors), None), scrubbed(text) if text else None)
    return _Told()


def _infos(parsed: Any) -> Iterator[dict[str, Any]]:
    candidates = [parsed]
    if isinstance(parsed, dict):
        for name in ("statusInfoSet", "imsx_StatusInfo", "imsx_statusInfo", "errors"):
            inner = parsed.get(name)
            candidates += inner if isinstance(inner, list) else [inner]
    for one in candidates:
        if isinstance(one, dict) and any(name.startswith("imsx_") and name != "imsx_StatusInfo" for name in one):
            yield one


def _values(minor: Any) -> Iterator[str]:
    """The texts inside a code minor: a text itself in some systems, lists of fields in others."""
    if isinstance(minor, str):
        yield minor
    elif isinstance(minor, list):
        for one in minor:
            yield from _values(one)
    elif isinstance(minor, dict):
        for name in ("imsx_codeMinorField", "imsx_codeMinorFieldValue"):
            yield from _values(minor.get(name))


def _minor(text: str) -> str | None:
    """A code minor in its usual spelling; None for what OneRoster has not."""
    word = text.strip().lower()
    squeezed = word.replace(" ", "").replace("-", "").replace("_", "")
    return next((known for known in _MINORS if word == known or known.replace("_", "") == squeezed), None)


def scrubbed(text: Any) -> str:
    """A system's words with … for every word that is neither OneRoster's nor one of a few plain ones.

    A description may quote what was sent: names, comments, scores, ids. What is kept is chosen, not what is dropped.
    """
    kept: list[str] = []
    for word in _WORD.findall(str(text)[: LONGEST_DESCRIPTION * 5]):
        if word in _PLAIN or word in _OURS or word in {".", ",", ":", ";"} or (not kept and word in _FIRST):
            kept.append(word)
        elif not kept or kept[-1] != "…":
            kept.append("…")
    return (
        " ".join(kept).replace(" .", ".").replace(" ,", ",").replace(" :", ":").replace(" ;", ";")[:LONGEST_DESCRIPTION]
    )


_OURS = frozenset(
    name for e in CATALOGUE.entities for name in (e.name, e.singular, *(f.name for f in e.body))
)  # fmt: skip
