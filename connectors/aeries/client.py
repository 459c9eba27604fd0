"""Requests to Aeries' API: the certificate, whole lists, and windows of the students' one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import orjson
from yarl import URL

from connectors.aeries.config import AeriesConfig
from connectors.aeries.fields import Listing, Objects, number
from connectors.answer import Answer
from connectors.client import Client as Asking
from connectors.client import NotUnderstoodError, json_of, secret_of
from connectors.http import Web
from connectors.protocol import ConnectorError, Intent, SourceContext

SECRET = "certificate"
_LENGTH = 32
T = TypeVar("T")
_FLAG = (
    "An Aeries administrator switches it on under Admin > Feature Flags (v5 Enhancements), or the district takes it "
    "out of the source's entities."
)


class MissingError(Exception):
    """Aeries does not find what was asked for (HTTP 404). ``said``: it was Aeries that answered, not a web server."""

    def __init__(self, *, said: bool) -> None:
        self.said = said


class SwitchedOffError(Exception):
    """Aeries has what was asked for, and it is switched off (HTTP 501)."""


@dataclass(frozen=True)
class Certificate:
    """The header of all requests. One refusal is not believed: Aeries stands behind balancers that may be mistaken."""

    certificate: str = field(repr=False)
    renewable: bool = True

    async def headers(self, _method: str, _url: URL) -> Mapping[str, str]:
        """``AERIES-CERT``."""
        return {"AERIES-CERT": self.certificate}

    def forget(self, refused: Mapping[str, str]) -> None:
        """There is no other one."""


@dataclass
class Client(Asking):
    """Asks Aeries. ``missing``: lists of schools that Aeries did not find and that count as empty."""

    config: AeriesConfig = field(kw_only=True)
    missing: int = 0

    @classmethod
    def of(cls, context: SourceContext, config: AeriesConfig, web: Web) -> Client:
        """The client of one pull. Raises ConnectorError (``no_secret``, ``wrong_certificate``)."""
        secret = secret_of(context, SECRET)
        if len(secret) != _LENGTH or not (secret.isascii() and secret.isalnum()):
            text = f"Aeries' certificates have {_LENGTH} letters and digits. Enter it anew, as Security > API shows it."
            raise ConnectorError("wrong_certificate", text, intent=Intent.ASK_HUMAN)
        return cls(context, web, Certificate(secret), config=config)

    async def objects(
        self, listing: Listing, path: str, query: Mapping[str, str] | None = None, school: int | None = None
    ) -> Objects:
        """The objects of one answer. ``school``: whose rows they are, where they are one school's.

        Raises MissingError, and ConnectorError as ``ask`` does and besides (``switched_off``, ``not_aeries``,
        ``other_school``, ``query_refused``).
        """

        def read(parsed: Any) -> Objects:
            if not isinstance(parsed, list) or not all(isinstance(one, dict) for one in parsed):
                raise _odd(f"list of {listing.name}")
            _check(listing, school, parsed)
            return parsed

        return await self._asked(listing, path, query, read)

    async def one(self, listing: Listing, path: str) -> Mapping[str, Any]:
        """The one object of an answer. Raises as ``objects``."""

        def read(parsed: Any) -> Mapping[str, Any]:
            if not isinstance(parsed, dict):
                raise _odd(listing.name)
            return parsed

        return await self._asked(listing, path, None, read)

    async def keys(self, listing: Listing, path: str) -> list[Any]:
        """What a list of changes names: objects, or ids alone. Raises as ``objects``."""

        def read(parsed: Any) -> list[Any]:
            if not isinstance(parsed, list):
                raise _odd(f"list of {listing.name}")
            return parsed

        return await self._asked(listing, path, None, read)

    async def of_school(self, listing: Listing, school: int) -> Objects:
        """A school's whole list. One that is empty is asked for again before it is believed. Raises ConnectorError."""
        return await self.whole(listing, listing.at(school), school)

    async def whole(self, listing: Listing, path: str, school: int | None = None) -> Objects:
        """A whole list in one answer, of which nothing can be lost but everything. Raises ConnectorError."""
        for _ in range(2):
            try:
                found = await self.objects(listing, path, school=school)
            except MissingError as error:
                self.take_missing(listing, school, error)
                return []
            if found:
                return found
        return []

    def take_missing(self, listing: Listing, school: int | None, error: MissingError) -> None:
        """Counts a list that may be missing. Raises ConnectorError (``not_found``) for one that may not."""
        if school is not None and self.config.missing_is_empty and error.said:
            self.missing += 1
            return
        raise not_found(listing, school) from None

    async def _asked(
        self, listing: Listing, path: str, query: Mapping[str, str] | None, read: Callable[[Any], T]
    ) -> T:  # fmt: skip
        """What ``read`` makes of an answer's JSON. What it refuses is asked for again, and is in no journal."""
        url = self.config.address(path)
        url = url.update_query(dict(query)) if query else url
        try:
            return await self.ask(url, listing.name, lambda answer: read(json_of(answer, listing.name, "not_aeries")))
        except SwitchedOffError:
            text = f"Aeries has {listing.name} switched off (HTTP 501). {_FLAG}"
            raise ConnectorError("switched_off", text, intent=Intent.ASK_HUMAN) from None
        except NotUnderstoodError:
            text = f"Aeries does not understand a plain request for {listing.name} (HTTP 400). Check the address."
            raise ConnectorError("query_refused", text, intent=Intent.ASK_HUMAN) from None
        except ConnectorError as error:
            if error.code == "not_permitted" and listing.area is not None:
                raise not_permitted(listing) from None
            raise

    async def _answer(self, method: str, url: URL, body: bytes | None, most_bytes: int) -> Answer:
        answer = await super()._answer(method, url, body, most_bytes)
        if answer.status == 501:
            raise SwitchedOffError
        if answer.status == 404:
            raise MissingError(said=_said(answer))
        return answer


def _odd(what: str) -> ConnectorError:
    return ConnectorError("not_aeries", f"The answer has no {what}.", intent=Intent.RETRY)


def _check(listing: Listing, school: int | None, found: Objects) -> None:
    """Raises ConnectorError (``other_school``) for rows that are another school's."""
    if school is not None and any(number(one, "school") not in {None, school} for one in found):
        text = f"Aeries answered with another school's {listing.name} than those of school {school}."
        raise ConnectorError("other_school", text, intent=Intent.RETRY)


def _said(answer: Answer) -> bool:
    """Whether an error is Aeries' own: it has a message in JSON (article "Building a Request")."""
    try:
        found = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return False
    return isinstance(found, dict) and isinstance(found.get("Message"), str)


def not_found(listing: Listing, school: int | None) -> ConnectorError:
    """A list that is not there, and what to do about it."""
    text = f"Aeries has no {listing.name} at this address (HTTP 404). Check the address, and that Aeries has API 5."
    if school is not None:
        text = (
            f"Aeries does not find the {listing.name} of school {school} (HTTP 404). If the school has none, exclude "
            "it (exclude_schools), or let missing lists count as empty (missing_is_empty)."
        )
    return ConnectorError("not_found", text, intent=Intent.ASK_HUMAN)


def not_permitted(listing: Listing) -> ConnectorError:
    """A list that the certificate may not read, and where it is permitted."""
    text = (
        f"The certificate may not read {listing.name} (HTTP 403). In Aeries, under Security > API, permit it to read "
        f"{listing.area!r}, or take it out of the source's entities."
    )
    return ConnectorError("not_permitted", text, intent=Intent.ASK_HUMAN)
