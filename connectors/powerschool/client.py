"""Requests to one PowerSchool server: PowerQueries, their counts, versions of data, the clock, what may be read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import orjson
import polars as pl

from connectors.answer import Answer
from connectors.client import Client as Asking
from connectors.client import NotUnderstoodError, json_of, secret_of
from connectors.http import Web
from connectors.oauth2 import ClientCredentials
from connectors.powerschool.config import PowerSchoolConfig
from connectors.powerschool.queries import SEAL_SUM, SEAL_TOTAL, Query
from connectors.protocol import ConnectorError, Intent, SourceContext

SECRET = "client_secret"
#: What a plugin gets where nobody set anything else.
USUAL_PAGE_ROWS = 100
_BYTES_PER_ROW, _LEAST_BYTES = 4 << 10, 4 << 20
_VERSION, _APPLICATION = "$dataversion", "$dataversion_applicationname"
_LATEST_SECONDS = 100_000_000_000  # more than that are milliseconds
T = TypeVar("T")
Arguments = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Page:
    """Rows of a query, all columns as text. ``version``: that of the data, where asked for. ``size``: in bytes."""

    rows: pl.DataFrame = field(repr=False)
    version: int | None
    size: int = 0


@dataclass
class Client(Asking):
    """Asks one PowerSchool server. Raises ConnectorError as ``connectors.client.Client`` does, in PowerSchool's words.

    Those besides: ``plugin_missing``, ``not_permitted``, ``query_refused``, ``not_powerschool``.
    """

    config: PowerSchoolConfig = field(kw_only=True)
    ceiling: int | None = None

    @classmethod
    def of(cls, context: SourceContext, config: PowerSchoolConfig, web: Web) -> Client:
        """The client of one pull. Raises ConnectorError (``no_secret``)."""
        token = str(config.at("/oauth/access_token"))
        login = ClientCredentials(web, context.now, token, config.client_id, secret_of(context, SECRET))
        return cls(context, web, login, config=config)

    async def rows(self) -> int:
        """Rows of a page: what the plugin may have at most, or less where the configuration says so."""
        if self.ceiling is None:
            found = await self._ask("/ws/v1/metadata", "metadata", lambda body: _within(body, "metadata"))
            most = _number(found.get("schema_table_query_max_page_size"))
            self.ceiling = most or USUAL_PAGE_ROWS
        return min(self.config.page_rows or self.ceiling, self.ceiling)

    async def page(self, query: Query, arguments: Arguments, page: int, size: int) -> Page:
        """One page (from 1 on) of a query."""
        return await self._page(query, arguments, page, size, lambda found: found)

    async def _page(
        self, query: Query, arguments: Arguments, page: int, size: int, judge: Callable[[Page], T]
    ) -> T:  # fmt: skip
        """What ``judge`` makes of a page. What it refuses is asked for again, and is in no journal."""

        def read(body: Any, large: int) -> T:
            records = body.get("record") if isinstance(body, dict) else None
            if records is None and isinstance(body, dict):
                records = []  # a page without rows comes without them
            if not isinstance(records, list):
                raise _odd(query.name)
            return judge(Page(frame(query, records), _number(body.get(_VERSION)), large))

        path = f"/ws/schema/query/{query.full_name}?page={page}&pagesize={size}"
        most = max(_LEAST_BYTES, size * _BYTES_PER_ROW)
        return await self._query(path, query, arguments, read, most)

    async def count(self, query: Query, arguments: Arguments) -> int:
        """How many rows a query has."""

        def read(body: Any, _size: int) -> int:
            found = _number(body.get("count")) if isinstance(body, dict) else None
            if found is None:
                raise _odd("counts")
            return found

        return await self._query(f"/ws/schema/query/{query.full_name}/count", query, arguments, read, _LEAST_BYTES)

    async def seal(self, query: Query, arguments: Arguments) -> tuple[int, int]:
        """How many rows a query has now, and the sum of the first column of their keys."""

        def judge(found: Page) -> tuple[int, int]:
            if found.rows.height != 1:
                raise _odd(query.seal.name)
            total, checksum = (_number(found.rows[name][0]) for name in (SEAL_TOTAL, SEAL_SUM))
            return total or 0, checksum or 0

        return await self._page(query.seal, arguments, 1, 1, judge)

    async def version(self, query: Query, arguments: Arguments) -> int | None:
        """The version of the data now; None where the server has no subscription of the configured name."""
        try:
            return (await self.page(query, {**arguments, **self.since(0)}, 1, 1)).version
        except ConnectorError as error:
            if error.code == "query_refused":
                return None
            raise

    def since(self, version: int) -> Arguments:
        """What asks a query for the rows alone that changed since a version."""
        return {_VERSION: str(version), _APPLICATION: self.config.data_version}

    async def changes(self, version: int) -> tuple[int, frozenset[str]] | None:
        """The version now and the tables in which anything changed; None where the server does not say so."""

        def read(body: Any) -> tuple[int, frozenset[str]] | None:
            now = _number(body.get(_VERSION)) if isinstance(body, dict) else None
            tables = body.get("tables") if isinstance(body, dict) else None
            if now is None or not isinstance(tables, dict):
                return None
            return now, frozenset(name.lower() for name, keys in tables.items() if keys)

        path = f"/ws/dataversion/{self.config.data_version}/{version}"
        try:
            return await self._ask(path, "changes", read)
        except NotUnderstoodError:
            return None
        except ConnectorError as error:
            if error.code in {"not_found", "not_permitted", "answer_too_large"}:
                return None
            raise

    async def time(self) -> datetime:
        """The server's clock; that of its ``Date`` header, or ours, where it does not tell the time as known."""
        try:
            found = await self._ask("/ws/v1/time", "time", moment)
        except NotUnderstoodError:
            found = None
        except ConnectorError as error:
            if error.code not in {"not_found", "not_permitted", "not_powerschool"}:
                raise
            found = None
        return found or self.started or self.context.now()

    async def access(self, table: str) -> Mapping[str, bool]:
        """Fields of a table in small letters, and whether they may be read. Raises ConnectorError (``not_found``)."""

        def read(body: Any) -> dict[str, bool]:
            columns = body.get("columns") if isinstance(body, dict) else None
            named = [one for one in columns or () if isinstance(one, dict) and isinstance(one.get("name"), str)]
            if not isinstance(columns, list):
                raise _odd(f"metadata of {table}")
            return {one["name"].lower(): "noaccess" not in str(one.get("access", "")).lower() for one in named}

        return await self._ask(f"/ws/schema/table/{table}/metadata?expansions=access", f"the table {table}", read)

    async def _ask(self, path: str, what: str, read: Callable[[Any], T]) -> T:
        return await self.ask(self.config.at(path), what, lambda answer: read(json_of(answer, what, "not_powerschool")))

    async def _query(
        self, path: str, query: Query, arguments: Arguments, read: Callable[[Any, int], T], most_bytes: int
    ) -> T:
        def understood(answer: Answer) -> T:
            return read(json_of(answer, query.name, "not_powerschool"), len(answer.body))

        try:
            return await self.ask(
                self.config.at(path), query.name, understood, method="POST", body=orjson.dumps(dict(arguments)),
                most_bytes=most_bytes,
            )  # fmt: skip
        except NotUnderstoodError:
            text = (
                f"PowerSchool does not understand the PowerQuery {query.full_name} (HTTP 400). Install the plugin that "
                "this hub makes for the source's options (hub source kit)."
            )
            raise ConnectorError("query_refused", text, intent=Intent.ASK_HUMAN) from None
        except ConnectorError as error:
            raise _told(error, query) from None


def _told(error: ConnectorError, query: Query) -> ConnectorError:
    """The same in words that a district can do something with."""
    if error.code == "not_found":
        text = (
            f"PowerSchool does not know the PowerQuery {query.full_name}. Install the plugin that this hub makes (hub "
            "source kit) and enable it in the Plugin Management Dashboard."
        )
        return ConnectorError("plugin_missing", text, intent=Intent.ASK_HUMAN)
    if error.code == "not_permitted":
        text = (
            f"PowerSchool lets the plugin not read all that the PowerQuery {query.full_name} needs (HTTP 403). `hub "
            "source test` names the fields. Install the plugin anew as this hub makes it for the source's options."
        )
        return ConnectorError("not_permitted", text, intent=Intent.ASK_HUMAN)
    return error


def _odd(what: str) -> ConnectorError:
    text = f"The server answered with something else than PowerSchool's {what}. Is it the right address?"
    return ConnectorError("not_powerschool", text, intent=Intent.RETRY)


def _within(body: Any, name: str) -> Mapping[str, Any]:
    """The member that wraps an answer, where there is one."""
    if not isinstance(body, dict):
        raise _odd(name)
    inner = body.get(name, body)
    return inner if isinstance(inner, dict) else body


def _number(value: Any) -> int | None:
    """A whole number in any of the forms in which JSON has it."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    text = value.strip() if isinstance(value, str) else ""
    return int(text) if text.removeprefix("-").isdecimal() and text.isascii() and len(text) < 30 else None


def frame(query: Query, records: Sequence[Any]) -> pl.DataFrame:
    """The rows of a page: the query's columns as text, blank ones null.

    Flat records hold their columns themselves, others below ``tables`` and the table's name.
    """
    if not all(type(record) is dict for record in records):
        raise _odd("rows")
    names: set[str] = set().union(*records)
    plain = "tables" not in names and all(name == name.lower() for name in names)
    flat = records if plain else [_flat(record) for record in records]
    columns = {alias: _texts([record.get(alias) for record in flat]) for alias in query.columns}
    read = pl.DataFrame({alias: pl.Series(values, dtype=pl.String) for alias, values in columns.items()})
    return read.with_columns(pl.all().str.strip_chars()).with_columns(pl.all().replace("", None))


def _flat(record: Mapping[str, Any]) -> Mapping[str, Any]:
    tables = record.get("tables")
    inner = [one for one in tables.values() if isinstance(one, dict)] if isinstance(tables, dict) else [record]
    return {name.lower(): value for one in inner for name, value in one.items()}


def _texts(values: list[Any]) -> list[str | None]:
    """Values as texts. A value is looked at by itself only in a column where some are none."""
    return values if set(map(type, values)) <= {str, type(None)} else [_text(value) for value in values]


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, int | float) else None


def moment(body: Any) -> datetime | None:
    """The time in an answer whose form nobody documents: ISO 8601, or seconds or milliseconds, at any depth of two."""
    values = [body]
    for _ in range(2):
        values = [inner for value in values for inner in (value.values() if isinstance(value, dict) else [value])]
    for value in values:
        number = _number(value)
        try:
            if number is not None and number > _LATEST_SECONDS // 1000:
                seconds = number / 1000 if number > _LATEST_SECONDS else number
                return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
            if isinstance(value, str) and number is None:
                found = datetime.fromisoformat(value)
                return found.astimezone(UTC) if found.tzinfo is not None else None
        except (ValueError, OverflowError):
            continue
    return None
