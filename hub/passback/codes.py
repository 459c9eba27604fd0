"""Why an object is not in the district's system, as stable codes, each with how to mend it. docs/passback.md has all.

Codes of a person's business stand on objects; codes of a target are what its ``last_error`` says.
"""

from __future__ import annotations

from enum import StrEnum


class Trouble(StrEnum):
    """Why one object was not taken."""

    NOT_KNOWN_THERE = "not_known_there"
    BLOCKED = "blocked"
    NO_SCORE = "no_score"
    CONFLICT = "conflict"
    INVALID_DATA = "invalid_data"
    UNKNOWN_OBJECT = "unknown_object"
    FORBIDDEN = "forbidden"
    DELETE_REFUSED = "delete_refused"
    TOO_LARGE = "too_large"
    NOT_SUPPORTED = "not_supported"
    REFUSED = "refused"
    SERVER_ERROR = "server_error"
    NO_ANSWER = "no_answer"


MEND: dict[Trouble, str] = {
    Trouble.NOT_KNOWN_THERE: "What `field` names is not from the source of this target, or its app or entity is not "
    "passed back. Name the app or the entity in the target, or bring the class and the student in from that source; "
    "then retry. Otherwise skip it.",
    Trouble.BLOCKED: "It waits for the object that `blocked_by` names. Mend that one.",
    Trouble.NO_SCORE: "OneRoster 1.1 has no result without a score. Use a target of version 1.2, or skip it.",
    Trouble.CONFLICT: "The system has another state of this object. Look at it there, then retry, or skip it.",
    Trouble.INVALID_DATA: "The system does not take this object as it is. `minor` and `description` say what it "
    "dislikes: change it there or in the app, then retry.",
    Trouble.UNKNOWN_OBJECT: "The system does not know the object, or one that it refers to. Bring it in there, then "
    "retry.",
    Trouble.FORBIDDEN: "The login of the target may not write this. Have its scopes or classes widened there, then "
    "retry.",
    Trouble.DELETE_REFUSED: "The system keeps the object, often because others use it. Delete it there, or skip it.",
    Trouble.TOO_LARGE: "The object is too large for the system. Shorten it in the app.",
    Trouble.NOT_SUPPORTED: "The system has no place for this entity. Take it out of the target's `entities`, or skip "
    "it.",
    Trouble.REFUSED: "The system refused it for a reason of its own: see `status`, `minor` and `description`.",
    Trouble.SERVER_ERROR: "The system failed over this object and is asked again. Look at its log if that lasts.",
    Trouble.NO_ANSWER: "The system did not answer for this object and is asked again. Look at its log if that lasts.",
}


class Down(StrEnum):
    """Why a target takes nothing at all."""

    DNS = "dns"
    CONNECT = "connect"
    TLS = "tls"
    TIMEOUT_CONNECT = "timeout_connect"
    BLOCKED_ADDRESS = "blocked_address"
    LOGIN_FAILED = "login_failed"
    LOGIN_REFUSED = "login_refused"
    UNAUTHORIZED = "unauthorized"
    RATE_LIMITED = "rate_limited"
    UNAVAILABLE = "unavailable"
    REDIRECTED = "redirected"
    FAILS_ALL = "fails_all"
    REFUSES_ALL = "refuses_all"
