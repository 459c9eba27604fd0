"""PowerSchool's event subscription of the plugin: which changes it sends a word of, and where to.

What it sends is taken for no more than that word (``README.md`` says what is known of it).
"""

from __future__ import annotations

from typing import Any

import orjson

from connectors.client import NotUnderstoodError, as_it_is
from connectors.powerschool.client import Client
from connectors.protocol import ConnectorError, Intent

PATH = "/ws/v1/event_subscription"
#: Sent with each event, and looked at by nobody: the address says whose it is.
KEY = "RosterHub"
_CHANGES = ("INSERT", "UPDATE", "DELETE")
RESOURCES = ("student", "section_enrollment", "staff", "section", "course")
_WHAT = "event subscription"
_DONE = frozenset({200, 201, 204})
_GONE = _DONE | {404}


def document(address: str) -> dict[str, Any]:
    """The subscription as PowerSchool takes it: changes of all that is pulled, at ``address``."""
    events = [{"resource": f"/ws/v1/{name}/*", "event_type": change} for name in RESOURCES for change in _CHANGES] + [
        {"resource": "/ws/v1/student/*", "event_type": "SCHOOL_ENROLLMENT"}
    ]
    return {"event_subscriptions": {"key": KEY, "callback_url": address, "event_subscription": events}}


async def subscribe(client: Client, address: str) -> None:
    """Replaces the plugin's subscription. Raises ConnectorError as ``Client.ask`` does, in PowerSchool's words."""
    await _asked(client, "PUT", _DONE, orjson.dumps(document(address)))


async def unsubscribe(client: Client) -> None:
    """Takes it away; that there is none is no error."""
    await _asked(client, "DELETE", _GONE)


async def _asked(client: Client, method: str, good: frozenset[int], body: bytes | None = None) -> None:
    try:
        url = client.config.at(PATH)
        await client.ask(url, _WHAT, as_it_is, method=method, body=body, kept=False, good=good)
    except NotUnderstoodError:
        raise _refused("PowerSchool does not understand the event subscription (HTTP 400).") from None
    except ConnectorError as error:
        if error.code not in {"not_permitted", "not_found"}:
            raise
        raise _refused("This PowerSchool does not let the plugin subscribe to events.") from None


def _refused(text: str) -> ConnectorError:
    text += " Its administrator may enter the address; or go without: a schedule of every few minutes does the same."
    return ConnectorError("not_permitted", text, intent=Intent.ASK_HUMAN)
