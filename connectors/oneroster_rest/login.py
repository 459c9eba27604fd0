"""How the connector says who it is: a token of OAuth 2, a signature of OAuth 1.0a, or what a partner's key opens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from yarl import URL

from connectors.client import Login, secret_of
from connectors.http import Web
from connectors.oauth1 import authorization
from connectors.oauth2 import Bearer, ClientCredentials
from connectors.oneroster_rest.classlink import Partner, ProxyLogin
from connectors.oneroster_rest.config import ClassLink, OAuth1, OAuth2, OneRosterRestConfig
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

    def forget(self, refused: Mapping[str, str]) -> None:
        """There is no token."""


async def connected(context: SourceContext, config: OneRosterRestConfig, web: Web) -> tuple[Login, str]:
    """The login that the configuration states, and the address of the server that it is for.

    Raises ConnectorError (``no_secret``), and as ``Partner`` does.
    """
    secret, terms = secret_of(context, SECRET), config.login
    if isinstance(terms, ClassLink):
        partner = Partner(context, web, URL(config.url.rstrip("/")), secret)
        application = await partner.application(terms)
        if terms.connection == "proxy":
            return ProxyLogin(partner, terms, _token=application.bearer), f"{partner.proxy}/{application.key}"
        server = await partner.direct(application)
        signing = OAuth1(kind="oauth1", client_id=server.client_id)
        return Signature(signing, server.client_secret, context.now), server.url
    if isinstance(terms, OAuth1):
        return Signature(terms, secret, context.now), config.url
    if isinstance(terms, OAuth2):
        tokens = ClientCredentials(
            web, context.now, terms.token_url, terms.client_id, secret, config.scope(), terms.client_auth,
            {**config.vendor.headers, **config.headers},
        )  # fmt: skip
        return tokens, config.url
    return Bearer(secret), config.url
