"""Who may call what: the token's role against the route, its district or app against the path."""

from __future__ import annotations

from uuid import UUID

from aiohttp import web

from hub.api.admin.call import Call, as_id, missing
from hub.api.admin.route import Role, Route
from hub.api.attempts import ATTEMPTS
from hub.api.context import ApiContext
from hub.errors import Code, HubError
from hub.store import admin_tokens, districts, grants
from hub.store.admin_tokens import AdminToken
from hub.store.database import Transaction

_LONGEST_TOKEN = 200


def unauthorized() -> HubError:
    """The one answer for a token that is missing, malformed, unknown, expired or revoked."""
    return HubError(Code.UNAUTHORIZED, "Send a valid admin token as `Authorization: Bearer …`, or have a new one made.")


async def admit(request: web.Request, context: ApiContext, route: Route) -> Call:
    """The call of a request that may go on.

    Raises HubError: UNAUTHORIZED without a valid token, FORBIDDEN for a role that the route does not admit, and
    NOT_FOUND alike for a district or an app that does not exist and for one that this token may not reach. Raises
    HeldUpError where too many wrong tokens came from.
    """
    if route.public:
        return Call(request, context, route, None, None)
    text = _bearer(request)
    attempt = request.config_dict[ATTEMPTS].begin(request, admin_tokens.digest(text))
    async with context.db.shared() as tx:
        token = await admin_tokens.find(tx, text)
        if token is None:
            attempt.wrong()
            raise unauthorized()
        attempt.right()  # who shows one that is over is no guesser
        if not token.valid(context.clock.now()):
            raise unauthorized()
        if Role(token.role) not in route.roles:
            raise HubError(Code.FORBIDDEN, f"A token of the role {token.role} may not do that. Ask an operator.")
        district = await _district(tx, token, request, route)
    if "app" in route.parameters:
        _own_app(token, as_id(request.match_info["app"]))
    if district is not None and token.scope_app is not None:
        await _holds_grant(context, district, token.scope_app)
    return Call(request, context, route, token, district)


def _bearer(request: web.Request) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token.startswith(admin_tokens.PREFIX) or len(token) > _LONGEST_TOKEN:
        raise unauthorized()
    return token


async def _district(tx: Transaction, token: AdminToken, request: web.Request, route: Route) -> UUID | None:
    if "district" not in route.parameters:
        return None
    district = as_id(request.match_info["district"])
    if token.scope_district not in (None, district):
        raise missing()
    await districts.get(tx, district)
    return district


def _own_app(token: AdminToken, app: UUID) -> None:
    if token.scope_app not in (None, app):
        raise missing()


async def _holds_grant(context: ApiContext, district: UUID, app: UUID) -> None:
    """An app reaches the districts that granted it something, and no other."""
    async with context.db.district(district, readonly=True) as tx:
        if all(grant.app_id != app for grant in await grants.listing(tx, living=True)):
            raise missing()
