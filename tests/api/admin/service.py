"""What the tests of the admin API are handed."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg
from aiohttp import ClientSession
from aiohttp.test_utils import TestServer

from hub.api.admin.route import PREFIX
from hub.ids import new_id
from hub.store import runs
from hub.store.database import Database as Pool
from tests.fakes.receiver import Receiver


@dataclass(frozen=True)
class Answer:
    """An answer that was read to its end."""

    status: int
    json: Any
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class AdminHub:
    """A running admin API, its tokens, and two districts with a source, an app and a grant each.

    ``there``: a receiver of webhooks.
    """

    server: TestServer
    session: ClientSession
    pool: Pool
    owner_url: str
    worker_url: str
    tokens: dict[str, str]
    rung: list[tuple[str, UUID]]
    district: UUID
    source: UUID
    foreign_district: UUID
    foreign_source: UUID
    app: UUID
    foreign_app: UUID
    grant: UUID
    foreign_grant: UUID
    there: Receiver

    async def call(self, method: str, path: str, *, role: str | None = "operator", **options: Any) -> Answer:
        """One request below the API's prefix; ``role`` chooses the token."""
        headers = dict(options.pop("headers", {}))
        if role is not None:
            headers.setdefault("Authorization", f"Bearer {self.tokens[role]}")
        async with self.session.request(method, PREFIX + path, headers=headers, **options) as response:
            body = await response.read()
            is_json = response.content_type in ("application/json", "application/problem+json")
            return Answer(
                response.status, await response.json(content_type=None) if is_json else None,
                {k: v for k, v in response.headers.items() if k != "Date"}, body,
            )  # fmt: skip

    async def made(self, method: str, path: str, **options: Any) -> Any:
        """The JSON of a request that must succeed."""
        answer = await self.call(method, path, **options)
        assert answer.status < 300, answer.body
        return answer.json

    async def upload(self, content: bytes = b"", *, role: str = "operator") -> Any:
        """A package that was sent to our district's source."""
        path = f"/districts/{self.district}/sources/{self.source}/uploads"
        headers = {"Content-Type": "application/zip"}
        return await self.made("POST", path, role=role, data=content or package(), headers=headers)

    async def run(self, state: str = "queued") -> UUID:
        """A run of our district, brought into a state as a worker would."""
        upload = await self.upload()
        async with self.pool.district(self.district) as tx:
            run = await runs.request(
                tx, new_id(), source_id=self.source, upload_id=UUID(upload["upload_id"]), dry_run=False,
                requested_by="tests",
            )  # fmt: skip
        if state != "queued":
            worker = await Pool.open(self.worker_url, name="tests as a worker")
            claim = await runs.claim(worker)
            assert claim is not None
            if state != "running":
                async with worker.district(self.district) as tx:
                    await runs.finish(tx, claim, state, counts={"users": {"created": 3}}, report={"total": 0})
            await worker.close()
        return run.run_id

    async def audit_rows(self) -> list[dict[str, Any]]:
        """All audit rows of all districts, seen past row-level security."""
        connection = await asyncpg.connect(self.owner_url)
        try:
            rows = await connection.fetch("SELECT * FROM hub.audit ORDER BY seq")
        finally:
            await connection.close()
        return [dict(row) for row in rows]


def package() -> bytes:
    """A small zip file."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(
            zipfile.ZipInfo("manifest.csv"), "propertyName,value\nmanifest.version,1.0\noneroster.version,1.1\n"
        )
    return out.getvalue()
