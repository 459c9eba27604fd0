"""How the hub is doing over all districts: numbers alone, for metrics. Workers ask, who look through all queues."""

from __future__ import annotations

from dataclasses import dataclass

from hub.store.database import Database

STATES = ("active", "unproven", "paused", "disabled", "resync_required")
_SUBSCRIPTIONS = """
SELECT s.state, count(*) AS n, count(*) FILTER (WHERE s.attempt > 0) AS failing,
       count(*) FILTER (WHERE s.lease_until >= now()) AS leased,
       count(*) FILTER (WHERE g.steps > s.position) AS behind,
       coalesce(sum(greatest(g.steps - s.position, 0)), 0)::bigint AS steps,
       coalesce(extract(epoch FROM now() - min(f.at)), 0)::float8 AS lag
FROM subscriptions s JOIN grants g USING (district_id, grant_id)
LEFT JOIN LATERAL (
    SELECT e.at FROM feed e WHERE s.state = 'active' AND g.steps > s.position AND e.district_id = s.district_id
    AND e.grant_id = s.grant_id AND e.step > s.position ORDER BY e.step LIMIT 1) f ON true
GROUP BY s.state
"""


@dataclass(frozen=True, slots=True)
class Watched:
    """``lag_seconds``: age of the oldest change that waits; of active subscriptions alone, as the numbers after it."""

    subscriptions: dict[str, int]
    runs: dict[str, int]
    lag_seconds: float = 0
    steps: int = 0
    behind: int = 0
    failing: int = 0
    leased: int = 0
    parked: int = 0


async def watched(db: Database) -> Watched:
    """One look at the subscriptions and the runs of all districts. Raises HubError(UNAVAILABLE)."""
    async with db.watching() as tx:
        rows = {row["state"]: row for row in await tx.fetch(_SUBSCRIPTIONS)}
        runs = await tx.fetch(
            "SELECT state, count(*) AS n FROM runs WHERE state IN ('queued', 'running', 'held') GROUP BY state"
        )
        parked = await tx.fetchval("SELECT count(*) FROM parked")
    active = rows.get("active")
    states = {state: rows[state]["n"] if state in rows else 0 for state in STATES}
    known = {"queued": 0, "running": 0, "held": 0} | {row["state"]: row["n"] for row in runs}
    if active is None:
        return Watched(states, known, parked=parked)
    return Watched(
        states, known, active["lag"], active["steps"], active["behind"], active["failing"],
        sum(row["leased"] for row in rows.values()), parked,
    )  # fmt: skip
