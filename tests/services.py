"""What the fixtures hand out, and the guard that keeps tests on this machine."""

from __future__ import annotations

import ipaddress
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from hub.settings import SERVICE_ROLE, SUPPORT_ROLE, WORKER_ROLE, role_passwords, role_url

MASTER_KEY = b"a key that only the tests of this project use"


@dataclass(frozen=True)
class Database:
    """One migrated database of a test's own: its name and its address for each login."""

    name: str
    owner: str
    passwords: Mapping[str, str]

    @property
    def service(self) -> str:
        return role_url(self.owner, SERVICE_ROLE, self.passwords[SERVICE_ROLE])

    @property
    def worker(self) -> str:
        return role_url(self.owner, WORKER_ROLE, self.passwords[WORKER_ROLE])

    @property
    def support(self) -> str:
        return role_url(self.owner, SUPPORT_ROLE, self.passwords[SUPPORT_ROLE])


def database_at(owner: str) -> Database:
    """The value for a database that was migrated with the tests' passwords."""
    return Database(urlsplit(owner).path.removeprefix("/"), owner, role_passwords(MASTER_KEY))


def in_database(url: str, name: str) -> str:
    """The same server and login, another database."""
    return urlsplit(url)._replace(path=f"/{name}").geturl()


class OutsideError(RuntimeError):
    """A test tried to talk to another machine."""


def stay_on_this_machine() -> None:
    """Refuse, from now on and for good, every name look-up and connection that is not to loopback.

    Servers that the environment names on purpose are let through.
    """
    named = {urlsplit(os.environ.get(name, "")).hostname for name in ("HUB_DATABASE_URL", "HUB_REDIS_URL")}

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event in {"socket.connect", "socket.sendto"}:
            address = arguments[1]
            host = address[0] if isinstance(address, tuple) else None
        elif event == "socket.getaddrinfo":
            host = arguments[0]
        else:
            return
        if isinstance(host, bytes):
            host = host.decode()
        if isinstance(host, str) and host not in named and not _is_local(host):
            raise OutsideError(f"{event} to {host}: tests talk to this machine only")

    sys.addaudithook(hook)


def _is_local(host: str) -> bool:
    if host in {"", "localhost"}:
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False
