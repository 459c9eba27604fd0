"""The log of attempts: what came of each request to a subscription's receiver, for those who mend it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple
from uuid import UUID

from hub.store.database import Transaction
from hub.store.packing import unpacked

#: Attempts are shown for this long.
KEPT_DAYS = 30
#: Of a receiver's answer so many characters are kept.
MOST_EXCERPT = 2048
#: The class of a test whose answer nobody has noted.
UNFINISHED = "unfinished"


class Tried(NamedTuple):
    """What came of one request. ``status`` is None without an answer; ``retry_after``: seconds that it asked for.

    ``remote_ip``: the address that was dialled; ``excerpt``: what the answer began with, as far as it can be printed.
    """

    status: int | None
    milliseconds: int
    remote_ip: str | None = None
    excerpt: str | None = None
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One line of the log."""

    batch_id: str
    attempt: int
    at: datetime
    milliseconds: int
    status: int | None
    error_class: str | None
    remote_ip: IPv4Address | IPv6Address | None
    excerpt: str | None
    retry_after: float | None
    test: bool

    @property
    def place(self) -> str:
        """Where it stands in the log."""
        return f"{self.at.isoformat()} {self.batch_id} {self.attempt}"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which attempts are asked for; None asks for all. ``error_class``: of those that failed, one class."""

    failed: bool | None = None
    error_class: str | None = None
    test: bool | None = None


_COLUMNS = ", ".join(Attempt.__dataclass_fields__)


async def add(tx: Transaction, subscription_id: UUID, batch_id: str, tried: Tried, error: str | None) -> None:
    """One line, numbered by the log itself: resuming a subscription starts its schedule anew."""
    await tx.execute(
        "INSERT INTO attempts (district_id, subscription_id, batch_id, attempt, milliseconds, status, error_class, "
        "remote_ip, excerpt, retry_after) SELECT $1, $2, $3, coalesce(max(attempt), 0) + 1, $4, $5, $6, $7, $8, $9 "
        "FROM attempts WHERE district_id = $1 AND subscription_id = $2 AND batch_id = $3",
        tx.district_id, subscription_id, batch_id, tried.milliseconds, tried.status, error, tried.remote_ip,
        tried.excerpt, tried.retry_after,
    )  # fmt: skip


async def page(
    tx: Transaction, subscription_id: UUID, wanted: Wanted, *, limit: int, after: tuple[datetime, str, int] | None
) -> list[Attempt]:
    """The log, newest first; ``after``: the time, the batch and the number of the last attempt that is known."""
    at, batch_id, number = after or (None, None, None)
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} FROM attempts WHERE district_id = $1 AND subscription_id = $2 "
        "AND ($3::boolean IS NULL OR (error_class IS NOT NULL) = $3) AND ($4::text IS NULL OR error_class = $4) "
        "AND ($5::boolean IS NULL OR test = $5) "
        "AND ($6::timestamptz IS NULL OR (at, batch_id, attempt) < ($6, $7::text, $8::integer)) "
        "ORDER BY at DESC, batch_id DESC, attempt DESC LIMIT $9",
        tx.district_id, subscription_id, wanted.failed, wanted.error_class, wanted.test, at, batch_id, number, limit,
    )  # fmt: skip
    return [Attempt(**row) for row in rows]


async def errors(tx: Transaction, subscription_id: UUID, *, hours: int) -> dict[str, int]:
    """How many attempts failed in the last ``hours``, by class; tests do not count."""
    rows = await tx.fetch(
        "SELECT error_class, count(*) AS n FROM attempts WHERE district_id = $1 AND subscription_id = $2 "
        "AND at > now() - make_interval(hours => $3) AND error_class IS NOT NULL AND NOT test "
        "GROUP BY error_class ORDER BY n DESC, error_class",
        tx.district_id, subscription_id, hours,
    )  # fmt: skip
    return {row["error_class"]: row["n"] for row in rows}


async def forget(tx: Transaction, subscription_id: UUID | None = None) -> int:
    """Removes what was kept long enough of one subscription, or of all of the district; how many lines that were."""
    return await tx.execute(
        "DELETE FROM attempts WHERE district_id = $1 AND ($2::uuid IS NULL OR subscription_id = $2) "
        "AND at < now() - make_interval(days => $3)",
        tx.district_id, subscription_id, KEPT_DAYS,
    )  # fmt: skip


async def forget_answers(tx: Transaction) -> None:
    """Removes what the district's receivers answered: nobody can tell whether it names somebody."""
    await tx.execute(
        "UPDATE attempts SET excerpt = NULL WHERE district_id = $1 AND excerpt IS NOT NULL", tx.district_id
    )


def printable(body: bytes) -> str | None:
    """What can be printed of the beginning of an answer; None where that is nothing.

    Neither control characters nor what directs text the other way: it is shown on terminals and pages.
    """
    if not body:
        return None
    text = body[: 4 * MOST_EXCERPT].decode("utf-8", "replace")
    kept = "".join(c for c in text if c.isprintable() or c in "\n\t").strip()
    return kept[:MOST_EXCERPT] or None


def as_place(text: str) -> tuple[datetime, str, int]:
    """The inverse of ``Attempt.place``. Raises ValueError."""
    at, batch_id, number = text.split(" ")
    moment = datetime.fromisoformat(at)
    if moment.tzinfo is None or not number.isascii() or not number.isdigit() or len(number) > 9:
        raise ValueError("no place in the log")
    return moment, batch_id, int(number)


async def sent(tx: Transaction, subscription_id: UUID, batch_id: str) -> tuple[bool, bytes | None]:
    """Whether a message of that id was sent to a subscription, and its body where it is kept: until it is delivered."""
    row = await tx.fetchrow(
        "SELECT body FROM batches WHERE district_id = $1 AND subscription_id = $2 AND batch_id = $3",
        tx.district_id, subscription_id, batch_id,
    )  # fmt: skip
    if row is not None:
        return True, unpacked(row["body"]) or None
    tried = await tx.fetchval(
        "SELECT EXISTS (SELECT FROM attempts WHERE district_id = $1 AND subscription_id = $2 AND batch_id = $3)",
        tx.district_id, subscription_id, batch_id,
    )  # fmt: skip
    return bool(tried), None


async def until_test(tx: Transaction, subscription_id: UUID, *, most: int) -> int:
    """Seconds until one more test may be sent, 0 where it may now: ``most`` a minute. Hold the subscription's lock."""
    seconds: float | None = await tx.fetchval(
        "SELECT 60 - extract(epoch FROM clock_timestamp() - at)::float8 FROM attempts WHERE district_id = $1 "
        "AND subscription_id = $2 AND test AND at > clock_timestamp() - interval '1 minute' "
        "ORDER BY at DESC OFFSET $3 LIMIT 1",
        tx.district_id, subscription_id, most - 1,
    )  # fmt: skip
    return 0 if seconds is None else max(1, math.ceil(seconds))


async def begin_test(tx: Transaction, subscription_id: UUID, batch_id: str) -> None:
    """Notes a test that is about to be sent; it stays ``unfinished`` if the process ends before the answer."""
    await tx.execute(
        "INSERT INTO attempts (district_id, subscription_id, batch_id, attempt, at, milliseconds, error_class, test) "
        "VALUES ($1, $2, $3, 1, clock_timestamp(), 0, $4, true)",
        tx.district_id, subscription_id, batch_id, UNFINISHED,
    )  # fmt: skip


async def end_test(tx: Transaction, subscription_id: UUID, batch_id: str, tried: Tried, error: str | None) -> None:
    """Notes what came of a test."""
    await tx.execute(
        "UPDATE attempts SET milliseconds = $4, status = $5, error_class = $6, remote_ip = $7, excerpt = $8, "
        "retry_after = $9 WHERE district_id = $1 AND subscription_id = $2 AND batch_id = $3 AND test",
        tx.district_id, subscription_id, batch_id, tried.milliseconds, tried.status, error, tried.remote_ip,
        tried.excerpt, tried.retry_after,
    )  # fmt: skip
