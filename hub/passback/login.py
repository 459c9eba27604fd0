"""How the hub logs in to a district's system: OAuth 2 client credentials, or in OneRoster 1.1 OAuth 1.0a signatures."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter

from hub import crypto
from hub.crypto import Keys, Sealer

ClientId = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[\x21-\x7e]+$")]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class OAuth2(_Model):
    """Client credentials (RFC 6749 §4.4); the secret goes as HTTP Basic authentication to ``token_url``."""

    kind: Literal["oauth2"]
    token_url: Annotated[str, Field(max_length=2_000)]
    client_id: ClientId
    scope: Annotated[str, StringConstraints(max_length=2_000, pattern=r"^[\x21-\x7e ]*$")] = ""


class OAuth1(_Model):
    """Each request is signed (RFC 5849); OneRoster 1.1 alone knows it."""

    kind: Literal["oauth1"]
    client_id: ClientId
    signature_method: Literal["HMAC-SHA256", "HMAC-SHA1"] = "HMAC-SHA256"


Login = Annotated[OAuth2 | OAuth1, Field(discriminator="kind")]
_LOGIN: TypeAdapter[OAuth2 | OAuth1] = TypeAdapter(Login)


def login(stored: dict[str, Any]) -> OAuth2 | OAuth1:
    """The login that the database holds."""
    return _LOGIN.validate_python(stored)


def sealed(key: Sealer | Keys, secret: str, district_id: UUID, target_id: UUID) -> bytes:
    """A client's secret, encrypted for one target's row. ``key``: hub.vault.to_seal."""
    return crypto.seal(
        key, secret.encode(), district_id=district_id, table="grade_targets", column="secret", row=str(target_id)
    )


def unsealed(key: Keys, secret: bytes, district_id: UUID, target_id: UUID) -> str:
    """The inverse of ``sealed``. Raises HubError(INTERNAL) for a ciphertext of another row."""
    return crypto.unseal(
        key, secret, district_id=district_id, table="grade_targets", column="secret", row=str(target_id)
    ).decode()
