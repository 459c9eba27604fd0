"""What a connector raises: a failure that a person or a later attempt has to mend.

By itself, for what logs failures (``hub.logs``) loads no column engine: a worker's start waits for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

#: Failures after which what was read is no good: the next attempt reads everything anew.
_ANEW = frozenset({"not_whole", "repeated_page", "endless"})


class Intent(StrEnum):
    """What the one who caught a ``ConnectorError`` may do."""

    RETRY = "retry"  # the same pull may succeed later
    GIVE_UP = "give_up"  # the same pull will fail again
    ASK_HUMAN = "ask_human"  # a person has to mend the configuration or the other system


class ConnectorError(Exception):
    """A failure with a stable ``code``, a ``message`` without personal data or secrets, and an ``intent``.

    ``wait_seconds``: no sooner than then may the same succeed, where the system said so (``Retry-After``). ``seen``:
    what the run's next attempt is given as ``SourceContext.seen``, a few kB of JSON; None leaves what it was.
    """

    def __init__(
        self, code: str, message: str, *, intent: Intent, wait_seconds: float | None = None,
        seen: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.intent = intent
        self.wait_seconds = wait_seconds
        self.seen = seen


def may_go_on(error: ConnectorError) -> bool:
    """Whether the next attempt may go on with the answers of one that failed so."""
    return error.intent is Intent.RETRY and error.code not in _ANEW


class NotYetError(ConnectorError):
    """Nothing failed, but time has to pass before the pull goes on with ``seen``: nobody should hold a turn meanwhile.

    A run is put back for ``wait_seconds``, the first time without counting an attempt.
    """

    def __init__(self, code: str, message: str, *, wait_seconds: float, seen: Mapping[str, Any]) -> None:
        super().__init__(code, message, intent=Intent.RETRY, wait_seconds=wait_seconds, seen=seen)
