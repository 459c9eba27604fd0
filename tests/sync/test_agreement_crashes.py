"""A worker that is killed while it makes tokens leaves none that tell anything, and another one makes them all."""

from __future__ import annotations

import asyncio
import os

import pytest

from hub.store.database import Database as Pool
from hub.sync.tokenising import tokenise_once
from tests.forks import FORKS
from tests.sync.agreeing import KEY, PUPILS, THEIRS, Two, joined
from tests.sync.test_several_sources import applied

KILLED = 137


def _look(url: str) -> None:
    os.environ["HUB_CRASH_AT"] = "agreements.written"

    async def main() -> None:
        db = await Pool.open(url, name="test tokens", largest=2)
        await tokenise_once(db, KEY)

    asyncio.run(main())


@pytest.mark.threat("F1")
async def test_tokens_are_told_of_once_they_are_all_there(two: Two) -> None:
    await applied(two.new, joined(THEIRS, PUPILS[:3]))
    which = await two.agree()
    for _ in range(2):  # the old district's tokens, and the new one's
        process = FORKS.Process(target=_look, args=(two.worker,))
        process.start()
        await asyncio.to_thread(process.join)
        assert process.exitcode == KILLED
    assert len({row["district_id"] for row in await two.tokens()}) == 2
    assert await two.look() == 0  # until the leases of those who were killed have ended
    assert await two.told(two.new) == set()

    await two.owner.execute("UPDATE hub.agreement_sides SET leased_until = now() WHERE agreement_id = $1", which)
    assert await two.look() == 2
    assert await two.told(two.new) == {f"new-{key}" for key in PUPILS[:3]}
