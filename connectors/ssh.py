"""The one place where SSH connections are opened, with the guard at the moment of dialling and the server's key known.

Nothing of the machine's own SSH configuration, keys or agents is used. Both ways go through here: packages that the hub
fetches and packages that it takes out.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import asyncssh

CONNECT_SECONDS = 15.0
LOGIN_SECONDS = 20.0
KEEP_ALIVE_SECONDS = 15
FINGERPRINT = "SHA256:"
#: A server has a key of each kind at most, and shows the one of the first kind that both know.
_KINDS = (
    ("ssh-ed25519",),
    ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"),
    ("rsa-sha2-512", "rsa-sha2-256"),
)
_KEY_FORM = "the host key is a line such as: ssh-ed25519 AAAAC3…"


class HostUnknownError(OSError):
    """The name service does not know the host."""


class HostBlockedError(OSError):
    """All addresses of the host are ones that may not be dialled."""


@dataclass(frozen=True, slots=True)
class Login:
    """A server and how to log in there.

    ``host_key``: its public key (``read_host_key``) or the fingerprint of one, ``SHA256:…``.
    """

    host: str
    port: int
    username: str
    host_key: str
    password: str | None = field(default=None, repr=False)
    private_key: str | None = field(default=None, repr=False)
    passphrase: str | None = field(default=None, repr=False)


def read_host_key(text: str) -> Any:
    """A public key as ``ssh-keyscan`` prints it, with or without the host before it. Raises ValueError."""
    words = text.split()
    if len(words) > 2 and not words[1].startswith("AAAA"):  # the host's name
        words = words[1:]
    try:
        return asyncssh.import_public_key(" ".join(words[:2]))
    except (asyncssh.KeyImportError, ValueError):
        raise ValueError(_KEY_FORM) from None


def check_host_key(text: str) -> str:
    """A host key or its fingerprint, in one form. Raises ValueError."""
    text = " ".join(text.split())
    if text.startswith(FINGERPRINT):
        text = text.rstrip("=")
        if len(text) != len(FINGERPRINT) + 43:
            raise ValueError(f"a fingerprint is {FINGERPRINT} and 43 letters; or state the key itself: {_KEY_FORM}")
        return text
    read_host_key(text)
    return text


def read_private_key(text: str, passphrase: str | None = None) -> Any:
    """A private key in one of the usual forms; with a passphrase in PKCS#8's, and slow. Raises ValueError."""
    try:
        return asyncssh.import_private_key(text, passphrase)
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError, ValueError):
        if passphrase:
            how = "ssh-keygen -p -m PKCS8 -f <file>"
            raise ValueError(f"the private key cannot be read with this passphrase; of OpenSSH form: {how}") from None
        raise ValueError("the private key cannot be read without a passphrase") from None


async def addresses(host: str, port: int) -> list[tuple[int, Any]]:
    """The addresses of a host with their families, as a socket takes them. Raises HostUnknownError."""
    try:
        literal = ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        return [(socket.AF_INET if literal.version == 4 else socket.AF_INET6, (host, port))]
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise HostUnknownError from None
    return [(family, place) for family, *_, place in found]


async def dial(host: str, port: int, reachable: Callable[[str, bool], bool]) -> socket.socket:
    """A connection to the first address of the host that may be dialled and answers.

    ``reachable``: as in connectors.protocol.SourceContext. Raises HostUnknownError, HostBlockedError, OSError.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(CONNECT_SECONDS):
        encrypted = True
        found = await addresses(host, port)
        allowed = [(family, place) for family, place in found if reachable(str(place[0]), encrypted)]
        if not allowed:
            raise HostBlockedError
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


@contextlib.asynccontextmanager
async def connected(
    login: Login, reachable: Callable[[str, bool], bool]
) -> AsyncIterator[asyncssh.SSHClientConnection]:
    """A connection that is logged in. The login is shown to nobody but the owner of the host key.

    Raises ValueError for a private key that cannot be read, asyncssh.HostKeyNotVerifiable, asyncssh.PermissionDenied,
    other errors of asyncssh, and what ``dial`` raises.
    """
    keys = None
    if login.private_key is not None:
        keys = [await asyncio.to_thread(read_private_key, login.private_key, login.passphrase)]
    key = await _pinned(login, reachable)
    dialled = await dial(login.host, login.port, reachable)
    try:
        connection = await asyncssh.connect(
            sock=dialled, username=login.username, password=login.password, client_keys=keys,
            known_hosts=([key], [], []), config=[], agent_path=None, gss_host=None,
            login_timeout=LOGIN_SECONDS, keepalive_interval=KEEP_ALIVE_SECONDS,
            compression_algs=None,  # a packet of some kB could become one of many MB
        )  # fmt: skip
    except BaseException:
        dialled.close()
        raise
    async with connection:
        yield connection


async def _pinned(login: Login, reachable: Callable[[str, bool], bool]) -> Any:
    """The key that the server must have."""
    if not login.host_key.startswith(FINGERPRINT):
        return read_host_key(login.host_key)
    async with contextlib.aclosing(shown_keys(login.host, login.port, reachable)) as shown:
        async for key in shown:
            if key.get_fingerprint() == login.host_key:
                return key
    raise asyncssh.HostKeyNotVerifiable("No key of the server has the fingerprint that was stated.")


async def shown_keys(
    host: str, port: int, reachable: Callable[[str, bool], bool]
) -> AsyncGenerator[asyncssh.SSHKey, None]:
    """The keys that a server shows, the usual kind first; no login is tried.

    Raises asyncssh.DisconnectError where it shows none, and as ``dial``.
    """
    last: asyncssh.Error | None = None
    seen = 0
    for kinds in _KINDS:
        dialled = await dial(host, port, reachable)
        try:
            async with asyncio.timeout(LOGIN_SECONDS):
                key = await asyncssh.get_server_host_key(sock=dialled, server_host_key_algs=list(kinds), config=[])
        except (
            asyncssh.DisconnectError
        ) as error:  # it has none of this kind: which side says so first is a matter of luck
            last = error
            continue
        finally:
            dialled.close()
        if key is not None:
            seen += 1
            yield key
    if not seen and last is not None:
        raise last
