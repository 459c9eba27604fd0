"""What the admin API does with recipients."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from hub import ids, vault
from hub.addresses import Network
from hub.crypto import Keys
from hub.errors import Code, HubError
from hub.notices.mail import is_address
from hub.store import recipients as store
from hub.store.database import Transaction
from hub.store.recipients import Recipient
from hub.webhooks import address as urls
from hub.webhooks.keyring import Keyring
from hub.webhooks.subscriptions import check_url


async def check(channel: str, address: str, *, mails: bool, allow: Sequence[Network], https_only: bool = False) -> None:
    """Refuses an address that nothing could be sent to; asks the name service, so call it outside of transactions.

    ``mails``: whether the hub has a mail server; ``allow``, ``https_only``: settings.webhook_…. Raises
    HubError(INVALID_REQUEST) that says what is wrong.
    """
    if channel == "webhook":
        await check_url(address, allow, https_only=https_only)
    elif not mails:
        raise HubError(
            Code.INVALID_REQUEST, "This hub sends no mail. An operator may name a mail server: HUB_SMTP_URL."
        )
    elif not is_address(address):
        raise HubError(Code.INVALID_REQUEST, "address: must be one e-mail address, as in office@district.example.")


async def create(
    tx: Transaction, *, channel: str, address: str, kinds: list[str], key: Keys, allow: Sequence[Network],
    app_id: UUID | None = None,
) -> tuple[Recipient, str | None]:  # fmt: skip
    """Adds a recipient of the district, or of an app, in a transaction of the hub itself (``audit.HUB``).

    The signing secret of a webhook is shown this once. ``key``: hub.crypto.load_key. Raises HubError(CONFLICT) for one
    that there is already, or one too many.
    """
    recipient_id, ring, sealed = ids.new_id(), None, None
    if channel == "webhook":
        urls.parse(address, allow)
        ring = Keyring.new()
        sealed = ring.sealed(await vault.to_seal(tx, key), _district(tx), recipient_id, table="recipients")
    made = await store.create(
        tx, recipient_id, channel=channel, address=address, kinds=kinds, secret=sealed, app_id=app_id
    )
    return made, ring.secret if ring else None


def _district(tx: Transaction) -> UUID:
    if tx.district_id is None:
        raise HubError(Code.DISTRICT_MISMATCH, "Recipients belong to a district: open its transaction.")
    return tx.district_id
