"""Whether whoever subscribes a URL also answers there: a signed message with a word that only the receiver can repeat.

Without it anybody could point the hub at others' servers, which would then get every change of a district. What comes
back is compared and never shown: the outcome is one of the classes of the attempt log and nothing more, so that the
hub tells no more about a host than a delivery would.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from uuid import UUID

import orjson

from hub import ids
from hub.webhooks import sign
from hub.webhooks.certificates import ClientCertificate
from hub.webhooks.egress import Answer, Egress
from hub.webhooks.failure import Failure
from hub.webhooks.keyring import Keyring

EVENT_TYPE = "subscriptions.challenge"
_WORD_BYTES = 32


@dataclass(frozen=True, slots=True)
class Proof:
    """What came of a challenge: ``failure`` is None when the receiver repeated the word; ``status`` of its answer."""

    failure: Failure | None = None
    status: int | None = None


async def ask(
    egress: Egress, *, url: str, ring: Keyring, certificate: ClientCertificate | None, subscription_id: UUID,
    now: datetime,
) -> Proof:  # fmt: skip
    """Challenges a receiver, once, within the time-out of webhooks. Never call it inside a transaction."""
    word = secrets.token_urlsafe(_WORD_BYTES)
    at = now.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    data = {"subscription": str(subscription_id), "challenge": word}
    body = orjson.dumps({"type": EVENT_TYPE, "timestamp": at, "data": data})
    headers = sign.headers(ring.live(now), f"chl_{ids.new_id().hex}", int(now.timestamp()), body)
    answer = await egress.post(url, body, headers, certificate=certificate)
    if answer.failure is None and not repeats(answer, word):
        return Proof(Failure.CHALLENGE, answer.status)
    return Proof(answer.failure, answer.status)


def repeats(answer: Answer, word: str) -> bool:
    """Whether a 2xx answer holds the word: as its whole text, or as ``challenge`` of a JSON object."""
    if answer.status is None or not HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
        return False
    if hmac.compare_digest(answer.body.strip(), word.encode()):
        return True
    try:
        told = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return False
    said = told.get("challenge") if isinstance(told, dict) else None
    return isinstance(said, str) and hmac.compare_digest(said.encode(), word.encode())
