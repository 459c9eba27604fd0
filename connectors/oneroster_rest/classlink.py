"""ClassLink's Roster Server: a partner's key opens a list of districts, each with a bearer for the proxy.

Beside the proxy, the list leads to the credentials of a district's own server. A bearer that is refused may have been
changed: the list is asked again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from yarl import URL

from connectors.answer import Answer
from connectors.client import Client, json_of
from connectors.http import Web
from connectors.oauth2 import Bearer, Fetched
from connectors.oneroster_rest.config import ClassLink
from connectors.protocol import ConnectorError, Intent, SourceContext

#: The members of the list by which a district may be named.
_NAMES = ("oneroster_application_id", "application_id", "id", "tenant_id")
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Application:
    """One district of a partner: ``key`` names it in addresses, as it stands in the list."""

    key: str
    name: str
    bearer: str = field(repr=False)
    names: frozenset[str]


@dataclass(frozen=True, slots=True)
class Direct:
    """A district's own server: OneRoster 1.1 with signatures."""

    url: str
    client_id: str
    client_secret: str = field(repr=False)


@dataclass
class Partner:
    """What a partner's key opens at the proxy."""

    context: SourceContext
    web: Web
    proxy: URL
    key: str = field(repr=False)

    async def applications(self) -> Sequence[Application]:
        """All districts of the partner. Raises ConnectorError as ``Client.ask`` does, and (``not_json``)."""
        found = await self._ask(self.proxy / "applications", "list of districts")
        listed = found.get("applications") if isinstance(found, dict) else found
        if not isinstance(listed, list):
            text = "The proxy's answer has no list of districts. Is url the address of ClassLink's proxy?"
            raise ConnectorError("not_json", text, intent=Intent.ASK_HUMAN)
        return [_application(one) for one in listed if isinstance(one, dict) and one.get(_NAMES[0])]

    async def application(self, terms: ClassLink) -> Application:
        """The district that the configuration names. Raises ConnectorError (``no_application``)."""
        there = await self.applications()
        found = [one for one in there if terms.application in one.names]
        if len(found) == 1:
            return found[0]
        listed = ", ".join(f"{one.name} ({one.key})" for one in there[:_SHOWN]) or "none"
        text = f"The key opens no district of this id. Set login.application to one of: {listed}."
        raise ConnectorError("no_application", text, intent=Intent.ASK_HUMAN)

    async def direct(self, application: Application) -> Direct:
        """The credentials of a district's own server. Raises ConnectorError (``not_json``)."""
        url = URL(f"{self.proxy}/applications/{application.key}/server", encoded=True)
        found = await self._ask(url, "credentials of the district's server")
        told = found.get("server", found) if isinstance(found, dict) else {}
        values = [told.get(name) for name in ("endpoint_url", "client_id", "client_secret")]
        if not all(isinstance(value, str) and value for value in values):
            text = "The proxy gives no credentials for the district's own server. Set login.connection to proxy."
            raise ConnectorError("not_json", text, intent=Intent.ASK_HUMAN)
        return Direct(*map(str, values))

    async def _ask(self, url: URL, what: str) -> Any:
        def read(answer: Answer) -> Any:
            return json_of(answer, what)

        unkept = replace(self.context, journal=None)  # its answers hold secrets
        return await Client(unkept, self.web, Bearer(self.key)).ask(url, what, read)


@dataclass
class ProxyLogin(Fetched):
    """The bearer of one district. A new one is asked for once it is refused."""

    partner: Partner
    terms: ClassLink

    async def fetch(self) -> tuple[str, float]:
        """Asks the list of districts. Raises ConnectorError."""
        return (await self.partner.application(self.terms)).bearer, float("inf")


def _application(one: Mapping[str, Any]) -> Application:
    names = frozenset(str(one[name]) for name in _NAMES if one.get(name))
    name = str(one.get("tenant_name") or one.get("name") or "a district without a name")
    return Application(str(one[_NAMES[0]]), name, str(one.get("bearer") or ""), names)
