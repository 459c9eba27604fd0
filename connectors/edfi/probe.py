"""A try of the connection: what works, what does not, and what a person has to do about it, in plain words."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import orjson

from connectors import probing
from connectors.answer import Answer
from connectors.client import NotUnderstoodError, json_of
from connectors.edfi import resources
from connectors.edfi.client import Client
from connectors.edfi.config import EdFiConfig
from connectors.edfi.walk import Wanted
from connectors.http import Web
from connectors.members import objects_of
from connectors.probing import PATIENCE_SECONDS, Sample
from connectors.protocol import ConnectorError, Found, SourceContext

SAMPLE_ROWS, LARGE_ROWS = 5, 200


async def probe(context: SourceContext, config: EdFiConfig, web: Web) -> list[Found]:
    """Reaches the host, logs in and asks for a few rows of each resource. Never raises ConnectorError."""
    found = await probing.greeted(web, [config.url], context.now())
    if not probing.works(found):
        return found
    try:
        client = await Client.of(context, config, web, tries=1)  # whoever waits for the answer tries again themselves
    except ConnectorError as error:
        return [*found, Found("api" if error.code != "no_secret" else "login", "bad", error.message)]
    found.append(_described(client))
    try:
        await client.login.headers("GET", client.described.data)
    except ConnectorError as error:
        return [*found, Found("login", "bad", error.message), _where()]
    clock = probing.clock(client.started, context.now(), "the hub's clock counts", "It decides about nothing here.")
    trying = _Trying(client)
    found += [Found("login", "good", "The system accepts the key."), clock, await _orgs(client)]
    found += [await trying.resource(name) for name in resources.needed(client)]
    where = [] if probing.works(found) else [_where()]
    return [*found, await _changes(client), *await trying.whole(), *where]


def _where() -> Found:
    """Where the host's staff looks when something is refused or missing."""
    text = (
        "In the host's administration (Admin App, or its form for vendors): the application's key and secret, its "
        "education organization, and a claim set that may read each resource that is named above."
    )
    return Found("where to look", "warning", text)


def _described(client: Client) -> Found:
    described = client.described
    version, model = (".".join(map(str, numbers)) or "unknown" for numbers in (described.version, described.model))
    pages = "pages by tokens" if described.by_tokens else "pages from the end to the beginning"
    return Found("api", "good", f"Ed-Fi ODS / API {version}, data standard {model}; {pages}.")


async def _orgs(client: Client) -> Found:
    """Of which organizations the key may read."""
    headers = await client.login.headers("POST", client.described.oauth)
    token = headers["Authorization"].removeprefix("Bearer ")

    def read(answer: Answer) -> Sequence[object]:
        told = json_of(answer, "what the token is for", "not_edfi")
        return objects_of(told.get("education_organizations") if isinstance(told, dict) else None)

    url = client.described.oauth.with_path(client.described.oauth.path + "_info")
    try:
        found = await client.ask(url, "what the token is for", read, method="POST", body=orjson.dumps({"token": token}))
    except (ConnectorError, NotUnderstoodError):
        return Found("organizations", "warning", "The system does not say which organizations the key may read.")
    if not found:
        text = "The key is for no organization. Assign the district to it in the host's administration (vendor, key)."
        return Found("organizations", "bad", text)
    if len(found) > 1 and client.config.district is None:
        text = f"The key is for {len(found)} organizations. If these are several districts, state the district."
        return Found("organizations", "warning", text)
    return Found("organizations", "good", f"The key is for {len(found)} organizations.")


@dataclass
class _Trying:
    """What is seen of the resources."""

    client: Client
    counts: dict[str, int] = field(default_factory=dict)
    samples: dict[str, Sample] = field(default_factory=dict)
    begun: float = field(default_factory=time.monotonic)

    async def resource(self, name: str) -> Found:
        """The count and a few rows of one resource."""
        if time.monotonic() - self.begun > PATIENCE_SECONDS:
            return probing.not_tried(name)
        optional = name in resources.OPTIONAL
        try:
            total = await self.client.count(Wanted(name).url(self.client), name)
            await self._sample(name, SAMPLE_ROWS)
        except NotUnderstoodError:
            return Found(name, "bad", "The system does not understand the request (HTTP 400).")
        except ConnectorError as error:
            return Found(name, "warning" if optional else "bad", error.message)
        self.counts[name] = total
        if not total:
            text = "There are none. If the system has some, the key's claim set must let it read them."
            return Found(name, "good" if optional else "warning", text)
        sample, pages = self.samples[name], -(-total // self.client.config.page_rows)
        text = f"{total:,} rows; {sample.rows} of them came in {sample.seconds:.1f} s."
        return Found(name, "good", f"{text} A whole pull asks {pages:,} times." if pages > 1 else text)

    async def _sample(self, name: str, rows: int) -> None:
        url = Wanted(name).url(self.client).update_query(limit=str(rows), offset="0")
        begun = time.monotonic()
        page = await self.client.page(url, name)
        self.samples[name] = Sample(len(page.objects), page.size, time.monotonic() - begun)

    async def whole(self) -> list[Found]:
        """What a pull of everything costs, by the largest resource."""
        late = time.monotonic() - self.begun > PATIENCE_SECONDS
        if late or not any(self.counts.values()) or self.counts.keys() < set(resources.needed(self.client)):
            return []
        largest = max(self.counts, key=lambda name: self.counts[name])
        small, page_rows = self.samples[largest], self.client.config.page_rows
        try:
            await self._sample(largest, min(LARGE_ROWS, page_rows))
        except (ConnectorError, NotUnderstoodError):
            return []  # it gave a page before: what is wrong now is no matter of the configuration
        # Each resource is counted before and after it is read.
        requests = sum(2 + -(-count // page_rows) for count in self.counts.values())
        return [probing.whole(sum(self.counts.values()), requests, small, self.samples[largest])]


async def _changes(client: Client) -> Found:
    if not client.config.changes:
        return Found("changes", "good", "The source does not ask for changes: everything is pulled each time.")
    try:
        versions = await client.versions()
    except ConnectorError as error:
        return Found("changes", "bad", error.message)
    if versions is None:
        text = "The host tells of no changes, so everything is pulled each time. Have it switch change queries on."
        return Found("changes", "warning", text)
    snapshot = await client.use_snapshot()
    return Found("changes", "good", f"Changes are told{', and there is a snapshot' if snapshot else ''}.")
