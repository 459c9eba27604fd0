"""A try of the connection: what works, what does not, and what a person has to do about it, in plain words."""

from __future__ import annotations

import time
from collections.abc import Sequence

import orjson

from connectors.client import NotUnderstoodError, json_of
from connectors.edfi import resources
from connectors.edfi.client import Client
from connectors.edfi.config import EdFiConfig
from connectors.edfi.walk import Wanted
from connectors.http import Answer, Web
from connectors.members import objects_of
from connectors.probing import clock, not_logged_in, reached
from connectors.protocol import ConnectorError, Found, SourceContext

SAMPLE_ROWS = 5


async def probe(context: SourceContext, config: EdFiConfig, web: Web) -> list[Found]:
    """Logs in and asks for a few rows of each resource. Never raises ConnectorError."""
    try:
        client = await Client.of(context, config, web, tries=1)  # whoever waits for the answer tries again themselves
        await client.login.headers("GET", client.described.data)
    except ConnectorError as error:
        return not_logged_in(error, config.url)
    told = clock(client.started, context.now(), "the hub's clock counts", "It decides about nothing here.")
    found = [reached(config.url), _described(client), Found("login", "good", "The system accepts the key."), told]
    found.append(await _orgs(client))
    found += [await _resource(client, name) for name in resources.needed(client)]
    return [*found, await _changes(client)]


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


async def _resource(client: Client, name: str) -> Found:
    url = Wanted(name).url(client)
    begun = time.monotonic()
    optional = name in resources.OPTIONAL
    try:
        total = await client.count(url, name)
        page = await client.page(url.update_query(limit=str(SAMPLE_ROWS), offset="0"), name)
    except NotUnderstoodError:
        return Found(name, "bad", "The system does not understand the request (HTTP 400).")
    except ConnectorError as error:
        return Found(name, "warning" if optional else "bad", error.message)
    if not total:
        text = "There are none. If the system has some, the key's claim set must let it read them."
        return Found(name, "good" if optional else "warning", text)
    pages = -(-total // client.config.page_rows)
    text = f"{total:,} rows; {len(page.objects)} of them came in {time.monotonic() - begun:.1f} s."
    return Found(name, "good", f"{text} A whole pull asks {pages} times.")


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
