"""Posting what was asked for to a receiver that is being written, as the hub itself would send it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import orjson

from hub.changes.message import CHANGES, moment
from hub.webhooks import sign

if TYPE_CHECKING:
    from aiohttp import ClientSession

_LONGEST_PAUSE = 30.0
_SECONDS = 15
_TAKEN = range(200, 300)
_SHOWN = 200


@dataclass
class Forwarder:
    """Sends answers on. ``tell``: prints for a person."""

    http: ClientSession
    url: str
    secret: str = field(repr=False)
    tell: Callable[[str], None]
    subscription: UUID = field(default_factory=uuid4)

    async def take(self, body: dict[str, Any]) -> None:
        """Posts an answer's changes, until the receiver answers 2xx: one message for each district in it."""
        for data in self._datas(body):
            message = {"type": CHANGES, "timestamp": moment(_at(data["changes"])), "data": data}
            await self._deliver(f"msg_{uuid4().hex}", orjson.dumps(message))

    def _datas(self, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        mine = {"subscription": str(self.subscription)}
        if "districts" not in body:
            if body["changes"]:
                yield mine | {name: body[name] for name in ("district", "grant", "from", "to", "more", "changes")}
            return
        for one in body["districts"]:
            changes = [dict(c) for c in body["changes"] if c["district"] == one["district"]]
            for change in changes:
                del change["district"]
            if changes:
                yield mine | {n: one[n] for n in ("district", "grant", "from", "to", "more")} | {"changes": changes}

    async def _deliver(self, message_id: str, body: bytes) -> None:
        """The same id and the same bytes again and again, later and later."""
        pause = 1.0
        while not await self._attempt(message_id, body):
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _attempt(self, message_id: str, body: bytes) -> bool:
        import aiohttp

        now = int(time.time())
        headers = sign.headers([self.secret], message_id, now, body)
        if not sign.verify(self.secret, headers, body, now=now):
            raise ValueError("what was just signed does not verify")
        started = time.monotonic()
        try:
            async with self.http.post(
                self.url, data=body, headers={"content-type": "application/json", **headers}, allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=_SECONDS),
            ) as response:  # fmt: skip
                said = " ".join((await response.content.read(_SHOWN)).decode("utf-8", "replace").split())
                status = response.status
        except (aiohttp.ClientError, TimeoutError) as error:
            self.tell(f"  -> {message_id}: no answer ({type(error).__name__}); it is sent again")
            return False
        taken = status in _TAKEN
        answer = f"{status} in {(time.monotonic() - started) * 1000:.0f} ms" + (f": {said}" if said else "")
        self.tell(f"  -> {message_id}: {answer}" + ("" if taken else "; it is sent again"))
        return taken


def _at(changes: list[dict[str, Any]]) -> datetime:
    """When the last of some changes happened, as far as they say."""
    said = [datetime.fromisoformat(change["at"]) for change in changes if "at" in change]
    return max(said, default=datetime.now(UTC))
