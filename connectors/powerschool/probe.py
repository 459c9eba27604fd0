"""A try of the connection: what works, what the plugin may read, and what a person has to click, in plain words."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from connectors.client import NotUnderstoodError
from connectors.http import Web
from connectors.powerschool import mapping, queries
from connectors.powerschool.client import USUAL_PAGE_ROWS, Client
from connectors.powerschool.config import PowerSchoolConfig
from connectors.powerschool.pulling import first_year
from connectors.powerschool.queries import Query, pack
from connectors.powerschool.walk import table
from connectors.protocol import ConnectorError, Found, SourceContext
from connectors.walking import side_by_side

SAMPLE_ROWS = 5
_SKEW = timedelta(minutes=5)
#: Errors after which nothing else can work.
_FINAL = frozenset({"address_blocked", "host_unknown", "not_connected", "tls_failed", "timed_out", "no_secret"})
#: Where districts have been seen to keep the e-mail addresses of students.
_MAIL_TABLES = ("students", "u_studentsuserfields", "studentcorefields", "psm_studentcontact")
_INSTALL = (
    "Make the plugin anew for the source's options (hub source kit powerschool), then in PowerSchool open System > "
    "System Settings > Plugin Management Configuration, choose Update for RosterHub, and enable it again."
)


async def probe(context: SourceContext, config: PowerSchoolConfig, web: Web) -> list[Found]:
    """Logs in, asks what the plugin may read, and for a few rows of each query. Never raises ConnectorError."""
    try:
        client = Client.of(context, config, web)
        client.tries = 1  # whoever waits for the answer tries again themselves
        await client.login.headers("GET", config.at("/"))
    except ConnectorError as error:
        reached = [] if error.code in _FINAL else [Found("connection", "good", "The server can be reached.")]
        return [*reached, Found("connection" if error.code in _FINAL else "login", "bad", error.message)]
    how, outcome = ("encrypted", "good") if config.url.startswith("https:") else ("not encrypted", "warning")
    found = [
        Found("connection", "good" if outcome == "good" else "warning", f"The server can be reached, {how}."),
        Found("login", "good", "PowerSchool accepts the plugin's credentials."),
    ]  # fmt: skip
    try:
        now = await client.time()
        found += [_clock(client, now), await _plugin(client)]
        found += await _permissions(client)
        found += await _queries(client, now)
        found.append(await _versions(client))
        if config.student_email is None:
            found.append(await _mail(client))
    except ConnectorError as error:
        found.append(Found(error.code, "bad", error.message))
    return found


def _clock(client: Client, now: datetime) -> Found:
    skew = now - client.context.now()
    if abs(skew) < _SKEW:
        return Found("clock", "good", "The server's clock is right.")
    minutes, side = round(abs(skew).total_seconds() / 60), "ahead" if skew > timedelta(0) else "behind"
    return Found("clock", "warning", f"The server's clock is {minutes} minutes {side}. School years go by its clock.")


async def _plugin(client: Client) -> Found:
    rows = await client.rows()
    text = f"Pages have {rows:,} rows."
    if rows == client.ceiling and rows <= USUAL_PAGE_ROWS:
        text += (
            " A larger maximum makes pulls faster: Plugin Management Configuration > RosterHub > Data Configuration."
        )
    return Found("pages", "good", text)


async def _permissions(client: Client) -> list[Found]:
    """One finding for each table of which something may not be read, or one that all is well."""
    wanted: dict[str, set[str]] = {}
    for name, field in sorted({pair for query in pack(client.config.options()) for pair in query.fields}):
        wanted.setdefault(name, set()).add(field)
    asks = [partial(_permitted, client, name, fields) for name, fields in wanted.items()]
    found = [one async for one in side_by_side(asks, client.config.at_once) if one is not None]
    return found or [Found("permissions", "good", f"The plugin may read all that it needs of {len(wanted)} tables.")]


async def _permitted(client: Client, name: str, fields: set[str]) -> Found | None:
    step = f"permissions of {name.upper()}"
    try:
        access = await client.access(name)
    except NotUnderstoodError:
        return Found(step, "warning", "PowerSchool does not say what the plugin may read (HTTP 400).")
    except ConnectorError as error:
        if error.code == "not_found":
            return Found(step, "bad", f"PowerSchool has no table {name.upper()}. Mend student_email, if it names it.")
        if error.code == "not_permitted":
            return Found(step, "warning", f"PowerSchool does not say what the plugin may read of it. {_INSTALL}")
        raise
    missing = sorted(field.upper() for field in fields if not access.get(field, False))
    if not missing:
        return None
    return Found(step, "bad", f"The plugin may not read {', '.join(missing)}. {_INSTALL}")


async def _queries(client: Client, now: datetime) -> list[Found]:
    config = client.config
    arguments: dict[str, Any] = {"statuses": list(config.enroll_status), "firstyear": first_year(now)}
    found = []
    try:
        terms = await table(client, queries.TERMS, {"firstyear": first_year(now)})
        years = mapping.years(terms, now.date(), config.year_days)
        if not years.ids:
            found.append(Found("years", "bad", "There are no terms. Set up the years and terms of the schools."))
        arguments |= years.terms
    except ConnectorError as error:
        return [Found("terms", "bad", error.message)]
    asks = [
        partial(_query, client, query, {name: arguments[name] for name in query.arguments})
        for query in pack(config.options())
    ]
    return [*found, *[one async for one in side_by_side(asks, config.at_once)]]


async def _query(client: Client, query: Query, arguments: Mapping[str, Any]) -> Found:
    begun = time.monotonic()
    try:
        count = await client.count(query, arguments)
        sample = await client.page(query, arguments, 1, SAMPLE_ROWS)
        await client.seal(query, arguments)
        await client.page(query.keys, arguments, 1, SAMPLE_ROWS)
    except ConnectorError as error:
        return Found(query.name, "bad", error.message)
    if not count:
        return Found(query.name, "warning", "There are none.")
    pages = -(-count // await client.rows())
    text = f"{count:,} rows; {sample.rows.height} of them came in {time.monotonic() - begun:.1f} s. A whole pull asks "
    return Found(query.name, "good", f"{text}{pages + 2:,} times.")


async def _versions(client: Client) -> Found:
    name = client.config.data_version
    if name is None:
        return Found("changes", "good", "All is pulled each time, since the source has no data_version.")
    if await client.version(queries.SCHOOLS, {}) is not None:
        return Found("changes", "good", "PowerSchool tells what changed.")
    text = f"PowerSchool has no data version subscription of the name {name}, so all is pulled each time."
    return Found("changes", "warning", text)


async def _mail(client: Client) -> Found:
    """Where the e-mail addresses of students may be."""
    places = []
    for name in _MAIL_TABLES:
        try:
            fields = await client.access(name)
        except (NotUnderstoodError, ConnectorError):
            continue
        places += [f"{name}.{field}" for field in sorted(fields) if "mail" in field]
    where = f" Fields that may hold them: {', '.join(places)}." if places else ""
    text = f"Students have no e-mail addresses. Set student_email, and make the plugin anew.{where}"
    return Found("student_email", "warning", text)
