"""Webhook subscriptions: a receiver reads the feed of one grant. A secret is shown once, when it is made."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field
from yarl import URL

from hub.api.admin.call import Call, Writing
from hub.api.admin.grants import reached
from hub.api.admin.route import EVERYONE, Route
from hub.api.admin.shapes import Rotation, Shown
from hub.api.admin.terms import NAMES, TermsAsked
from hub.crypto import load_key
from hub.errors import Code
from hub.store import attempts, grants, standings
from hub.store import subscriptions as store
from hub.store.database import Transaction
from hub.webhooks import certificates, challenge
from hub.webhooks import subscriptions as service
from hub.webhooks.certificates import LONGEST, ClientCertificate, Described
from hub.webhooks.challenge import Proof
from hub.webhooks.egress import Egress
from hub.webhooks.keyring import SCHEMES, USUAL, Keyring
from hub.webhooks.sign import Scheme
from hub.webhooks.standing import Waits, changes_waiting, next_attempt, why
from hub.webhooks.terms import Mode, Terms

#: Errors are counted over this time.
ERRORS_HOURS = 24

Url = Annotated[str, Field(max_length=2_000, description="The receiver: https and a public address.")]
Signatures = Annotated[
    list[Scheme],
    Field(
        min_length=1,
        max_length=len(SCHEMES),
        description="v1 (HMAC-SHA256 with a secret), v1a (ed25519, verified with a public key), or both.",
    ),
]


Certificate = Annotated[
    str | None,
    Field(
        max_length=LONGEST,
        repr=False,
        description="For mutual TLS: a PEM chain, the client's certificate first, with its key. Never shown again.",
    ),
]


class NewSubscription(TermsAsked):
    """Where to send which grant's changes, and how."""

    grant_id: UUID
    url: Url
    signatures: Signatures = Field(default_factory=lambda: list(USUAL))
    client_certificate: Certificate = None


class SubscriptionChange(TermsAsked):
    """What is to be different; what is left out stays. A batch that is being tried keeps its id and its bytes."""

    url: Url | None = Field(default=None, description="Another receiver, which has to prove itself.")
    signatures: Signatures | None = None
    client_certificate: Certificate = Field(default=None, description="Null ends mutual TLS.")


class CertificateShown(Shown):
    """What the receiver is shown for mutual TLS."""

    subject: str
    expires_at: datetime


class PublicKey(Shown):
    """A key that verifies signatures v1a."""

    key: str = Field(description="whpk_…, ed25519.")
    until: datetime | None = Field(description="When it ends; null for the current one.")


class Subscription(Shown):
    """One receiver and how far it is."""

    subscription_id: UUID
    grant_id: UUID
    url: str
    signatures: list[Scheme]
    public_keys: list[PublicKey] = Field(description="Those that sign now, newest first; none without v1a.")
    client_certificate: CertificateShown | None
    state: Literal["unproven", "active", "paused", "disabled", "resync_required"] = Field(
        description="An unproven one is sent nothing; last_error says why its receiver's challenge failed."
    )
    position: int = Field(description="The step of the feed up to which everything was acknowledged or not wanted.")
    head: int = Field(description="The last step of the grant's feed.")
    behind: bool
    waiting_since: datetime | None = Field(description="Time of the first change that is not acknowledged.")
    lag_seconds: float = Field(description="How long that change has been waiting; 0 when nothing waits.")
    waits: Waits = Field(description="Why nothing is being sent right now, see docs/webhooks.md.")
    next_attempt_at: datetime | None = Field(description="When the next request goes out; null where none will.")
    attempt: int = Field(description="Failures in a row.")
    failing_since: datetime | None
    last_error: str | None
    last_status: int | None
    created_at: datetime
    replaying_to: int | None = Field(description="The step up to which everything is being sent again.")
    batch_changes: int | None = Field(description="Most changes that the receiver takes in time; null: max_changes.")
    mode: Mode
    types: list[str]
    max_bytes: int = Field(description="Longest body.")
    max_changes: int
    quiet_seconds: float
    longest_wait_seconds: float
    rate_per_minute: int | None


class SubscriptionInFull(Subscription):
    """The same with what takes longer to find out."""

    changes_waiting: int = Field(description="Records that changed and are not acknowledged, each counted once.")
    errors: dict[str, int] = Field(description="Failed attempts of the last 24 hours, by class.")


_SECRET = Field(description="A new signing secret (whsec_…), if one was made. It cannot be shown again.")


class MadeSubscription(Subscription):
    """A subscription that was just made or changed."""

    secret: str | None = _SECRET


class Secret(Shown):
    """New signing keys."""

    subscription_id: UUID
    secret: str | None = _SECRET
    public_keys: list[PublicKey]


class Subscriptions(Shown):
    """Subscriptions, oldest first; an app sees its own."""

    items: list[Subscription]


async def shown(call: Call, tx: Transaction, row: store.Subscription) -> Subscription:
    """A subscription with its lag."""
    lag = await service.lag(tx, row)
    since = lag.waiting_since
    seconds = max(0.0, (call.context.clock.now() - since).total_seconds()) if since else 0.0
    columns = {name: getattr(row, name) for name in store.Subscription.__dataclass_fields__}
    columns["public_keys"] = _live(call, row)
    columns["max_bytes"] = service.terms_of(row).most_bytes
    if row.certificate_expires_at is not None:
        certificate = {"subject": row.certificate_subject, "expires_at": row.certificate_expires_at}
    else:
        certificate = None
    columns["client_certificate"] = certificate
    behind = {"head": lag.head, "behind": lag.behind, "waiting_since": since, "lag_seconds": seconds}
    waits = why(row, await standings.of(tx, row.subscription_id), behind=lag.behind)
    return Subscription.model_validate(
        {**columns, **behind, "waits": waits, "next_attempt_at": next_attempt(row, waits)}
    )


async def _certificate(call: Call, text: str | None) -> Described | None:
    """Reads a client certificate. Raises HubError(INVALID_REQUEST)."""
    if text is None:
        return None
    return await asyncio.to_thread(certificates.parse, text, call.context.clock.now())


def _live(call: Call, row: store.Subscription) -> list[PublicKey]:
    found = [PublicKey.model_validate(each) for each in row.public_keys]
    return [key for key in found if key.until is None or key.until > call.context.clock.now()]


async def reached_one(call: Call, tx: Transaction) -> store.Subscription:
    """The subscription in the path, where the caller may reach its grant. Raises HubError(NOT_FOUND)."""
    row = await store.get(tx, call.id("subscription"))
    await reached(call, tx, row.grant_id)
    return row


def note(writing: Writing, row: store.Subscription, **details: object) -> None:
    """The audit row of an act on a subscription."""
    # The host alone: receivers' paths and queries often hold a key.
    writing.note(f"subscription/{row.subscription_id}", grant=str(row.grant_id), host=URL(row.url).host, **details)


async def create(call: Call, body: NewSubscription) -> MadeSubscription:
    """Subscribes a receiver from the head of the feed on. What the view holds already is read through OneRoster."""
    settings = call.context.settings
    async with call.reading() as tx:
        await reached(call, tx, body.grant_id)
    await service.check_url(body.url, settings.webhook_allow, https_only=settings.webhook_https_only)
    terms = body.on(Terms())
    terms.check()  # before anybody is challenged
    made = service.draft(body.signatures, await _certificate(call, body.client_certificate))
    key = await asyncio.to_thread(load_key, settings)
    shown_certificate = made.certificate.certificate if made.certificate else None
    proof = await _challenged(call, body.url, made.ring, shown_certificate, made.subscription_id)
    async with call.writing() as writing:
        row, secret = await service.create(
            writing.tx, grant_id=body.grant_id, url=body.url, key=key, allow=settings.webhook_allow, made=made,
            proof=proof, terms=terms,
        )  # fmt: skip
        answer = await shown(call, writing.tx, row)
        note(writing, row, state=row.state)
    return MadeSubscription.model_validate({**answer.model_dump(), "secret": secret})


async def listing(call: Call) -> Subscriptions:
    """The district's subscriptions with their lag, or those of an app token's app."""
    own = call.actor.scope_app
    async with call.reading() as tx:
        granted = {grant.grant_id for grant in await grants.listing(tx) if own in (None, grant.app_id)}
        rows = [row for row in await store.listing(tx) if row.grant_id in granted]
        return Subscriptions(items=[await shown(call, tx, row) for row in rows])


async def get(call: Call) -> SubscriptionInFull:
    """One subscription: how far it is, what waits and why, and what went wrong lately."""
    async with call.reading() as tx:
        row = await reached_one(call, tx)
        answer = await shown(call, tx, row)
        more = {
            "changes_waiting": await changes_waiting(tx, row, answer.head),
            "errors": await attempts.errors(tx, row.subscription_id, hours=ERRORS_HOURS),
        }
    return SubscriptionInFull.model_validate({**answer.model_dump(), **more})


async def change(call: Call, body: SubscriptionChange) -> MadeSubscription:
    """Changes how a subscription is signed, what it shows and where it goes. A new secret is shown this once."""
    settings, secret, proof = call.context.settings, None, None
    given = await _certificate(call, body.client_certificate)
    other_certificate = "client_certificate" in body.model_fields_set
    key = await asyncio.to_thread(load_key, settings)
    async with call.reading() as tx:
        row = await reached_one(call, tx)
        before, certificate = await service.known(tx, row.subscription_id, key=key)
    ring = before.of(body.signatures or before.schemes)
    if other_certificate:
        certificate = given.certificate if given else None
    if body.url not in {None, row.url}:
        await service.check_url(body.url, settings.webhook_allow, https_only=settings.webhook_https_only)
        proof = await _challenged(call, body.url, ring, certificate, row.subscription_id)
    async with call.writing() as writing:
        row = await reached_one(call, writing.tx)
        if body.signatures is not None:
            row, secret = await service.sign_with(writing.tx, row.subscription_id, ring, before=before, key=key)
        if other_certificate:
            row = await service.show(writing.tx, row.subscription_id, given, key=key)
        if proof is not None and body.url is not None:
            row = await service.point(writing.tx, row.subscription_id, body.url, proof)
        if body.model_fields_set & NAMES:
            row = await service.edit(writing.tx, row.subscription_id, body.on(service.terms_of(row)))
        answer = await shown(call, writing.tx, row)
        certified = row.certificate_expires_at is not None
        note(writing, row, signatures=row.signatures, client_certificate=certified, state=row.state,
             terms=sorted(body.model_fields_set & NAMES))  # fmt: skip
    await call.context.wake("deliver", call.district_id)
    return MadeSubscription.model_validate({**answer.model_dump(), "secret": secret})


async def prove(call: Call) -> Subscription:
    """Challenges the receiver of an unproven subscription again. ``last_error`` says what came of it."""
    key = await asyncio.to_thread(load_key, call.context.settings)
    async with call.reading() as tx:
        row = await reached_one(call, tx)
        ring, certificate = await service.known(tx, row.subscription_id, key=key)
    proof = None
    if row.state == "unproven":
        proof = await _challenged(call, row.url, ring, certificate, row.subscription_id)
    async with call.writing() as writing:
        await reached_one(call, writing.tx)
        row = await service.prove(writing.tx, row.subscription_id, row.url, proof)
        note(writing, row, state=row.state)
        answer = await shown(call, writing.tx, row)
    await call.context.wake("deliver", call.district_id)
    return answer


async def _challenged(
    call: Call, url: str, ring: Keyring, certificate: ClientCertificate | None, subscription_id: UUID
) -> Proof:
    """What comes of challenging a receiver, outside of any transaction."""
    settings = call.context.settings
    if not settings.webhook_challenge:
        return service.PROVEN
    async with Egress.of(settings) as egress:
        return await challenge.ask(
            egress, url=url, ring=ring, certificate=certificate, subscription_id=subscription_id,
            now=call.context.clock.now(),
        )  # fmt: skip


async def pause(call: Call) -> Subscription:
    """Stops deliveries; nothing is lost."""
    async with call.writing() as writing:
        await reached_one(call, writing.tx)
        row = await service.pause(writing.tx, call.id("subscription"))
        note(writing, row)
        return await shown(call, writing.tx, row)


async def resume(call: Call) -> Subscription:
    """Goes on where a paused or disabled subscription stopped."""
    async with call.writing() as writing:
        await reached_one(call, writing.tx)
        row = await service.resume(writing.tx, call.id("subscription"))
        note(writing, row)
        answer = await shown(call, writing.tx, row)
    await call.context.wake("deliver", call.district_id)
    return answer


async def rotate(call: Call, body: Rotation) -> Secret:
    """Makes new signing keys, one for each kind of signature; old and new sign until the overlap ends."""
    key = await asyncio.to_thread(load_key, call.context.settings)
    async with call.writing() as writing:
        row = await reached_one(call, writing.tx)
        row, secret = await service.rotate(
            writing.tx, row.subscription_id, key=key, now=call.context.clock.now(),
            overlap=timedelta(seconds=body.overlap_seconds),
        )  # fmt: skip
        note(writing, row, overlap_seconds=body.overlap_seconds)
    return Secret(subscription_id=row.subscription_id, secret=secret, public_keys=_live(call, row))


async def delete(call: Call) -> None:
    """Ends a subscription and forgets its log."""
    async with call.writing() as writing:
        row = await reached_one(call, writing.tx)
        await service.delete(writing.tx, row.subscription_id)
        note(writing, row)


_OVER = "/districts/{district}/subscriptions"
ONE = _OVER + "/{subscription}"
_CONFLICT = (Code.CONFLICT,)
ROUTES = (
    Route("GET", _OVER, listing, "List subscriptions with their lag", roles=EVERYONE, answer=Subscriptions),
    Route("POST", _OVER, create, "Subscribe a receiver; its secret is shown once", roles=EVERYONE,
          body=NewSubscription, answer=MadeSubscription, status=201, action="subscription.create", errors=_CONFLICT),
    Route("GET", ONE, get, "One subscription: its lag, what waits and why", roles=EVERYONE,
          answer=SubscriptionInFull),
    Route("PATCH", ONE, change, "Change a subscription", roles=EVERYONE, body=SubscriptionChange,
          answer=MadeSubscription, action="subscription.change", errors=_CONFLICT),
    Route("POST", ONE + "/prove", prove, "Challenge the receiver again", roles=EVERYONE, answer=Subscription,
          action="subscription.prove", errors=_CONFLICT),
    Route("POST", ONE + "/pause", pause, "Pause deliveries", roles=EVERYONE, answer=Subscription,
          action="subscription.pause", errors=_CONFLICT),
    Route("POST", ONE + "/resume", resume, "Resume deliveries", roles=EVERYONE, answer=Subscription,
          action="subscription.resume", errors=_CONFLICT),
    Route("POST", ONE + "/rotate", rotate, "Make new signing keys", roles=EVERYONE, body=Rotation,
          answer=Secret, action="subscription.rotate"),
    Route("DELETE", ONE, delete, "End a subscription", roles=EVERYONE, action="subscription.delete"),
)  # fmt: skip
