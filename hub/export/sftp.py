"""Uploading a package to an SFTP server whose key is known beforehand.

The address is judged at the moment of dialling, as for webhooks: a name that leads inside is not followed, whatever it
led to when it was saved.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import asyncssh

from connectors import ssh
from connectors.ssh import CONNECT_SECONDS, HostBlockedError, HostUnknownError, Login, read_host_key
from hub.addresses import Network, reachable
from hub.errors import Code, HubError, Intent

__all__ = ["Login", "check_host", "read_host_key", "read_private_key", "upload"]

#: Longest wait for a server to take a part of the file.
STALL_SECONDS = 60.0
_PRIVATE = "The host is at a private or reserved address. An operator may allow it: HUB_EXPORT_ALLOW."


def read_private_key(text: str) -> Any:
    """A private key in one of the usual forms. Raises ValueError."""
    try:
        return ssh.read_private_key(text)
    except ValueError:
        raise ValueError(
            "the private key cannot be read: it is needed without a passphrase, the hub seals it"
        ) from None


def _allowed(allow: Sequence[Network]) -> Callable[[str, bool], bool]:
    return lambda address, encrypted: reachable(address, allow, encrypted=encrypted)


async def check_host(host: str, port: int, allow: Sequence[Network]) -> None:
    """Refuses a server that could never be reached; the look at the dial stays the judge.

    Raises HubError(INVALID_REQUEST).
    """
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            found = await ssh.addresses(host, port)
    except OSError:  # a time-out is one
        raise HubError(Code.INVALID_REQUEST, "The host's name is unknown.") from None
    if not any(reachable(str(place[0]), allow, encrypted=True) for _, place in found):
        raise HubError(Code.INVALID_REQUEST, _PRIVATE)


async def upload(
    login: Login, allow: Sequence[Network], folder: str, name: str, number: str, data: AsyncIterator[bytes]
) -> None:  # fmt: skip
    """Uploads ``data`` as the file ``name`` in ``folder``; it appears when it is whole.

    ``number`` tells attempts of different exports apart. Raises HubError(TARGET_FAILED).
    """
    try:
        async with ssh.connected(login, _allowed(allow)) as connection, connection.start_sftp_client() as client:
            await _upload(client, folder, name, f".{name}.{number}.partial", data)
    except asyncssh.HostKeyNotVerifiable:
        raise _failed("The server's key is not the one that was stated. Find out why before you change it.") from None
    except asyncssh.PermissionDenied:
        raise _failed("The server refuses the login.") from None
    except asyncssh.SFTPNoSuchFile:
        raise _failed("The server has no such folder.") from None
    except asyncssh.SFTPPermissionDenied:
        raise _failed("The server does not let this login write there.") from None
    except HostBlockedError:
        raise _failed(_PRIVATE) from None
    except HostUnknownError:
        raise _failed("The host's name is unknown.", again=True) from None
    except (asyncssh.Error, OSError) as error:  # a time-out is an OSError
        raise _failed(f"The server cannot be reached or broke off ({type(error).__name__}).", again=True) from error


async def _upload(client: Any, folder: str, name: str, partial: str, data: AsyncIterator[bytes]) -> None:
    before = f"{folder.rstrip('/')}/" if folder else ""
    try:
        async with client.open(before + partial, "wb") as file:
            async for part in data:
                async with asyncio.timeout(STALL_SECONDS):
                    await file.write(part)
        await _rename(client, before + partial, before + name)
    except BaseException:
        with contextlib.suppress(asyncssh.Error, OSError):
            async with asyncio.timeout(CONNECT_SECONDS):
                await client.remove(before + partial)
        raise


async def _rename(client: Any, partial: str, name: str) -> None:
    """Puts the file in the place of the one before it, in one step where the server can."""
    try:
        await client.posix_rename(partial, name)
    except asyncssh.SFTPOpUnsupported:
        with contextlib.suppress(asyncssh.SFTPNoSuchFile):
            await client.remove(name)
        await client.rename(partial, name)


def _failed(message: str, *, again: bool = False) -> HubError:
    return HubError(Code.TARGET_FAILED, message, intent=Intent.RETRY if again else Intent.ASK_HUMAN)
