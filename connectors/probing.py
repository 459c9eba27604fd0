"""Steps of a try that all systems on the web share: the name, the connection, the certificate, the clock, the size."""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from yarl import URL

from connectors.http import Greeting, Web
from connectors.protocol import ConnectorError, Found

#: A certificate that ends sooner is warned of: vendors renew theirs about a month before.
RENEWAL = timedelta(days=21)
#: After so long no more is asked for: whoever waits for the answer gets what is known by then.
PATIENCE_SECONDS, REQUEST_SECONDS = 35.0, 15.0
#: Signatures and tokens of most systems bear so much.
SKEW = timedelta(minutes=5)
#: Errors after which nothing else can work.
FINAL = frozenset({"address_blocked", "host_unknown", "not_connected", "tls_failed", "timed_out", "no_secret"})
_STEPS = {"host_unknown": "name", "tls_failed": "certificate"}
_MINUTE, _HOUR, _KB = 60, 3600, 1000
#: No district has more of anything: a system that has them all the same does not go by numbers.
_MOST_LOOKED_FOR = 1 << 26


async def greeted(web: Web, addresses: Iterable[str], now: datetime) -> list[Found]:
    """Tries each server among the addresses once: steps ``name``, ``connection`` and ``certificate``.

    A server that cannot be reached is "bad", and the last that is tried.
    """
    found: list[Found] = []
    for origin in dict.fromkeys(URL(address, encoded=True).origin() for address in addresses):
        try:
            found += _greeted(origin, await web.greet(origin), now)
        except ConnectorError as error:
            text = f"{origin.host}: {error.message}"
            return [*found, Found(_STEPS.get(error.code, "connection"), "bad", text)]
    return found


def not_tried(step: str) -> Found:
    """That there was no time left for a step."""
    return Found(step, "warning", "Not tried, since the system is slow. Try it later.")


def works(found: Iterable[Found]) -> bool:
    """Whether nothing is "bad"."""
    return all(one.outcome != "bad" for one in found)


def _greeted(origin: URL, greeting: Greeting, now: datetime) -> list[Found]:
    host = origin.host or ""
    found = [] if _literal(host) else [Found("name", "good", f"The name service knows {host}.")]
    if origin.scheme != "https":
        text = f"{host} can be reached, but not encrypted: whoever listens in between reads the roster and the secrets."
        return [*found, Found("connection", "warning", text)]
    found.append(Found("connection", "good", f"{host} can be reached, encrypted."))
    if greeting.until is not None:
        found.append(_certificate(host, greeting.until, now))
    return found


def _literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _certificate(host: str, until: datetime, now: datetime) -> Found:
    days = (until - now).days
    told = f"The certificate of {host} ends on {until:%Y-%m-%d}, in {days} days."
    if until - now < RENEWAL:
        text = f"{told} Whoever runs the system has to renew it before, or pulls stop."
        return Found("certificate", "warning", text)
    return Found("certificate", "good", told)


def clock(started: datetime | None, now: datetime, silent: str, wrong: str) -> Found:
    """How a system's clock compares. ``silent`` and ``wrong``: what follows where it tells no time, or a wrong one."""
    if started is None:
        return Found("clock", "warning", f"The system does not tell the time (no Date header), so {silent}.")
    skew = started - now
    if abs(skew) < SKEW:
        return Found("clock", "good", "The system's clock is right.")
    minutes = round(abs(skew).total_seconds() / _MINUTE)
    side = "ahead" if skew > timedelta(0) else "behind"
    return Found("clock", "warning", f"The system's clock is {minutes} minutes {side}. {wrong}")


@dataclass(frozen=True, slots=True)
class Sample:
    """What one page cost: its objects, its bytes, and how long it took."""

    rows: int
    size: int
    seconds: float


def whole(rows: int, requests: int, small: Sample, large: Sample) -> Found:
    """What a pull of everything costs, by two pages of different size: a request costs some time, and so does a row."""
    size = rows * large.size / max(1, large.rows)
    return cost(rows, requests, size, taken(rows, requests, small, large))


def taken(rows: float, requests: float, small: Sample, large: Sample) -> float:
    """Seconds for so many, by two pages. A large one that came no later than the small one: a row costs its share."""
    more = large.rows - small.rows
    slower = more > 0 and large.seconds > small.seconds
    each = (large.seconds - small.seconds) / more if slower else large.seconds / max(1, large.rows)
    return requests * max(0.0, small.seconds - small.rows * each) + rows * each


async def many(there: Callable[[int], Awaitable[bool]], known: int) -> int:
    """About how many there are where nobody counts them, an eighth at most too few.

    ``there``: whether there is one of this number, from 1 on. ``known``: so many there are.
    """
    low, high = max(1, known), 2 * max(1, known)
    while high < _MOST_LOOKED_FOR and await there(high):
        low, high = high, 2 * high
    while high - low > max(1, low // 8):
        middle = (low + high) // 2
        low, high = (middle, high) if await there(middle) else (low, middle)
    return low


def cost(rows: float, requests: float, size: float, seconds: float) -> Found:
    """What a pull of everything costs, as far as a try can tell."""
    text = (
        f"A whole pull brings about {rows:,.0f} objects in {requests:,.0f} requests: "
        f"about {_bytes(size)}, in about {_time(seconds)}."
    )
    return Found("whole pull", "good", text)


def _bytes(size: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if size < _KB:
            return f"{size:,.0f} {unit}"
        size /= _KB
    return f"{size:,.1f} GB"


def _time(seconds: float) -> str:
    if seconds < 2 * _MINUTE:
        return f"{max(2, round(seconds))} seconds"
    return f"{seconds / _MINUTE:.0f} minutes" if seconds < 2 * _HOUR else f"{seconds / _HOUR:.1f} hours"
