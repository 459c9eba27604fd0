"""Recordings of pulls: a trace is kept of the attempt that did something."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast
from uuid import uuid4

import pytest

from connectors.protocol import NotYetError
from connectors.tracing import Trace
from hub.sync.tracing import Recording, recorded


async def test_a_pull_that_is_put_off_leaves_its_trace_to_the_next_attempt() -> None:
    """It has only begun; what failed ends the trace."""
    nowhere = source = cast("Any", None)
    recording = Recording(uuid4(), Trace({}, lambda: datetime.now(UTC)))
    with pytest.raises(NotYetError):
        async with recorded(recording, nowhere, uuid4(), source):
            raise NotYetError("package_unsettled", "Later.", wait_seconds=1, seen={})
    assert recording.outcome == "whole"
