"""Which addresses of servers may stand in settings. What is refused is not repeated: it may hold a password."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from pydantic import SecretStr


def as_proxy(value: SecretStr | None) -> SecretStr | None:
    """Refuses what is no address of an HTTP proxy. Raises ValueError."""
    if value is None:
        return None
    try:
        parts = urlsplit(value.get_secret_value())
        known = parts.scheme == "http" and parts.hostname and parts.port and not parts.query and not parts.fragment
        known = known and parts.path in {"", "/"} and ":" not in unquote(parts.username or "")
    except ValueError:
        known = False
    if not known:
        raise ValueError("must be http://host:port, with user:password@ where needed")
    return value


def check_mail_server(url: str) -> None:
    """Raises ValueError without the address, which may hold a password."""
    try:
        parts = urlsplit(url)
        known = parts.scheme in {"smtp", "smtps"} and parts.hostname and parts.port != 0
    except ValueError:
        known = False
    if not known:
        raise ValueError("HUB_SMTP_URL must be smtp://host:port or smtps://host:port, with user:password@ where needed")
