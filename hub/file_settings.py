"""The settings about files that come in: uploads, and the hub's own SFTP server. A part of ``hub.settings``."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings


class FileSettings(BaseSettings):
    """What an operator can set about them."""

    upload_max_bytes: int = Field(
        default=2_000_000_000, ge=1, description="Largest uploaded package, in bytes as it is sent."
    )
    upload_resume_hours: int = Field(
        default=24, ge=1, le=168, description="Hours after its last part for which an upload that was cut can go on."
    )
    upload_days: int = Field(
        default=7, ge=1, description="Days for which an upload that no run took is kept; applied ones go at once."
    )
    watch_folder: Path | None = Field(
        default=None,
        description="Folder below which each district may have a folder, by its id, whose packages are taken by"
        " themselves. Without it no folder is watched.",
    )
    sftp_port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="Port of `hub sftp`, where vendors put packages down. Without it: none.",
    )
    sftp_host: str = Field(default="127.0.0.1", description="Address that `hub sftp` listens on.")
    sftp_address: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9.-]+(:\d{1,5})?$",
        description="Name, and port where it is not 22, by which vendors reach `hub sftp`; shown with each drop.",
    )
    sftp_host_key: SecretStr | None = Field(
        default=None,
        description="Private key of `hub sftp`, for those who move an SFTP server to the hub. Without it the hub has"
        " one of its own, which stays the same when the master key is replaced.",
    )
    sftp_connections: int = Field(
        default=100, ge=1, le=10_000, description="Most connections of `hub sftp`; of one address a tenth of them."
    )
    sftp_bytes_per_second: int = Field(
        default=50_000_000, ge=10_000, description="How fast one login at `hub sftp` may write."
    )
