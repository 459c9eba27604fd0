"""Which URLs webhooks and passed-back grades may go to, as far as that can be told without asking the network."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

from yarl import URL

from hub.addresses import Network, reachable
from hub.errors import Code, HubError

LONGEST_URL = 2048
#: The setting that allows private networks to webhooks.
SETTING = "HUB_WEBHOOK_ALLOW"

_NUMBER = re.compile(r"(0[xX][0-9a-fA-F]*|[0-9]+)\.?\Z")
_PLAIN = re.compile(r"[!-\[\]-~]+\Z")  # visible ASCII without the backslash, which some readers take for a slash
_HOST = re.compile(r"[A-Za-z0-9._-]+\Z")


def parse(text: str, allow: Sequence[Network], setting: str = SETTING) -> URL:
    """The URL of a receiver, checked as far as that goes without asking the network.

    ``setting``: the one that holds ``allow``. Raises HubError(INVALID_REQUEST) that says what is wrong.
    """
    if len(text) > LONGEST_URL or not _PLAIN.match(text):
        raise _refusal(f"The URL must be plain ASCII without spaces, at most {LONGEST_URL} characters.")
    try:
        url = URL(text)
        host, port = url.raw_host, url.port
    except ValueError:
        raise _refusal("The URL cannot be read.") from None
    if url.scheme not in {"https", "http"} or not host or not port:
        raise _refusal("The URL must begin with https:// and name a host.")
    authority = re.split("[/?#]", text.partition("://")[2], maxsplit=1)[0]  # as written, not as it was understood
    if "@" in authority:
        raise _refusal("The URL must not hold a user name or password: every request has its own proof.")
    if url.raw_fragment:
        raise _refusal("The URL must not have a fragment (#): it is never sent.")
    _check_host(url, host, authority, allow, setting)
    return url


def _check_host(url: URL, host: str, authority: str, allow: Sequence[Network], setting: str) -> None:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        if "[" in authority or not _HOST.match(host) or _NUMBER.match(host.rstrip(".").rpartition(".")[2]):
            raise _refusal("The host is neither a name nor an address in its usual form.") from None
        if url.scheme == "http" and not allow:
            raise _refusal("The URL must begin with https://.") from None
        return
    if not reachable(host, allow, encrypted=url.scheme == "https"):
        raise refused(encrypted=url.scheme == "https", setting=setting)


def refused(*, encrypted: bool, setting: str = SETTING) -> HubError:
    """The error for a receiver that the hub may not go to."""
    if encrypted:
        return _refusal(f"The host is at a private or reserved address. An operator may allow it: {setting}.")
    return _refusal(f"Plain http:// goes only to networks that an operator allowed: {setting}. Use https://.")


def unknown() -> HubError:
    """The error for a host that has no address."""
    return _refusal("The host of the URL is not known to the name service. Check its spelling.")


def _refusal(message: str) -> HubError:
    return HubError(Code.INVALID_REQUEST, message)
