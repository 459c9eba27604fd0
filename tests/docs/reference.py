"""docs/admin-api.md, docs/behaviour.md and docs/cli.md, made from routes, settings and commands themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

import click
import orjson

from hub.api.admin.route import PREFIX, Route
from hub.api.admin.routes import ROUTES
from hub.behaviour import Behaviour
from hub.cli import main
from hub.metrics.known import METRICS

_API = f"""# The admin API

Districts, sources, runs, apps, grants, subscriptions, tokens and the audit log, below `{PREFIX}`. A running hub shows
the same with all shapes at `{PREFIX}/docs`, and as an OpenAPI 3.1 document at `{PREFIX}/openapi.json`. This page is
generated: `make docs`.

- **Tokens** begin with `rh_ad_`, go as `Authorization: Bearer …`, live 90 days unless told otherwise (365 at most), and
  are kept as a hash. The first one comes from `hub token create --role operator`. An operator's token reaches all
  districts, but no roster: records are shown to the district's own tokens alone. A district's token reaches its
  district, an app's token the app's clients, and its grants and subscriptions in the districts that granted it
  something.
- **What is missing and what is somebody else's** are answered alike, with 404 `not_found`.
- **Errors** are problems (RFC 9457) with a stable `code` and what to do next: [errors](errors.md).
- **Lists** that can grow long take `limit` (1 to 500) and `after`; the answer's `next` is the following page's `after`,
  null at the end. Short ones come whole. A parameter that a route does not know is refused.
- **Every write** leaves one row in the audit log, in the transaction of the write. Secrets are shown once, when made.
- **Uploads** are streamed and bounded by `HUB_UPLOAD_MAX_BYTES`. `Content-Digest: sha-256=:…:` (RFC 9530) is checked
  where it is sent. One that is cut short leaves nothing behind.

From a package to an applied run:

```sh
curl -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/zip" \\
     --data-binary @district.zip "$HUB{PREFIX}/districts/$DISTRICT/sources/$SOURCE/uploads"
curl -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" \\
     -d '{{"upload_id": "…", "dry_run": true}}' "$HUB{PREFIX}/districts/$DISTRICT/runs"
curl -N -H "Authorization: Bearer $TOKEN" "$HUB{PREFIX}/districts/$DISTRICT/runs/$RUN/events"
```
"""
_BEHAVIOUR = f"""# Settings of an app

OneRoster leaves some things open, and of others the exact wording could not be confirmed. There the hub behaves as the
defaults below say, and differently for an app that needs it. An operator sets what the app expects; it acts within a
second, in both versions of OneRoster where the text names none, and it stands in the audit log.

```sh
curl -X PATCH -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" \\
     -d '{{"behaviour": {{"unknown_parent": "empty", "booleans": "json"}}}}' "$HUB{PREFIX}/apps/$APP"
```

Settings that the body does not name stay as they are. An unknown name or value is refused with the setting's name, and
then nothing is changed. This page is generated: `make docs`.

| Setting | Default | Values | Meaning |
|---|---|---|---|
"""
_CLI = """# The command line

`hub COMMAND --help` says the same. Settings are [environment variables](settings.md). A refusal is printed as
`code: what to do` ([errors](errors.md)) with exit code 2. This page is generated: `make docs`.
"""


_METRICS = """# Metrics

In the form of Prometheus, at `/metrics` of the API's port and, with `HUB_METRICS_PORT`, of each worker's. This page
is generated: `make docs`.

- **Who may read them**: requests from the machine itself that came through no proxy, and whoever sends
  `HUB_METRICS_TOKEN` as a bearer token. Everybody else gets 403. To scrape a worker from elsewhere, set
  `HUB_METRICS_HOST` too.
- **Several processes on one port** keep their numbers in files below `metrics` of the data folder, and any of them
  answers for all; those of processes that are gone stay counted. So a machine, or a container, needs a data folder of
  its own.
- **Nothing personal**: no label names a district, an app, a subscription or a person. Lags and states of single
  subscriptions are in the admin API.
- **What PostgreSQL knows** (subscriptions, feeds, runs) is asked by workers, at most every five seconds, and is the
  same at each of them: take the maximum, not the sum. While PostgreSQL is away these are missing.

Worth an alarm: `rosterhub_feed_lag_seconds` beyond what apps bear, while `rosterhub_subscriptions_failing` is 0 (the
workers are too slow or not there); `rosterhub_subscriptions{state="paused"}` that rises;
`rosterhub_runs{state="queued"}` that does not fall; the 0.99 quantile of `rosterhub_event_loop_lag_seconds` above
0.1; `rosterhub_database_connections{state="used"}` at `state="most"`.

| Metric | Kind | Labels | Meaning |
|---|---|---|---|
"""


def metrics_page() -> str:
    """docs/metrics.md: every metric with its labels."""
    return _METRICS + "".join(
        f"| `{m.name}` | {m.kind} | {', '.join(f'`{label}`' for label in m.labels)} | {m.text} |\n"
        for m in METRICS.values()
    )


def admin_api_page() -> str:
    """docs/admin-api.md: every route with who may call it."""
    lines = [_API]
    groups = dict.fromkeys(route.group for route in ROUTES)
    for group in groups:
        lines += [f"## {group}", "", "| | | For | Audit | |", "|---|---|---|---|---|"]
        lines += [_route(route) for route in ROUTES if route.group == group]
        lines.append("")
    return "\n".join(lines)


def _route(route: Route) -> str:
    roles = ", ".join(sorted(route.roles)) or "everyone, without a token"
    action = f"`{route.action}`" if route.action else ""
    return f"| {route.method} | `{route.path}` | {roles} | {action} | {route.summary} |"


def behaviour_page() -> str:
    """docs/behaviour.md: each setting of an app with its values."""
    lines = []
    for name, field in Behaviour.model_fields.items():
        values = (True, False) if field.annotation is bool else get_args(field.annotation)
        texts = ", ".join(_json(value) for value in values)
        lines.append(f"| `{name}` | {_json(field.default)} | {texts} | {field.description} |\n")
    return _BEHAVIOUR + "".join(lines)


def _json(value: object) -> str:
    return f"`{orjson.dumps(value).decode()}`"


def cli_page() -> str:
    """docs/cli.md: every command with its help."""
    return _CLI + "".join(f"\n## {name}\n\n```text\n{text}\n```\n" for name, text in _helps(main, "hub"))


def _helps(command: click.Command, name: str, parent: click.Context | None = None) -> Iterator[tuple[str, str]]:
    settings = {**command.context_settings, "terminal_width": 100, "color": False}
    context = click.Context(command, info_name=name.rpartition(" ")[2], parent=parent, **settings)
    yield name, command.get_help(context)
    if isinstance(command, click.Group):
        for part in command.list_commands(context):
            yield from _helps(command.commands[part], f"{name} {part}", context)
