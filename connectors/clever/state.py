"""The state of a district at Clever: while it is paused, broken or not ready there, nothing of it is applied here."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from connectors.clever.client import Client, PageTooLargeError
from connectors.client import NotUnderstoodError
from connectors.protocol import ConnectorError, Intent

_LATER = {
    "error": (
        "district_failed",
        "Clever could not take over the district's data, so nothing is applied. Mend it on Clever's sync page.",
    ),
    "pending": (
        "district_pending",
        "Clever has not finished the district's first sync, so nothing is applied. Finish it in Clever's dashboard.",
    ),
}


async def district(client: Client) -> Mapping[str, Any]:
    """The district that the token is for, as it is now: an earlier attempt's answer says nothing of its state.

    Raises ConnectorError as ``Client.page`` does and besides (``no_district``, ``district_paused``,
    ``district_failed``, ``district_pending``).
    """
    try:
        page = await client.page(client.config.collection("districts"), "districts", 100, kept=False)
    except (NotUnderstoodError, PageTooLargeError):
        text = "Clever does not understand the request for the district. Check the address and the version."
        raise ConnectorError("query_refused", text, intent=Intent.ASK_HUMAN) from None
    wanted = client.config.district
    found = [one for one in page.objects if isinstance(one.get("id"), str) and wanted in {None, one["id"]}]
    if len(found) != 1:
        text = (
            "The token is not for one district, or not for the one of the source. Enter the token of this district, "
            "and check the district's id."
        )
        raise ConnectorError("no_district", text, intent=Intent.ASK_HUMAN)
    refused = stopped(found[0], client.started or client.context.now())
    if refused is not None:
        raise refused
    return found[0]


def stopped(found: Mapping[str, Any], now: datetime) -> ConnectorError | None:
    """Why nothing of a district may be applied; None where it may."""
    told = found.get("state")
    if told == "paused":
        end = _moment(found.get("pause_end"))
        until = f" until {end:%Y-%m-%d %H:%M} UTC" if end else ""
        text = f"The district has paused its syncs at Clever{until}, so nothing is applied here either."
        if end is not None and end > now:
            wait = (end - now).total_seconds()
            return ConnectorError("district_paused", text, intent=Intent.RETRY, wait_seconds=wait)
        return ConnectorError("district_paused", text + " End the pause there.", intent=Intent.ASK_HUMAN)
    if told in _LATER:
        code, text = _LATER[told]
        return ConnectorError(code, text, intent=Intent.ASK_HUMAN)
    return None


def _moment(value: Any) -> datetime | None:
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return found if found is not None and found.tzinfo is not None else None
