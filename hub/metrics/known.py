"""Every metric of the hub."""

from __future__ import annotations

from hub.metrics.declared import LONG, METRICS, Counter, Gauge, Histogram

__all__ = ["METRICS"]

INFO = Gauge("rosterhub_info", "Always 1; the label says which release runs.", "version", read=True)

# Webhooks.
DELIVERIES = Counter(
    "rosterhub_deliveries_total",
    "Webhook requests by what came of them: `delivered`, or the class of the error as in the log of attempts.",
    "outcome",
)
DELIVERY_SECONDS = Histogram(
    "rosterhub_delivery_seconds", "Time from sending a webhook to its answer, delivered or not.", "outcome"
)
NOTICES = Counter("rosterhub_notices_total", "Messages to recipients of notices.", "channel", "outcome")
CLAIMS = Counter("rosterhub_claims_total", "Pieces of work that workers took a lease of, by queue.", "queue")
IN_FLIGHT = Gauge("rosterhub_in_flight", "Pieces of work in hand of the workers on this machine, by queue.", "queue")

# What PostgreSQL knows, asked when somebody scrapes a worker.
SUBSCRIPTIONS = Gauge("rosterhub_subscriptions", "Webhook subscriptions by state.", "state", read=True)
FAILING = Gauge("rosterhub_subscriptions_failing", "Active subscriptions whose last attempt failed.", read=True)
LEASED = Gauge("rosterhub_subscriptions_leased", "Subscriptions that a worker has in hand.", read=True)
PARKED = Gauge("rosterhub_changes_parked", "Changes that receivers refuse and that were set aside.", read=True)
BEHIND = Gauge("rosterhub_subscriptions_behind", "Active subscriptions for which something waits.", read=True)
LAG_SECONDS = Gauge(
    "rosterhub_feed_lag_seconds", "Age of the oldest change that an active subscription has not acknowledged.",
    read=True,
)  # fmt: skip
STEPS_WAITING = Gauge(
    "rosterhub_feed_steps_waiting",
    "Steps of feeds (one for each sync or edit that changed a view) that active subscriptions have not acknowledged.",
    read=True,
)
RUNS = Gauge("rosterhub_runs", "Runs that are not over, by state: queued, running or held.", "state", read=True)

# Syncs.
SYNCS = Counter(
    "rosterhub_syncs_total", "Attempts of runs that ended, by the run's kind and the state that it came to.", "kind",
    "outcome",
)  # fmt: skip
SYNC_SECONDS = Histogram("rosterhub_sync_seconds", "Time of an attempt of a run, by its kind.", "kind", bounds=LONG)

# The API.
REQUESTS = Counter(
    "rosterhub_requests_total",
    "Requests by class of route (`oneroster`, `oauth`, `changes`, `export`, `admin`, `health`, `other`) and status."
    " Those of `changes` are apps that pull their feed.",
    "route", "status",
)  # fmt: skip
REQUEST_SECONDS = Histogram("rosterhub_request_seconds", "Time from a request's headers to its answer.", "route")

# Processes.
CONNECTIONS = Gauge(
    "rosterhub_database_connections", "Connections to PostgreSQL by pool and state: used, idle, or most (the limit).",
    "pool", "state",
)  # fmt: skip
LOOP_LAG = Histogram(
    "rosterhub_event_loop_lag_seconds", "How late the event loop is for what it should do now; looked at each second."
)
