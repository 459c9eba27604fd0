"""Transactions whose process was stopped in the middle of a statement: PostgreSQL waits for the rest of it for ever.

One that stops between two statements is ended by ``idle_in_transaction_session_timeout``. Inside of the exchange that a
statement is (prepared, but its values not sent yet), no time limit of PostgreSQL counts, and what it has locked stays.
"""

from __future__ import annotations

from hub.store import database
from hub.store.database import Database


async def end(db: Database) -> int:
    """Ends the sessions of this login that have written and are stuck so for as long as an idle one may be; how many.

    A COPY waits for its rows in the same way, and is left alone.
    """
    async with db.statement() as tx:
        ended: int = await tx.fetchval(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() "
            "AND usename = current_user AND pid <> pg_backend_pid() AND state = 'active' AND wait_event = 'ClientRead' "
            "AND backend_xid IS NOT NULL AND query NOT ILIKE 'COPY %' "
            "AND state_change < now() - make_interval(secs => $1)",
            database.IDLE_SECONDS,
        )
    return ended
