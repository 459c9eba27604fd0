"""Drops: a source's login at the hub's own SFTP server. Its password is shown once."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated

from pydantic import Field, StringConstraints, field_validator

from connectors import ssh
from connectors.protocol import Capability, ConnectorError, SourceContext
from connectors.registry import connector
from hub import vault
from hub.api.admin.call import Call
from hub.api.admin.route import STAFF, Route
from hub.api.admin.shapes import Asked, Shown
from hub.api.client_secrets import hash_secret, new_secret
from hub.crypto import load_key
from hub.drop.host_key import host_key, line
from hub.errors import Code, HubError
from hub.store import drops as store
from hub.store import sources

PublicKey = Annotated[str, StringConstraints(max_length=4_000)]


class NewDrop(Asked):
    """How somebody may log in."""

    password: bool = Field(default=True, description="Make a password; without it the public keys alone are good.")
    public_keys: list[PublicKey] = Field(
        default=[], max_length=10, description="Keys of the vendor, as lines of OpenSSH: `ssh-ed25519 AAAA…`."
    )

    @field_validator("public_keys")
    @classmethod
    def _readable(cls, lines: list[str]) -> list[str]:
        return [" ".join(ssh.read_host_key(one).export_public_key().decode().split()[:2]) for one in lines]


class Drop(Shown):
    """A source's login at the hub's SFTP server."""

    username: str
    has_password: bool
    public_keys: list[str]
    address: str | None = Field(description="Where the vendor connects to, if the operator said it (HUB_SFTP_ADDRESS).")
    host_key: str = Field(description="The server's public key, for the vendor to compare.")
    fingerprint: str = Field(description="The fingerprint of that key.")
    created_at: datetime
    changed_at: datetime
    used_at: datetime | None = Field(description="When somebody logged in last.")


class MadeDrop(Drop):
    """The same with its password, which cannot be shown again."""

    password: str | None


async def _shown(call: Call, row: store.Drop) -> dict[str, object]:
    settings = call.context.settings
    keys = await asyncio.to_thread(load_key, settings)
    await vault.fix(call.context.db, keys)
    key = await asyncio.to_thread(host_key, settings, keys)
    return {
        "username": row.username, "has_password": row.password_hash is not None, "public_keys": row.public_keys,
        "address": settings.sftp_address, "host_key": line(key), "fingerprint": key.get_fingerprint(),
        "created_at": row.created_at, "changed_at": row.changed_at, "used_at": row.used_at,
    }  # fmt: skip


async def _secret(body: NewDrop) -> tuple[str | None, str | None]:
    """A password and its hash. Raises HubError(INVALID_REQUEST) for a login that nobody could use."""
    if not body.password and not body.public_keys:
        raise HubError(Code.INVALID_REQUEST, "public_keys: state one, or have a password made.")
    password = new_secret() if body.password else None
    return password, None if password is None else await asyncio.to_thread(hash_secret, password)


async def _check_takes(source: sources.Source) -> None:
    """Raises HubError(CONFLICT) for a source that nothing can be sent to."""
    if source.state == "departed":
        raise HubError(Code.CONFLICT, "The source has departed.")
    try:
        spec = await asyncio.to_thread(connector, source.kind)
        config = await asyncio.to_thread(spec.config_model.model_validate, source.config)
        can = spec.open(SourceContext(config=config)).capabilities
    except (ConnectorError, ValueError):
        raise HubError(Code.CONFLICT, "The source's configuration does not fit its kind. Set it anew.") from None
    if Capability.UPLOAD not in can:
        raise HubError(Code.CONFLICT, "Sources of this kind are pulled and take no packages.")


async def create(call: Call, body: NewDrop) -> MadeDrop:
    """Makes the login of a source."""
    source_id = call.id("source")
    password, hashed = await _secret(body)
    async with call.writing() as writing:
        await _check_takes(await sources.get(writing.tx, source_id))
        row = await store.create(
            writing.tx, source_id, username=store.new_username(), password_hash=hashed, public_keys=body.public_keys
        )
        writing.note(f"drop/{source_id}", password=body.password, keys=len(body.public_keys))
    return MadeDrop.model_validate({**await _shown(call, row), "password": password})


async def get(call: Call) -> Drop:
    """The login of a source."""
    async with call.reading() as tx:
        row = await store.get(tx, call.id("source"))
    return Drop.model_validate(await _shown(call, row))


async def rotate(call: Call, body: NewDrop) -> MadeDrop:
    """Replaces password and keys; what was good before is not any more, and sessions end."""
    source_id = call.id("source")
    password, hashed = await _secret(body)
    async with call.writing() as writing:
        row = await store.change(writing.tx, source_id, password_hash=hashed, public_keys=body.public_keys)
        writing.note(f"drop/{source_id}", password=body.password, keys=len(body.public_keys))
    return MadeDrop.model_validate({**await _shown(call, row), "password": password})


async def remove(call: Call) -> None:
    """Takes the login away; sessions end."""
    source_id = call.id("source")
    async with call.writing() as writing:
        await store.delete(writing.tx, source_id)
        writing.note(f"drop/{source_id}")


_PATH = "/districts/{district}/sources/{source}/drop"
ROUTES = (
    Route("POST", _PATH, create, "Make a source's SFTP login", roles=STAFF, body=NewDrop, answer=MadeDrop, status=201,
          action="drop.create", errors=(Code.CONFLICT,)),
    Route("GET", _PATH, get, "A source's SFTP login", roles=STAFF, answer=Drop),
    Route("POST", f"{_PATH}/rotate", rotate, "Replace its password and keys", roles=STAFF, body=NewDrop,
          answer=MadeDrop, action="drop.rotate"),
    Route("DELETE", _PATH, remove, "Take it away", roles=STAFF, status=204, action="drop.remove"),
)  # fmt: skip
