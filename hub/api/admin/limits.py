"""What one app may ask of the hub: the operator's settings, and what is set for this app instead."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from pydantic import Field

from hub.api.admin.call import Call
from hub.api.admin.route import OPERATOR, Role, Route
from hub.api.admin.shapes import Asked, Shown
from hub.api.limits import Limits
from hub.store import apps as store

_Rate = Annotated[float | None, Field(gt=0, le=1_000_000, allow_inf_nan=False)]
_Count = Annotated[int | None, Field(ge=1, le=10_000_000)]


class AppLimits(Asked):
    """What is set for an app; null, or nothing, where the operator's setting holds. All are per API process."""

    requests_per_second: _Rate = Field(default=None, description="Instead of `HUB_APP_REQUESTS_PER_SECOND`.")
    burst: _Count = Field(default=None, description="Instead of `HUB_APP_REQUESTS_BURST`.")
    concurrency: _Count = Field(default=None, description="Instead of `HUB_APP_CONCURRENCY`.")
    queue: Annotated[int | None, Field(ge=0, le=100_000)] = Field(
        default=None, description="Instead of `HUB_APP_QUEUE`."
    )


class EffectiveLimits(Shown):
    """The limits that hold for an app."""

    requests_per_second: float
    burst: int
    concurrency: int
    queue: int


class ShownLimits(Shown):
    """What is set for an app, and what holds therefore."""

    set: AppLimits
    effective: EffectiveLimits


def _shown(call: Call, limits: AppLimits) -> ShownLimits:
    held = Limits.of(call.context.settings).but(limits.model_dump())
    return ShownLimits(set=limits, effective=EffectiveLimits(**asdict(held)))


async def get(call: Call) -> ShownLimits:
    """The app's limits."""
    async with call.reading() as tx:
        return _shown(call, AppLimits.model_validate(await store.limits(tx, call.id("app"))))


async def put(call: Call, body: AppLimits) -> ShownLimits:
    """Sets the app's limits; what is not named goes back to the operator's setting. Acts within a second."""
    set_ = body.model_dump(exclude_none=True)
    async with call.writing() as writing:
        app_id = call.id("app")
        await store.set_limits(writing.tx, app_id, set_)
        writing.note(f"app/{app_id}", limits=set_)
    return _shown(call, body)


ROUTES = (
    Route("GET", "/apps/{app}/limits", get, "What an app may ask of the hub",
          roles=frozenset({Role.OPERATOR, Role.APP}), answer=ShownLimits),
    Route("PUT", "/apps/{app}/limits", put, "Set what an app may ask of the hub", roles=OPERATOR, body=AppLimits,
          answer=ShownLimits, action="app.limit"),
)  # fmt: skip
