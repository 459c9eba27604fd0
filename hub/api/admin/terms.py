"""The settings of a subscription, as they are asked for and shown."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Annotated, Any

from pydantic import Field

from hub.api.admin.shapes import Asked
from hub.changes.types import MOST_PATTERNS
from hub.webhooks.terms import BYTES, CHANGES, LONGEST_WAIT_SECONDS, QUIET_SECONDS, RATE_PER_MINUTE, Mode, Terms

NAMES = frozenset(f.name for f in fields(Terms))


def _within(bounds: tuple[int, int], description: str) -> Any:
    return Field(ge=bounds[0], le=bounds[1], description=description)


class TermsAsked(Asked):
    """How a subscription wants to be told. Where something is edited, what is left out stays as it is."""

    mode: Annotated[Mode, Field(description="signal: that something moved; refs: which records; records: in full.")] = (
        "refs"
    )
    types: Annotated[
        tuple[Annotated[str, Field(max_length=100)], ...],
        Field(max_length=MOST_PATTERNS, description="Types, or patterns such as users.* and *.deleted; none: all."),
    ] = ()
    max_bytes: Annotated[int | None, _within(BYTES, "Longest body; null: 20 kB, in the mode records 256 kB.")] = None
    max_changes: Annotated[int, _within(CHANGES, "Most changes of one batch.")] = 500
    quiet_seconds: Annotated[float, _within(QUIET_SECONDS, "Changes are sent once none came for so long.")] = 0
    longest_wait_seconds: Annotated[float, _within(LONGEST_WAIT_SECONDS, "Longest wait of a change for quiet.")] = 30
    rate_per_minute: Annotated[
        int | None, _within(RATE_PER_MINUTE, "Most attempts in a minute, evenly spaced; null: no bound.")
    ] = None

    def on(self, terms: Terms) -> Terms:
        """``terms`` with what was asked for."""
        return replace(terms, **{name: getattr(self, name) for name in self.model_fields_set & NAMES})
