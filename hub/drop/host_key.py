"""The key by which vendors know the hub's SFTP server."""

from __future__ import annotations

import asyncssh
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from hub.crypto import DROPS, Keys
from hub.errors import Code, HubError
from hub.settings import Settings


def host_key(settings: Settings, keys: Keys) -> asyncssh.SSHKey:
    """The key of HUB_SFTP_HOST_KEY, else one of the hub's own.

    That is the same in all processes whatever becomes of the master key, since vendors remember it. ``keys``: after
    hub.vault.fix.

    Raises HubError(SETTINGS_CONTRADICT).
    """
    if settings.sftp_host_key is not None:
        try:
            return asyncssh.import_private_key(settings.sftp_host_key.get_secret_value())
        except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError, ValueError):
            text = "HUB_SFTP_HOST_KEY: no private key without a passphrase, in OpenSSH's or PEM form."
            raise HubError(Code.SETTINGS_CONTRADICT, text) from None
    made = Ed25519PrivateKey.from_private_bytes(keys.fixed(DROPS)[:32])
    return asyncssh.import_private_key(made.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))


def line(key: asyncssh.SSHKey) -> str:
    """The public key as it stands in known_hosts, without a host before it."""
    return " ".join(key.export_public_key().decode().split()[:2])
