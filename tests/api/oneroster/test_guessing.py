"""Who guesses tokens is held up; who has them is not, however many come at once (T25)."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from hub.store import apps
from tests.api.oneroster.rosters import SCOPES, Hub, Prepared, issue, running
from tests.services import Database

#: Five wrong tokens at once, and then next to none.
STRICT = {"wrong_credentials_burst": 1, "wrong_credentials_per_second": 0.001}


async def _statuses(hub: Hub, tokens: list[str]) -> Counter[int]:
    """The statuses of requests with these tokens, all sent at once."""
    answers = await asyncio.gather(*(hub.get("/orgs", token=token, limit="1") for token in tokens))
    return Counter(status for status, _, _ in answers)


@pytest.mark.threat("T25")
async def test_hundreds_of_right_tokens_may_be_shown_for_the_first_time_at_once(
    roster_database: Database, rostered: tuple[str, Prepared]
) -> None:
    async with running(roster_database, rostered[1], app_queue=1_000, **STRICT) as hub:
        client = hub.prepared.clients["lms"][0]
        tokens = [await issue(hub.db, client, SCOPES) for _ in range(300)]
        expired = [await issue(hub.db, client, SCOPES, seconds=-1) for _ in range(20)]
        assert await _statuses(hub, tokens) == {200: 300}
        assert await _statuses(hub, expired) == {401: 20}
        assert await _statuses(hub, [await issue(hub.db, client, SCOPES)]) == {200: 1}


@pytest.mark.threat("T25")
async def test_wrong_ones_that_come_at_once_are_owed(
    roster_database: Database, rostered: tuple[str, Prepared]
) -> None:  # fmt: skip
    async with running(roster_database, rostered[1], **STRICT) as hub:
        assert await _statuses(hub, [hub.prepared.tokens["lms"]]) == {200: 1}
        assert set(await _statuses(hub, [apps.new_token() for _ in range(50)])) <= {401, 429}
        assert await _statuses(hub, [apps.new_token() for _ in range(50)]) == {429: 50}
        status, _, headers = await hub.get("/orgs", token=apps.new_token())
        assert (status, int(headers["Retry-After"]) > 1_000) == (429, True)
        assert await _statuses(hub, [hub.prepared.tokens["lms"]] * 20) == {200: 20}  # known already
