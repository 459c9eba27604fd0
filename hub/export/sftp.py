"""Uploading a package to an SFTP server whose key is known beforehand. The one place that knows asyncssh.

The address is judged at the moment of dialling, as for webhooks: a name that leads inside is not followed, whatever it
led to when it was saved. Nothing of the machine's own SSH configuration, keys or agents is used.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncssh

from hub.addresses import Network, reachable
from hub.errors import Code, HubError, Intent

CONNECT_SECONDS = 15.0
LOGIN_SECONDS = 20.0
#: Longest wait for a server to take a part of the file.
STALL_SECONDS = 60.0
_KEEP_ALIVE_SECONDS = 15
_PRIVATE = "The host is at a private or reserved address. An operator may allow it: HUB_EXPORT_ALLOW."


@dataclass(frozen=True, slots=True)
class Login:
    """A server and how to log in there. ``host_key``: its public key, see ``read_host_key``."""

    host: str
    port: int
    username: str
    host_key: str
    password: str | None = field(default=None, repr=False)
    private_key: str | None = field(default=None, repr=False)


def read_host_key(text: str) -> Any:
    """A public key as ``ssh-keyscan`` prints it, with or without the host before it. Raises ValueError."""
    words = text.split()
    if len(words) > 2 and not words[1].startswith("AAAA"):  # the host's name
        words = words[1:]
    try:
        return asyncssh.import_public_key(" ".join(words[:2]))
    except (asyncssh.KeyImportError, ValueError):
        raise ValueError("the host key is a line such as: ssh-ed25519 AAAAC3…") from None


def read_private_key(text: str) -> Any:
    """A private key in one of the usual forms. Raises ValueError."""
    try:
        return asyncssh.import_private_key(text)
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError, ValueError):
        raise ValueError(
            "the private key cannot be read: it is needed without a passphrase, the hub seals it"
        ) from None


async def check_host(host: str, port: int, allow: Sequence[Network]) -> None:
    """Refuses a server that could never be reached; the look at the dial stays the judge.

    Raises HubError(INVALID_REQUEST).
    """
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            found = await _addresses(host, port)
    except (HubError, TimeoutError):
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
        async with _connected(login, allow) as connection, connection.start_sftp_client() as client:
            await _upload(client, folder, name, f".{name}.{number}.partial", data)
    except asyncssh.HostKeyNotVerifiable:
        raise _failed("The server's key is not the one that was stated. Find out why before you change it.") from None
    except asyncssh.PermissionDenied:
        raise _failed("The server refuses the login.") from None
    except asyncssh.SFTPNoSuchFile:
        raise _failed("The server has no such folder.") from None
    except asyncssh.SFTPPermissionDenied:
        raise _failed("The server does not let this login write there.") from None
    except (asyncssh.Error, OSError) as error:  # a time-out is an OSError
        raise _failed(f"The server cannot be reached or broke off ({type(error).__name__}).", again=True) from error


@contextlib.asynccontextmanager
async def _connected(login: Login, allow: Sequence[Network]) -> AsyncIterator[asyncssh.SSHClientConnection]:
    keys = None if login.private_key is None else [read_private_key(login.private_key)]
    dialled = await _dial(login, allow)
    try:
        connection = await asyncssh.connect(
            sock=dialled, username=login.username, password=login.password, client_keys=keys,
            known_hosts=([read_host_key(login.host_key)], [], []), config=[], agent_path=None, gss_host=None,
            login_timeout=LOGIN_SECONDS, keepalive_interval=_KEEP_ALIVE_SECONDS,
        )  # fmt: skip
    except BaseException:
        dialled.close()
        raise
    async with connection:
        yield connection


async def _dial(login: Login, allow: Sequence[Network]) -> socket.socket:
    """A connection to the first address of the host that is allowed and answers."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(CONNECT_SECONDS):
        found = await _addresses(login.host, login.port)
        allowed = [(family, place) for family, place in found if reachable(str(place[0]), allow, encrypted=True)]
        if not allowed:
            raise _failed(_PRIVATE)
        last: OSError = ConnectionRefusedError()
        for family, place in allowed:
            dialled = socket.socket(family, socket.SOCK_STREAM)
            dialled.settimeout(0)
            try:
                await loop.sock_connect(dialled, place)
            except OSError as error:
                dialled.close()
                last = error
            except BaseException:
                dialled.close()
                raise
            else:
                return dialled
        raise last


async def _addresses(host: str, port: int) -> list[tuple[int, Any]]:
    """The addresses of a host with their families, as a socket takes them."""
    try:
        literal = ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        return [(socket.AF_INET if literal.version == 4 else socket.AF_INET6, (host, port))]
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise _failed("The host's name is unknown.", again=True) from None
    return [(family, place) for family, *_, place in found]


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
