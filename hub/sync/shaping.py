"""Which transform a run goes by: the one that acts on its source, or the candidate that a dry run tries."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

from connectors.protocol import ConnectorError, Intent
from hub.store import transforms
from hub.store.database import Transaction
from hub.store.runs import Run
from transforms.shaping.checking import Checked, load
from transforms.shaping.steps import DefinitionError

#: The member of a dry run's task that holds a candidate.
CANDIDATE = "transform"


async def of_run(tx: Transaction, run: Run) -> Checked | None:
    """The transform of a run; None where rows are taken as they come. Raises ConnectorError (``bad_transform``)."""
    if CANDIDATE in run.task:
        return await _read(run.task[CANDIDATE])
    return None if run.source_id is None else await in_force(tx, run.source_id)


async def in_force(tx: Transaction, source_id: UUID) -> Checked | None:
    """The transform that acts on a source; None where rows are taken as they come. Raises ConnectorError."""
    saved = await transforms.active(tx, source_id)
    return None if saved is None else await _read(saved.definition)


async def _read(definition: dict[str, Any]) -> Checked | None:
    try:
        checked = await asyncio.to_thread(load, definition)
    except DefinitionError as error:  # saved by another version of the hub
        text = f"The source's transform is refused: {error}"[:500]
        raise ConnectorError("bad_transform", text, intent=Intent.ASK_HUMAN) from None
    return checked if checked.files or checked.mapping else None
