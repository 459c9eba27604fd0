"""How single settings are read, and what may stand in them. What is refused is not repeated: it may be a secret."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from pydantic import SecretStr, ValidationError

#: The least length of a master key.
KEY_BYTES = 32


def split(value: object) -> object:
    """Lists are written with commas in the environment."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def long(value: SecretStr | None) -> SecretStr | None:
    """Refuses a key that could be guessed. Raises ValueError."""
    if value is not None and len(value.get_secret_value()) < KEY_BYTES:
        raise ValueError(f"must have {KEY_BYTES} characters or more")
    return value


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


def complaints(error: ValidationError) -> list[str]:
    """What is wrong with which setting, without what stands there."""
    texts = []
    for detail in error.errors(include_input=False, include_url=False, include_context=False):
        name = "_".join(str(part) for part in detail["loc"][:1])
        text = detail["msg"].removeprefix("Value error, ")
        texts.append(f"HUB_{name.upper()}: {text}" if name else text)
    return texts
