"""How a request proves which app it comes from: an access token, or a signature of OAuth 1.0a.

Both lead to the same ``Caller``. A proof is read from the request alone; what it is worth is asked of the database by
``caller``, or of a caller that was found a moment ago by ``fits``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from aiohttp import web

from hub.api.caches import ByteCache
from hub.api.context import ApiContext
from hub.api.negotiation import LARGEST_BODY, read_bytes
from hub.api.oauth import signature
from hub.api.oauth.consumer import Consumers
from hub.api.oauth.signature import MalformedError, Signed
from hub.api.oneroster.errors import unauthorised, unsigned
from hub.store import apps, replays
from hub.store.apps import LONGEST_TOKEN, TOKEN_PREFIX
from hub.store.database import Transaction
from hub.store.gate import Bearer, Signer

#: Nonces that this process has seen, by client and timestamp: a flood of replays ends here.
Spent = ByteCache[tuple[str, int, str], bool]
_MOST_SPENT = 10_000
_FORM = "application/x-www-form-urlencoded"
_LARGEST_FORM = 4_096  # bytes, some times as much as the parameters of OAuth have


class Scheme(StrEnum):
    """The kinds of credential, as the Authorization header names them."""

    BEARER = "Bearer"
    OAUTH1 = "OAuth"


#: What routes take.
BEARER: Final = frozenset({Scheme.BEARER})
BEARER_OR_OAUTH1: Final = frozenset(Scheme)


@dataclass(frozen=True, slots=True)
class Caller:
    """An app that proved itself, as it was a moment ago. ``signer``: where it signed; else it showed a token."""

    app_id: UUID
    client_id: str
    scopes: frozenset[str]
    token_hash: bytes = b""
    expires_at: datetime | None = None
    signer: Signer | None = None

    def credential(self, now: datetime) -> Bearer | Signer:
        """What every statement that answers looks at again."""
        return self.signer or Bearer(self.token_hash, now)


@dataclass(frozen=True, slots=True)
class TokenProof:
    """An access token (RFC 6750). ``key``: its SHA-256."""

    context: ApiContext
    key: bytes

    client = None
    used = False

    def fits(self, caller: Caller) -> bool:
        """Whether the token, which was valid a moment ago, is not over since."""
        return caller.expires_at is not None and caller.expires_at > self.context.clock.now()

    async def caller(self, tx: Transaction) -> Caller | None:
        """Whose token it is; None for one that expired or was revoked. Raises RefusedError(401) for an unknown one."""
        token = await apps.find_token(tx, self.key)
        if token is None:
            raise unauthorised(given=True)
        if not token.valid(self.context.clock.now()):
            return None
        return Caller(token.app_id, token.client_id, frozenset(token.scopes), token.token_hash, token.expires_at)

    async def spend(self) -> bool:
        """A token may be shown any number of times."""
        return True


@dataclass(frozen=True, slots=True)
class SignedProof:
    """A request that its client signed (RFC 5849). ``base``: the base string."""

    context: ApiContext
    consumers: Consumers
    spent: Spent
    request: web.Request
    signed: Signed
    base: bytes

    @property
    def client(self) -> str:
        """The consumer that it claims to be."""
        return self.signed.consumer_key

    @property
    def key(self) -> str:
        """By which its caller is remembered."""
        return self.signed.consumer_key

    @property
    def used(self) -> bool:
        """Whether this process has seen the request before."""
        return self.spent.get(self._nonce) is not None

    @property
    def _nonce(self) -> tuple[str, int, str]:
        return self.signed.consumer_key, self.signed.timestamp, self.signed.nonce

    def fits(self, caller: Caller) -> bool:
        """Whether the secret of the caller, which was found a moment ago, made the signature."""
        return caller.signer is not None and self._made_with(caller.signer.sealed_secret)

    async def caller(self, tx: Transaction) -> Caller:
        """Who signed.

        Raises RefusedError(401), at the same expense and in the same words for an unknown consumer, one whose OAuth 1
        is off, and a wrong signature.
        """
        client = await apps.find_client(tx, self.client)
        secrets = client.oauth1_secrets(self.context.clock.now()) if client is not None else ()
        await self.consumers.to_open(tx, secrets)
        sealed = next((one for one in secrets or (None,) if self._made_with(one)), None)
        if client is None or sealed is None:
            raise unsigned(
                "Unknown consumer, or the signature is not that of this request and the consumer's secret. "
                f"Addresses are signed here as {self.context.settings.public_url}/…"
            )
        signer = Signer(client.client_id, sealed)
        return Caller(client.app_id, client.client_id, frozenset(client.scopes), signer=signer)

    async def spend(self) -> bool:
        """Remembers the nonce for good before anything is answered; False when it was used with this timestamp before.

        Raises RefusedError: 401 for a body other than the one that was signed, 413 for one that is too large.
        """
        signed = self.signed
        if signed.body_hash is not None:
            body = await read_bytes(self.request, largest=LARGEST_BODY)
            if not signature.fits_body(signed, body):
                raise unsigned("The body is not the one that oauth_body_hash was made of.")
        if self.used:
            return False
        # Noted before the database is asked, so that copies that come meanwhile do not queue for it. If it fails, the
        # client has to sign anew as after any other failure.
        self.spent.put(self._nonce, value=True, size=1)
        sent_at = datetime.fromtimestamp(signed.timestamp, UTC)
        async with self.context.db.statement() as tx:
            return await replays.first_nonce(tx, signed.consumer_key, sent_at, signed.nonce)

    def _made_with(self, sealed: bytes | None) -> bool:
        return signature.matches(self.signed, self.base, self.consumers.secret(sealed, self.client))


Proof = TokenProof | SignedProof


class Proofs:
    """Reads what requests show."""

    def __init__(self, context: ApiContext) -> None:
        self._context = context
        self._consumers: Consumers | None = None
        self._spent: Spent = ByteCache(_MOST_SPENT)
        self._address = signature.without_default_port(context.settings.public_url)

    async def read(self, request: web.Request, accepts: frozenset[Scheme], *, again: bool = False) -> Proof:
        """What a request shows, of the kinds that its route takes. ``again``: it was in time when it came.

        A token in the header counts alone, and there is one such header at most. Raises RefusedError: 401 for what can
        prove nothing, 413 for a form that is too large to be signed.
        """
        headers = request.headers.getall("Authorization", [])
        if len(headers) > 1:
            raise unauthorised(given=False, signed=Scheme.OAUTH1 in accepts)
        header = headers[0] if headers else ""
        scheme, _, text = header.partition(" ")
        if Scheme.OAUTH1 not in accepts:
            return TokenProof(self._context, _token_hash(scheme, text))
        if not header or scheme.lower() == "oauth":
            proof = await self._signed(request, text if header else None, again=again)
            if proof is not None:
                return proof
        return TokenProof(self._context, _token_hash(scheme, text, signed=True))

    async def _signed(self, request: web.Request, text: str | None, *, again: bool) -> SignedProof | None:
        """The signature of a request; None for one that says nothing of OAuth 1."""
        path, _, query = _target(request).partition("?")
        body = await _form(request)
        try:
            forms = [signature.form_pairs(_bytes(query)), signature.form_pairs(body)]
            signed = signature.read(text, *forms)
        except MalformedError as error:
            raise unsigned(str(error)) from None
        if signed is None:
            return None
        if not again:
            self._check_time(signed)
        base = signature.base_string(signed, request.method, self._address + path, *forms)
        if self._consumers is None:
            self._consumers = await Consumers.load(self._context.settings)
        return SignedProof(self._context, self._consumers, self._spent, request, signed, base)

    def _check_time(self, signed: Signed) -> None:
        settings = self._context.settings
        age = self._context.clock.now().timestamp() - signed.timestamp
        if not -settings.oauth1_future_seconds <= age <= settings.oauth1_past_seconds:
            raise unsigned(
                f"oauth_timestamp is more than {settings.oauth1_past_seconds} seconds ago or more than "
                f"{settings.oauth1_future_seconds} seconds ahead. Set the clock, and sign each request anew."
            )


def _token_hash(scheme: str, token: str, *, signed: bool = False) -> bytes:
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise unauthorised(given=False, signed=signed)
    if not token.startswith(TOKEN_PREFIX) or len(token) > LONGEST_TOKEN:
        raise unauthorised(given=True)
    return apps.digest(token)


async def _form(request: web.Request) -> bytes:
    """A form in the body, whose pairs are signed; nothing for another body, which is not read here."""
    if request.content_type != _FORM or not request.can_read_body:
        return b""
    return await read_bytes(request, largest=_LARGEST_FORM)


def _target(request: web.Request) -> str:
    """Path and query as they were sent: what was percent-encoded stays so."""
    target = request.raw_path
    if target.startswith("/"):
        return target
    _, _, behind = target.partition("://")  # the absolute form, which proxies use
    return "/" + behind.partition("/")[2]


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
