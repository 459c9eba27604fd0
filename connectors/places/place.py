"""What a district may say about the place that its packages are pulled from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from connectors import ssh

_LONGEST_FOLDER = 500
_LONGEST_NAME = 200
_MOST_PARTS = 16
#: A pull from a place of another machine looks twice, so far apart at most: the district's other runs wait meanwhile.
LONGEST_SETTLE_SECONDS = 600
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9 ._-]*\Z")


class Place(BaseModel):
    """What all places have: which files are a package, when it is whole, and what becomes of it."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    folder: Annotated[str, Field(max_length=_LONGEST_FOLDER)] = Field(
        default="", description="The folder with the packages. Empty: where the login begins."
    )
    package: Literal["archive", "folder"] = Field(
        default="archive",
        description="`archive`: each file that fits the pattern is a package, and the newest is taken. `folder`: the"
        " CSV files of the folder are one package together.",
    )
    pattern: Annotated[str, Field(min_length=1, max_length=_LONGEST_NAME, pattern=r"^[^/\x00-\x1f\x7f]+$")] = Field(
        default="*.zip", description="Which files are archives: `*` stands for anything, `?` for one character."
    )
    marker: Annotated[str, Field(min_length=1, max_length=_LONGEST_NAME, pattern=r"^[^/\x00-\x1f\x7f]+$")] | None = (
        Field(
            default=None,
            description="A file that the sender writes when a package is whole, such as `done.txt` or `{name}.done`."
            " Without it a package is whole once size and time of its files stay the same for settle_seconds.",
        )
    )
    after: Literal["keep", "move", "delete"] = Field(
        default="keep", description="What becomes of a package at its place once it was applied."
    )
    move_to: Annotated[str, Field(min_length=1, max_length=_LONGEST_FOLDER)] = Field(
        default="taken",
        description="The folder, seen from `folder`, for applied packages; it must exist.",
    )
    stale_hours: int | None = Field(
        default=None, ge=1, le=8_784,
        description="A pull fails when the newest package is older than this, so that nobody takes last month's for"
        " today's. Null: any age will do.",
    )  # fmt: skip

    @field_validator("folder", "move_to")
    @classmethod
    def _printable(cls, value: str) -> str:
        if any(not c.isprintable() for c in value) or ".." in value.split("/"):
            raise ValueError("a folder has no control characters and no ..")
        return value


class SftpPlace(Place):
    """A folder of an SFTP server."""

    kind: Literal["sftp"]
    host: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9.:_-]+$")]
    port: Annotated[int, Field(ge=1, le=65535)] = 22
    username: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
    host_key: Annotated[str, Field(max_length=4000)] | None = Field(
        default=None,
        description="The server's public key, as `ssh-keyscan` prints it, or its fingerprint `SHA256:…`. Nothing is"
        " pulled without it; a test of the source shows the keys that the server has.",
    )

    @field_validator("host_key")
    @classmethod
    def _is_key(cls, value: str | None) -> str | None:
        return None if value is None else ssh.check_host_key(value)


class FolderPlace(Place):
    """A folder of the hub's machine, below the district's own in the operator's ``HUB_WATCH_FOLDER``."""

    kind: Literal["folder"]

    @field_validator("folder", "move_to")
    @classmethod
    def _inside(cls, value: str) -> str:
        parts = value.split("/") if value else []
        if len(parts) > _MOST_PARTS or not all(_PART.match(part) for part in parts):
            raise ValueError("a folder is names with / between: letters, digits, _ and -, no dots at their beginning")
        return value


class S3Place(Place):
    """A folder (prefix) of a bucket that speaks S3."""

    kind: Literal["s3"]
    endpoint: Annotated[str, Field(max_length=500, pattern=r"^https?://[^\s/?#@]+$")] = Field(
        description="Where the bucket is asked for, such as `https://s3.eu-central-1.amazonaws.com`."
    )
    region: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,50}$")] = "us-east-1"
    bucket: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
    path_style: bool = Field(
        default=True, description="Whether the bucket stands in the path; else before the endpoint's name."
    )


AnyPlace = Annotated[SftpPlace | FolderPlace | S3Place, Field(discriminator="kind")]
#: What a source of files may be given as secrets.
SECRETS: Mapping[str, str] = {
    "password": "The password at the SFTP server.",
    "private_key": "The private key for the SFTP server, in OpenSSH's or PEM form.",
    "passphrase": "The passphrase of that key, where it has one.",
    "access_key": "The name of the key to a bucket (access key ID).",
    "secret_key": "The secret of that key.",
}
#: Where these go.
TARGETS = frozenset({"place.kind", "place.host", "place.port", "place.username", "place.endpoint"})


class Placed(BaseModel):
    """A configuration with a place, for connectors to inherit from."""

    place: AnyPlace | None = Field(
        default=None, description="Where packages are pulled from, other than a path. Null: nowhere."
    )

    @model_validator(mode="after")
    def _one(self) -> Any:
        remote = self.place is not None and not isinstance(self.place, FolderPlace)
        if remote and getattr(self, "settle_seconds", 0) > LONGEST_SETTLE_SECONDS:
            raise ValueError(f"settle_seconds: at a server or bucket it is {LONGEST_SETTLE_SECONDS} at most")
        if self.place is not None and getattr(self, "path", None) is not None:
            raise ValueError("place: state a place or a path, not both")
        return self
