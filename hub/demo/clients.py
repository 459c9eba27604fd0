"""What the demo speaks with: the admin API as an administrator, OneRoster as an app."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from hub.errors import Code, HubError

ENDED = frozenset({"applied", "unchanged", "previewed", "held", "rejected", "failed"})
_CHUNK = 1 << 18


async def _answer(response: aiohttp.ClientResponse) -> Any:
    body = await response.read()
    if response.status >= 400:
        raise HubError(
            Code.INTERNAL, f"{response.method} {response.url.path} answered {response.status}: {body[:500]!r}"
        )
    return orjson.loads(body) if body else None


@dataclass
class Admin:
    """The admin API."""

    http: aiohttp.ClientSession
    url: str
    token: str

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        """One call; the decoded answer. Raises HubError when the API refuses."""
        headers = {"Authorization": f"Bearer {self.token}"}
        async with self.http.request(method, self.url + path, json=body, headers=headers) as response:
            return await _answer(response)

    async def upload(self, district: str, source: str, package: Path) -> str:
        """Sends a package; the upload's id."""

        async def chunks() -> Any:
            file = await asyncio.to_thread(package.open, "rb")
            try:
                while chunk := await asyncio.to_thread(file.read, _CHUNK):
                    yield chunk
            finally:
                file.close()

        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/zip"}
        path = f"{self.url}/districts/{district}/sources/{source}/uploads"
        async with self.http.post(path, params={"filename": package.name}, data=chunks(), headers=headers) as response:
            upload: str = (await _answer(response))["upload_id"]
            return upload

    async def sync(self, district: str, upload: str, watch: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        """Runs an upload to its end; the run. ``watch`` sees it about five times a second."""
        run: dict[str, Any] = await self.call("POST", f"/districts/{district}/runs", {"upload_id": upload})
        while run["state"] not in ENDED:
            await asyncio.sleep(0.2)
            run = await self.call("GET", f"/districts/{district}/runs/{run['run_id']}")
            watch(run)
        return run


@dataclass
class App:
    """One app's OneRoster client: credentials in, records out."""

    http: aiohttp.ClientSession
    name: str
    client_id: str
    client_secret: str
    token_url: str
    _token: str = ""
    _until: float = field(default=0.0)

    async def token(self) -> str:
        """A valid access token (client credentials, all scopes that the client has)."""
        if time.monotonic() >= self._until:
            auth = aiohttp.BasicAuth(self.client_id, self.client_secret)
            form = {"grant_type": "client_credentials"}
            async with self.http.post(self.token_url, data=form, auth=auth) as response:
                answer = await _answer(response)
            self._token, self._until = answer["access_token"], time.monotonic() + answer["expires_in"] - 30
        return self._token

    async def get(self, oneroster: str, path: str, **query: str | int) -> tuple[int, Any, Any]:
        """One read below ``oneroster`` (the address that ends in /ims/oneroster): status, headers, decoded body."""
        headers = {"Authorization": f"Bearer {await self.token()}"}
        url = f"{oneroster}/rostering/v1p2{path}"
        async with self.http.get(url, params=query, headers=headers) as response:
            return response.status, response.headers, orjson.loads(await response.read())
