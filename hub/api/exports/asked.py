"""What a request for an export asks for, and what the answer says of one."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from hub.api.guard import Session
from hub.api.oneroster.errors import forbidden, invalid, unknown_object
from hub.api.oneroster.operations import scopes_of
from hub.export.making import Asked, offered
from hub.store.exports import Export
from transforms.catalogue import CATALOGUE, Version

VERSIONS: tuple[Version, ...] = ("1.2", "1.1")


class Wish(BaseModel):
    """A query or a body: which version, and whether all or what changed since the last acknowledged package."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    version: Version = "1.2"
    mode: Literal["bulk", "delta"] = "bulk"

    @classmethod
    def of(cls, given: Any) -> Wish:
        """The wish in a mapping or in JSON. Raises RefusedError (400)."""
        try:
            return cls.model_validate_json(given or b"{}") if isinstance(given, bytes) else cls.model_validate(given)
        except ValidationError:
            raise invalid("An export has a version, 1.1 or 1.2, and a mode, bulk or delta, and nothing else.") from None

    def asked(self, session: Session) -> Asked:
        """What the app may have of it: files for which it has a scope. Raises RefusedError (403) for none."""
        entities = allowed(session, self.version)
        if not entities:
            raise forbidden(scopes(self.version))
        return Asked(self.version, self.mode, entities)


def versions(text: str | None) -> tuple[Version, ...]:
    """The versions that a query may mean, before it is known to be one."""
    return (Wish().version,) if text is None else tuple(v for v in VERSIONS if v == text) or VERSIONS


def scopes(*versions: Version) -> tuple[str, ...]:
    """The scopes of which any one lets an app have some file of these versions."""
    found = (scope for v in versions for name in offered(v) for scope in scopes_of(CATALOGUE[name], v))
    return tuple(dict.fromkeys(found))


def allowed(session: Session, version: Version) -> frozenset[str]:
    """The entities whose files an app may have: as over REST, by the scopes of that version."""
    held = session.caller.scopes
    return frozenset(n for n in offered(version) if any(s in held for s in scopes_of(CATALOGUE[n], version)))


def check_scopes(session: Session, export: Export) -> None:
    """Raises RefusedError (403) where an export holds files for which the caller has no scope."""
    version: Version = "1.1" if export.version == "1.1" else "1.2"
    lacking = sorted(set(export.entities) - allowed(session, version))
    if lacking:
        raise forbidden(scopes_of(CATALOGUE[lacking[0]], version))


def as_id(text: str) -> UUID:
    """The export's id in a path. Raises RefusedError (404)."""
    try:
        return UUID(text)
    except ValueError:
        raise unknown_object() from None


def shown(export: Export, path: str) -> bytes:
    """An export as its app sees it; ``path``: where it stands."""
    error = {"code": export.error_code, "message": export.error_message} if export.error_code else None
    return orjson.dumps(
        {
            "export": str(export.export_id), "state": export.state, "version": export.version, "mode": export.mode,
            "kind": export.kind, "files": export.rows, "omitted": export.omitted, "bytes": export.bytes,
            "sha256": export.sha256, "progress": export.progress, "requested_at": export.requested_at,
            "made_at": export.made_at, "expires_at": export.expires_at, "acknowledged_at": export.acknowledged_at,
            "error": error, "file": f"{path}/file" if export.state == "ready" else None,
        }
    )  # fmt: skip
