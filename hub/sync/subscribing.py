"""Telling a source's system where to say that something changed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

from pydantic import ValidationError

from connectors.protocol import ConnectorError, SourceContext, Subscribing
from connectors.registry import connector
from hub.addresses import Network
from hub.crypto import Keys
from hub.errors import Code, HubError
from hub.store.sources import Source
from hub.sync import source_secrets
from hub.sync.pull import NO_ACCESS, Access

#: Whoever asks waits for the answer.
LONGEST_SECONDS = 30.0
NOT_TOLD = "The hub cannot tell systems of this kind. Enter the address in the system."


def can_be_told(source: Source) -> bool:
    """Whether systems of this kind can be told by the hub. What is wrong with the source, its run will say."""
    try:
        return isinstance(_opened(source), Subscribing)
    except (ConnectorError, ValidationError):
        return False


async def told(district_id: UUID, source: Source, key: Keys, allow: Sequence[Network], address: str) -> str | None:
    """Has the system say at ``address`` when something changed; in plain words why it does not, or None.

    Raises HubError(CONFLICT) for a kind of source that cannot be told, HubError(INTERNAL) for secrets that cannot be
    opened.
    """
    return await _asked(district_id, source, key, allow, lambda system: system.subscribe(address))


async def told_no_more(district_id: UUID, source: Source, key: Keys, allow: Sequence[Network]) -> str | None:
    """The same for no address at all."""
    return await _asked(district_id, source, key, allow, lambda system: system.unsubscribe())


async def _asked(
    district_id: UUID, source: Source, key: Keys, allow: Sequence[Network],
    ask: Callable[[Subscribing], Awaitable[None]],
) -> str | None:  # fmt: skip
    access = Access(source_secrets.opened(key, district_id, source), allow)
    try:
        system = await asyncio.to_thread(_opened, source, access)
        if not isinstance(system, Subscribing):
            raise HubError(Code.CONFLICT, NOT_TOLD)
        async with asyncio.timeout(LONGEST_SECONDS):
            await ask(system)
    except ValidationError:
        return "The source's configuration does not fit its kind. Set it anew."
    except ConnectorError as error:
        return error.message
    except TimeoutError:
        return f"The system did not answer within {LONGEST_SECONDS:.0f} seconds."
    return None


def _opened(source: Source, access: Access = NO_ACCESS) -> object:
    spec = connector(source.kind)
    config = spec.config_model.model_validate(source.config)
    return spec.open(SourceContext(config=config, secrets=access.secrets, reachable=access.reachable))
