"""One call of the admin API: who calls, on which district, and the one way to write."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from aiohttp import web

from hub.api.admin.route import Role, Route
from hub.api.context import ApiContext
from hub.errors import Code, HubError
from hub.store import audit
from hub.store.admin_tokens import AdminToken
from hub.store.database import Transaction


def missing() -> HubError:
    """The one answer for what does not exist and for what is somebody else's."""
    return HubError(Code.NOT_FOUND, "There is no such object.")


@dataclass(frozen=True, slots=True)
class Writing:
    """A transaction that ends with an audit row about what ``note`` was told."""

    tx: Transaction
    noted: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def note(self, object_: str, **details: object) -> None:
        """Names the object, as ``kind/id``, and what was changed: no personal data, no secret."""
        self.noted.append((object_, details))


@dataclass(frozen=True, slots=True)
class Call:
    """A request whose token was checked against the route and the district in the path."""

    request: web.Request
    context: ApiContext
    route: Route
    token: AdminToken | None
    district: UUID | None
    headers: dict[str, str] = field(default_factory=dict)  # of the answer, beside the usual ones

    @property
    def actor(self) -> AdminToken:
        """The token that calls; only public routes have none."""
        if self.token is None:
            raise HubError(Code.UNAUTHORIZED, "This route needs a token.")
        return self.token

    @property
    def actor_name(self) -> str:
        """How the audit log names the caller."""
        return f"token:{self.actor.token_id}"

    @property
    def role(self) -> Role:
        """The caller's role."""
        return Role(self.actor.role)

    @property
    def district_id(self) -> UUID:
        """The district in the path; the hub itself (``audit.HUB``) where the path names none."""
        return self.district or audit.HUB

    def on(self, district: UUID) -> Call:
        """The same call on a district that its path does not name, such as a new one."""
        return replace(self, district=district)

    def id(self, name: str) -> UUID:
        """The id in the path. Raises HubError(NOT_FOUND) for what is none."""
        return as_id(self.request.match_info[name])

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Transaction]:
        """A read-only transaction of the call's district."""
        async with self.context.db.district(self.district_id, readonly=True) as tx:
            yield tx

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[Writing]:
        """A transaction of the call's district that cannot commit without its audit row."""
        async with self.context.db.district(self.district_id) as tx:
            writing = Writing(tx)
            yield writing
            action = self.route.action
            if action is None or len(writing.noted) != 1:
                raise HubError(
                    Code.INTERNAL, f"{self.route.operation} writes without exactly one note for the audit log."
                )
            object_, details = writing.noted[0]
            await audit.add(tx, actor=self.actor_name, action=action, object_=object_, details=details)


def as_id(text: str) -> UUID:
    """A UUID in its usual form. Raises HubError(NOT_FOUND): no object has another id."""
    try:
        value = UUID(text)
    except ValueError:
        raise missing() from None
    if str(value) != text.lower() or value == audit.HUB:
        raise missing()
    return value
