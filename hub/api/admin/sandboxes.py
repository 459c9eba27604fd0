"""A sandbox for an app: a made-up district that grants it everything, by one call.

The first call makes the district, a source, a grant and the package; each further one loads that package again, so that
the sandbox is as it was at first. ``changes`` loads the same district some months later, for whoever tries deltas.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

from pydantic import Field

from hub.api.admin.apps import OPERATOR_OR_APP
from hub.api.admin.call import Call
from hub.api.admin.route import Route
from hub.api.admin.shapes import Asked, Shown
from hub.crypto import load_key
from hub.errors import Code, HubError
from hub.ids import new_id
from hub.sandbox import DistrictPlan, generate
from hub.scope.grants import GrantDefinition
from hub.store import apps, grants, runs, sources, uploads
from hub.store import sandboxes as store
from hub.sync import grants as granting
from transforms.catalogue import CATALOGUE, Privacy

#: Larger districts are made with ``hub sandbox``, where nobody waits for an answer.
MOST_STUDENTS = 2_000
#: An app that tries things should see every field that there is.
EVERYTHING = GrantDefinition(entities=tuple(e.name for e in CATALOGUE.entities), privacy=tuple(Privacy))


class NewSandbox(Asked):
    """How large a district to make. A sandbox that is there already keeps its own size."""

    students: int = Field(default=200, ge=100, le=MOST_STUDENTS)
    seed: int = Field(default=1, ge=0, lt=2**31, description="The same seed gives the same people.")
    pseudonymous_ids: bool = Field(default=False, description="Whether the sandbox shows ids that only this app has.")


class Sandbox(Shown):
    """A sandbox, and the run that loads it."""

    district_id: UUID
    name: str
    oneroster: str = Field(description="Where its OneRoster services begin.")
    grant_id: UUID
    source_id: UUID
    run_id: UUID = Field(description="Reading is worth while once this run is applied, a few seconds from now.")


async def create(call: Call, body: NewSandbox) -> Sandbox:
    """Makes the app's sandbox, or brings it back to its first state."""
    app_id = call.id("app")
    async with call.reading() as tx:
        app = await apps.get(tx, app_id)
        sandbox = await store.find(tx, app_id)
    if sandbox is None:
        sandbox = await _made(call, app, body)
    return await _load(call, sandbox, changed=False)


async def change(call: Call) -> Sandbox:
    """Lets some months pass in the sandbox: people come and go, classes open, names are corrected."""
    async with call.reading() as tx:
        sandbox = await store.find(tx, call.id("app"))
    if sandbox is None:
        raise HubError(Code.NOT_FOUND, "This app has no sandbox yet. Make one first.")
    return await _load(call, sandbox, changed=True)


async def _made(call: Call, app: apps.App, body: NewSandbox) -> store.Sandbox:
    key = await asyncio.to_thread(load_key, call.context.settings) if body.pseudonymous_ids else None
    async with call.context.db.district(new_id()) as tx:
        plan = body.model_dump(mode="json", exclude={"pseudonymous_ids"})
        sandbox = await store.create(tx, f"Sandbox of {app.name}"[:200], app_id=app.app_id, plan=plan)
        await sources.create(tx, new_id(), name="Made-up SIS", kind="oneroster_csv", config={})
        await granting.create(tx, app.app_id, EVERYTHING, call.context.clock.now(), pseudonyms=key)
    return sandbox


async def _load(call: Call, sandbox: store.Sandbox, *, changed: bool) -> Sandbox:
    """Sends the package as anybody would and queues its run."""
    on, db = call.on(sandbox.district_id), call.context.db
    async with on.reading() as tx:
        (source,) = await sources.listing(tx)
        grant = await grants.of_app(tx, call.id("app"))
    if grant is None:
        raise HubError(Code.CONFLICT, "The sandbox's grant was withdrawn. Ask an operator for another one.")
    package = await asyncio.to_thread(_package, DistrictPlan(**sandbox.plan, changes=True, dirt=0), changed)
    upload_id, limit = new_id(), call.context.settings.upload_max_bytes
    async with db.district(sandbox.district_id) as tx:
        await uploads.begin(tx, upload_id, source_id=source.source_id, filename="sandbox.zip")
    size, sha256 = await uploads.receive(db, sandbox.district_id, upload_id, _once(package), limit=limit)
    async with on.writing() as writing:
        await uploads.complete(writing.tx, upload_id, size=size, sha256=sha256)
        run = await runs.request(
            writing.tx, new_id(), source_id=source.source_id, upload_id=upload_id, dry_run=False,
            requested_by=call.actor_name,
        )  # fmt: skip
        writing.note(f"run/{run.run_id}", app=str(call.id("app")))
    await call.context.wake("sync", sandbox.district_id)
    return Sandbox(
        district_id=sandbox.district_id,
        name=sandbox.name,
        oneroster=f"{call.context.settings.public_url}/d/{sandbox.district_id}/ims/oneroster",
        grant_id=grant.grant_id,
        source_id=source.source_id,
        run_id=run.run_id,
    )


def _package(plan: DistrictPlan, changed: bool) -> bytes:
    with tempfile.TemporaryDirectory(prefix="rosterhub-sandbox-") as folder:
        files = generate(plan).write(Path(folder))
        path = files.changed_package if changed else files.package
        assert path is not None
        return path.read_bytes()


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


_PATH = "/apps/{app}/sandbox"
_ERRORS = (Code.CONFLICT,)
ROUTES = (
    Route("POST", _PATH, create, "Make an app's sandbox district, or bring it back to its first state",
          roles=OPERATOR_OR_APP, body=NewSandbox, answer=Sandbox, status=201, action="sandbox.load", errors=_ERRORS),
    Route("POST", _PATH + "/changes", change, "Let some months pass in an app's sandbox", roles=OPERATOR_OR_APP,
          answer=Sandbox, status=201, action="sandbox.change", errors=_ERRORS),
)  # fmt: skip
