"""Where a schedule takes packages: a folder below the operator's, or an SFTP server. What may be written where.

A file appears under its name only when it is whole: it is written under another name beside it and renamed.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

import orjson
from pydantic import BaseModel, ConfigDict, Field, SecretStr, TypeAdapter, field_validator

from hub import crypto
from hub.addresses import Network
from hub.crypto import Keys, Sealer
from hub.export import folder, sftp
from hub.store.exports import Export
from hub.store.schedules import Schedule

LONGEST_NAME = 120
_PLACEHOLDERS = {"mode", "time", "version"}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\.zip\Z")
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9 ._-]*\Z")
_LONGEST_FOLDER = 500
_MOST_PARTS = 16


@dataclass(frozen=True, slots=True)
class Places:
    """What the operator allows. ``folder``: below it, a folder for each district. ``allow``: private networks."""

    folder: Path | None = None
    allow: Sequence[Network] = ()


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class _Place(_Model):
    folder: Annotated[str, Field(max_length=_LONGEST_FOLDER)] = ""
    filename: Annotated[str, Field(max_length=LONGEST_NAME)] = "oneroster.zip"

    @field_validator("filename")
    @classmethod
    def _plain(cls, value: str) -> str:
        used = set(re.findall(r"\{(\w*)\}", value))
        if not used <= _PLACEHOLDERS or not _NAME.match(re.sub(r"\{\w*\}", "x", value)):
            raise ValueError(
                "a file name has letters, digits, dots and dashes, may hold {mode}, {time} and {version}, "
                "and ends in .zip"
            )
        return value

    def name(self, export: Export) -> str:
        """The file's name for one export."""
        at = export.requested_at.strftime("%Y%m%dT%H%M%SZ")
        return self.filename.format(mode=export.kind, time=at, version=export.version)


class FolderPlace(_Place):
    """A folder below the district's own in the operator's ``HUB_EXPORT_FOLDER``."""

    kind: Literal["folder"]

    @field_validator("folder")
    @classmethod
    def _inside(cls, value: str) -> str:
        parts = value.split("/") if value else []
        if len(parts) > _MOST_PARTS or not all(_PART.match(part) for part in parts):
            raise ValueError("a folder is names with / between: letters, digits, _ and -, no dots at their beginning")
        return value

    async def take(
        self, places: Places, district_id: UUID, export: Export, data: AsyncIterator[bytes], secret: Secret | None
    ) -> None:  # fmt: skip
        """Writes the package. Raises HubError(TARGET_FAILED)."""
        parts = [str(district_id), *(self.folder.split("/") if self.folder else [])]
        await folder.write(places.folder, parts, self.name(export), str(export.export_id), data)


class SftpPlace(_Place):
    """A folder of an SFTP server. ``host_key``: the server's public key, as ``ssh-keyscan`` prints it."""

    kind: Literal["sftp"]
    host: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9.:_-]+$")]
    port: Annotated[int, Field(ge=1, le=65535)] = 22
    username: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
    host_key: Annotated[str, Field(max_length=4000)]

    @field_validator("folder")
    @classmethod
    def _printable(cls, value: str) -> str:
        if any(not c.isprintable() for c in value) or ".." in value.split("/"):
            raise ValueError("a folder on the server has no control characters and no ..")
        return value

    @field_validator("host_key")
    @classmethod
    def _is_key(cls, value: str) -> str:
        sftp.read_host_key(value)
        return " ".join(value.split())

    async def take(
        self, places: Places, district_id: UUID, export: Export, data: AsyncIterator[bytes], secret: Secret | None
    ) -> None:  # fmt: skip
        """Uploads the package. Raises HubError(TARGET_FAILED)."""
        del district_id
        login = sftp.Login(self.host, self.port, self.username, self.host_key, *(secret or Secret()).plain)
        await sftp.upload(login, places.allow, self.folder, self.name(export), str(export.export_id), data)


Place = Annotated[FolderPlace | SftpPlace, Field(discriminator="kind")]
_PLACE: TypeAdapter[FolderPlace | SftpPlace] = TypeAdapter(Place)


class Secret(_Model):
    """How to log in: a password, or a private key without a passphrase."""

    password: SecretStr | None = None
    private_key: SecretStr | None = None

    @field_validator("private_key")
    @classmethod
    def _readable(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            sftp.read_private_key(value.get_secret_value())
        return value

    @property
    def plain(self) -> tuple[str | None, str | None]:
        """Password and private key in the clear."""
        password, key = (None if v is None else v.get_secret_value() for v in (self.password, self.private_key))
        return password, key

    def sealed(self, key: Sealer | Keys, district_id: UUID, schedule_id: UUID) -> bytes:
        """Encrypted for this one row."""
        plain = orjson.dumps(self.plain)
        return crypto.seal(key, plain, district_id=district_id, table="export_schedules", column="secret",
                           row=str(schedule_id))  # fmt: skip

    @classmethod
    def unsealed(cls, key: Keys, sealed: bytes, district_id: UUID, schedule_id: UUID) -> Secret:
        """The inverse of ``sealed``. Raises HubError(INTERNAL) for a ciphertext of another row."""
        plain = crypto.unseal(key, sealed, district_id=district_id, table="export_schedules", column="secret",
                              row=str(schedule_id))  # fmt: skip
        password, private_key = orjson.loads(plain)
        return cls(password=password, private_key=private_key)


@dataclass(frozen=True, slots=True)
class Target:
    """A schedule's place, ready to take packages."""

    district_id: UUID
    place: FolderPlace | SftpPlace
    secret: Secret | None = field(default=None, repr=False)

    @classmethod
    def of(cls, schedule: Schedule, key: Keys, district_id: UUID) -> Target:
        """That of a schedule. Raises HubError(INTERNAL) for a secret that is another row's."""
        secret = None
        if schedule.secret is not None:
            secret = Secret.unsealed(key, schedule.secret, district_id, schedule.schedule_id)
        return cls(district_id, place(schedule.target), secret)

    async def take(self, places: Places, export: Export, data: AsyncIterator[bytes]) -> None:
        """Takes a package there. Raises HubError(TARGET_FAILED)."""
        await self.place.take(places, self.district_id, export, data, self.secret)


def place(stored: dict[str, Any]) -> FolderPlace | SftpPlace:
    """The place that the database holds."""
    return _PLACE.validate_python(stored)
