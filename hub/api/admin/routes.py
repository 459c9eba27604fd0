"""The one table of all admin routes."""

from __future__ import annotations

from hub.api.admin import (
    about,
    app_recipients,
    apps,
    attempts,
    audit,
    connectors,
    credentials,
    differences,
    districts,
    drops,
    erasures,
    exports,
    freshness,
    grade_targets,
    grants,
    guards,
    identifiers,
    issues,
    limits,
    merging,
    parked,
    positions,
    recipients,
    records,
    retention,
    runs,
    sandboxes,
    schedules,
    source_tests,
    sources,
    subscription_tests,
    subscriptions,
    tokens,
    traces,
    transforms,
    uploads,
    windows,
)  # fmt: skip
from hub.api.admin.route import Route

ROUTES: tuple[Route, ...] = (
    *districts.ROUTES, *connectors.ROUTES, *sources.ROUTES, *source_tests.ROUTES, *traces.ROUTES,
    *transforms.ROUTES, *merging.ROUTES, *guards.ROUTES, *windows.ROUTES, *uploads.ROUTES, *drops.ROUTES,
    *runs.ROUTES, *differences.ROUTES, *issues.ROUTES, *apps.ROUTES, *credentials.ROUTES, *limits.ROUTES,
    *sandboxes.ROUTES, *grants.ROUTES, *identifiers.ROUTES, *subscriptions.ROUTES, *positions.ROUTES,
    *parked.ROUTES, *attempts.ROUTES, *subscription_tests.ROUTES, *exports.ROUTES, *grade_targets.ROUTES,
    *tokens.ROUTES, *audit.ROUTES, *about.ROUTES, *schedules.ROUTES, *freshness.ROUTES, *recipients.ROUTES,
    *app_recipients.ROUTES, *records.ROUTES, *retention.ROUTES, *erasures.ROUTES,
)  # fmt: skip
