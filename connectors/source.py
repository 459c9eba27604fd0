"""What the sources of all systems that are pulled over HTTP have in common."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Generic, TypeVar

from connectors.config import QuietHours
from connectors.http import Web
from connectors.probing import REQUEST_SECONDS
from connectors.protocol import Capability, ConnectorError, Found, Intent, Pull, SourceContext
from connectors.roster import pulling

C = TypeVar("C", bound=QuietHours)
Cursor = Mapping[str, Any] | None


@dataclass(frozen=True)
class SystemSource(Generic[C]):
    """One district's system. ``changes``: a pull with a cursor brings what changed since alone.

    ``pulls`` makes one pull into a folder, ``tries`` asks for a little of everything. ``usual_quiet``: hours in which
    such systems are left alone where the configuration states none.
    """

    context: SourceContext
    config: C
    pulls: Callable[[SourceContext, C, Web, Path, Cursor], Awaitable[Pull]]
    tries: Callable[[SourceContext, C, Web], Awaitable[Sequence[Found]]]
    changes: bool = False
    usual_quiet: str | None = None

    @property
    def capabilities(self) -> frozenset[Capability]:
        """It is pulled, and may know what changed."""
        pulled = frozenset({Capability.BULK, Capability.PULL})
        return pulled | {Capability.DELTA, Capability.CHANGES} if self.changes else pulled

    def quiet_seconds(self, now: datetime) -> float:
        """For how long the system wants to be left alone."""
        return self.config.quiet_seconds(now, self.usual_quiet)

    async def pull(self, cursor: Cursor) -> Pull:
        """Everything, or with a cursor what changed since. Raises ConnectorError (``quiet_hours`` and many more)."""
        quiet = await asyncio.to_thread(self.quiet_seconds, self.context.now())
        async with pulling(self.context, quiet) as (web, folder):
            return await self.pulls(self.context, self.config, web, folder, cursor if self.changes else None)

    async def probe(self) -> Sequence[Found]:
        """Takes nothing over; what goes wrong is found, never raised."""
        async with Web.of(self.context, most_seconds=REQUEST_SECONDS) as web:
            return await self.tries(self.context, self.config, web)


def configured(context: SourceContext, model: type[C]) -> C:
    """The configuration of a connector. Raises ConnectorError (``wrong_config``) for that of another kind."""
    if not isinstance(context.config, model):
        raise ConnectorError("wrong_config", "The configuration is of another connector.", intent=Intent.GIVE_UP)
    return context.config
