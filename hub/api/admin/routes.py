"""The one table of all admin routes."""

from __future__ import annotations

from hub.api.admin import (
    about,
    apps,
    audit,
    credentials,
    districts,
    erasures,
    exports,
    grade_targets,
    grants,
    identifiers,
    issues,
    limits,
    merging,
    records,
    retention,
    runs,
    sandboxes,
    sources,
    subscriptions,
    tokens,
    uploads,
)  # fmt: skip
from hub.api.admin.route import Route

ROUTES: tuple[Route, ...] = (
    *districts.ROUTES, *sources.ROUTES, *merging.ROUTES, *uploads.ROUTES, *runs.ROUTES, *issues.ROUTES,
    *records.ROUTES, *retention.ROUTES, *erasures.ROUTES, *apps.ROUTES, *credentials.ROUTES, *limits.ROUTES,
    *sandboxes.ROUTES, *grants.ROUTES, *identifiers.ROUTES, *subscriptions.ROUTES,
    *exports.ROUTES, *grade_targets.ROUTES, *tokens.ROUTES, *audit.ROUTES, *about.ROUTES,
)  # fmt: skip
