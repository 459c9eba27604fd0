"""Every error that the hub raises on purpose, with a stable code and what the caller may do about it.

Bad data is never an exception (see ``transforms.issues``); these are refusals and failures of requests, runs and
deliveries. Messages say what to do next and hold neither personal data nor secrets. docs/errors.md lists each code.
"""

from __future__ import annotations

import errno
from enum import StrEnum


class Intent(StrEnum):
    """What the one who caught the error may do."""

    RETRY = "retry"  # the same call may succeed later
    GIVE_UP = "give_up"  # the same call will fail again
    ASK_HUMAN = "ask_human"  # a person has to decide or mend something


class Code(StrEnum):
    """Stable error codes. A code is never re-used for another meaning."""

    INTERNAL = "internal"
    NOT_FOUND = "not_found"
    INVALID_REQUEST = "invalid_request"
    CONFLICT = "conflict"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    UNAVAILABLE = "unavailable"
    STORAGE_FULL = "storage_full"
    SETTINGS_CONTRADICT = "settings_contradict"
    SCHEMA_OUTDATED = "schema_outdated"
    SCHEMA_TOO_NEW = "schema_too_new"
    ROLE_TOO_STRONG = "role_too_strong"
    DISTRICT_MISMATCH = "district_mismatch"
    DISTRICT_BUSY = "district_busy"
    FENCED = "fenced"
    RUN_HELD = "run_held"
    UPLOAD_INCOMPLETE = "upload_incomplete"
    PACKAGE_REFUSED = "package_refused"
    SOURCE_FAILED = "source_failed"
    TARGET_FAILED = "target_failed"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    TOO_LARGE = "too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    TOO_MANY_ATTEMPTS = "too_many_attempts"
    PAST_GONE = "past_gone"
    RESYNC_REQUIRED = "resync_required"
    RATE_LIMITED = "rate_limited"
    NOT_ACCEPTABLE = "not_acceptable"
    UPLOAD_GONE = "upload_gone"
    OFFSET_MISMATCH = "offset_mismatch"
    CHECKSUM_MISMATCH = "checksum_mismatch"
    TUS_VERSION = "tus_version"


HTTP_STATUS: dict[Code, int] = {
    Code.NOT_FOUND: 404,
    Code.INVALID_REQUEST: 400,
    Code.CONFLICT: 409,
    Code.UNAUTHORIZED: 401,
    Code.FORBIDDEN: 403,
    Code.UNAVAILABLE: 503,
    Code.STORAGE_FULL: 507,
    Code.DISTRICT_BUSY: 409,
    Code.RUN_HELD: 409,
    Code.UPLOAD_INCOMPLETE: 409,
    Code.METHOD_NOT_ALLOWED: 405,
    Code.TOO_LARGE: 413,
    Code.UNSUPPORTED_MEDIA_TYPE: 415,
    Code.TOO_MANY_ATTEMPTS: 429,
    Code.PAST_GONE: 410,
    Code.RESYNC_REQUIRED: 410,
    Code.RATE_LIMITED: 429,
    Code.NOT_ACCEPTABLE: 406,
    Code.UPLOAD_GONE: 410,
    Code.OFFSET_MISMATCH: 409,
    Code.CHECKSUM_MISMATCH: 460,  # tus has a status of its own for it
    Code.TUS_VERSION: 412,
}


class HubError(Exception):
    """A refusal or failure with a stable ``code``, a safe ``message`` and an ``intent``."""

    def __init__(self, code: Code, message: str, *, intent: Intent = Intent.GIVE_UP) -> None:
        super().__init__(f"{code.value}: {message}")
        self.code = code
        self.message = message
        self.intent = intent

    @property
    def http_status(self) -> int:
        """The HTTP status that fits the code; 500 where nothing better does."""
        return HTTP_STATUS.get(self.code, 500)


def storage_full(where: str) -> HubError:
    """The error for a disk without room: ``where`` says whose it is, and which one."""
    text = f"The disk of {where} is full; nothing of this was kept. Free some space or enlarge it, then try again."
    return HubError(Code.STORAGE_FULL, text, intent=Intent.RETRY)


def out_of_room(error: BaseException) -> bool:
    """Whether an error says, or was caused by one that says, that a disk of this machine (or a quota on it) is full."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in {errno.ENOSPC, errno.EDQUOT}:
            return True
        seen = seen.__cause__
    return False
