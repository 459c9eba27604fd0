"""Trying a source: its connector asks for a little of everything, and nothing is taken over."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

from connectors.protocol import ConnectorError, Found
from hub.addresses import Network
from hub.crypto import Keys
from hub.store.sources import Source
from hub.sync import source_secrets
from hub.sync.pull import Access, opened_source, private_folder, watched
from hub.sync.tracing import Recording
from transforms.shaping.checking import Checked

#: Whoever asks waits for the answer.
LONGEST_SECONDS = 60.0


async def tried(
    district_id: UUID, source: Source, transform: Checked | None, key: Keys, allow: Sequence[Network],
    recording: Recording | None = None, *, watch: Path | None = None,
) -> Sequence[Found]:  # fmt: skip
    """What a source's connector finds out about its system.

    Raises HubError(INTERNAL) for secrets that cannot be opened.
    """
    secrets = source_secrets.opened(key, district_id, source)
    observer = recording.trace.note if recording else None
    access = Access(secrets, allow, observer=observer, watched=watched(watch, district_id))
    try:
        async with private_folder() as folder, asyncio.timeout(LONGEST_SECONDS):
            opened = await asyncio.to_thread(opened_source, source, transform, None, folder, access)
            probe = getattr(opened, "probe", None)
            if probe is None:
                text = "Sources of this kind have nothing to try. A dry run shows what a package would do."
                return [Found("source", "warning", text)]
            found: Sequence[Found] = await probe()
            return found
    except ConnectorError as error:
        return [Found(error.code, "bad", error.message)]
    except TimeoutError:
        text = f"The system did not answer everything within {LONGEST_SECONDS:.0f} seconds."
        return [Found("time", "bad", text)]
