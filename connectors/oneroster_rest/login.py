"""How the connector says who it is: a token of OAuth 2, kept as long as it lives, or a signature of OAuth 1.0a."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from yarl import URL

from connectors.client import Login, secret_of
from connectors.http import Web
from connectors.oauth1 import authorization
from connectors.oauth2 import Bearer, ClientCredentials
from connectors.oneroster_rest.config import OAuth1, OAuth2, OneRosterRestConfig
from connectors.protocol import SourceContext

SECRET = "client_secret"


@dataclass(frozen=True)
class Signature:
    """Each request is signed."""

    terms: OAuth1
    secret: str = field(repr=False)
    now: Callable[[], datetime]
    renewable: bool = False

    async def headers(self, method: str, url: URL) -> Mapping[str, str]:
        """``Authorization`` with the signature of one request."""
        at, terms = int(self.now().timestamp()), self.terms
        signed = authorization(terms.client_id, self.secret, terms.signature_method, method, str(url), at=at)
        return {"Authorization": signed}

    def forget(self) -> None:
        """There is no token."""


def login(context: SourceContext, config: OneRosterRestConfig, web: Web) -> Login:
    """The login that the configuration states. Raises ConnectorError (``no_secret``)."""
    secret, terms = secret_of(context, SECRET), config.login
    if isinstance(terms, OAuth1):
        return Signature(terms, secret, context.now)
    if isinstance(terms, OAuth2):
        return ClientCredentials(
            web, context.now, terms.token_url, terms.client_id, secret, config.scope(), terms.client_auth,
            {**config.vendor.headers, **config.headers},
        )  # fmt: skip
    return Bearer(secret)
