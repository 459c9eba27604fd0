"""A run with findings, some with texts that a spreadsheet would run."""

from __future__ import annotations

from uuid import UUID

import polars as pl

from hub.store import runs
from tests.api.admin.service import AdminHub
from transforms.issues import RULES, SCHEMA

#: Keys as a hostile or a careless source may send them.
KEYS = ("student-7", "=1+1", "+1", "-1", "@sum", "\tx", "'quoted", 'a "b", c', "two\nlines", "Ünï")


async def run_with_findings(hub: AdminHub) -> UUID:
    """A run that ended with one finding per key of ``KEYS``, of two rules in turn."""
    run = await hub.run("applied")
    codes = sorted(RULES)[:2]
    rows = [
        {"code": codes[i % 2], "entity": "users", "file": "users.csv", "line": i + 2, "field": "email", "key": key,
         "cause": None}
        for i, key in enumerate(KEYS)
    ]  # fmt: skip
    async with hub.pool.district(hub.district) as tx:
        await runs.keep_issues(tx, run, pl.DataFrame(rows, schema=SCHEMA))
    return run
