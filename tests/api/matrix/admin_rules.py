"""Who may call which route of the admin API, and a body that each route takes."""

from __future__ import annotations

#: o: operators, d: districts, a: apps, -: nobody needs a token. Written by hand, against slips in the code's table.
MATRIX = """
GET    od  /districts
POST   o   /districts
GET    od  /districts/{district}
PATCH  od  /districts/{district}
GET    od  /districts/{district}/sources
POST   od  /districts/{district}/sources
GET    od  /districts/{district}/sources/{source}
PATCH  od  /districts/{district}/sources/{source}
POST   od  /districts/{district}/sources/{source}/uploads
GET    od  /districts/{district}/uploads/{upload}
POST   od  /districts/{district}/runs
GET    od  /districts/{district}/runs
GET    od  /districts/{district}/runs/{run}
GET    od  /districts/{district}/runs/{run}/events
GET    od  /districts/{district}/runs/{run}/report
POST   od  /districts/{district}/runs/{run}/approve
POST   od  /districts/{district}/runs/{run}/reject
GET    od  /districts/{district}/runs/{run}/issues
GET    od  /districts/{district}/runs/{run}/issues.csv
GET    oda /apps
POST   o   /apps
GET    oda /apps/{app}
PATCH  o   /apps/{app}
GET    oa  /apps/{app}/limits
PUT    o   /apps/{app}/limits
GET    oa  /apps/{app}/clients
POST   oa  /apps/{app}/clients
POST   oa  /apps/{app}/clients/{client}/rotate
POST   oa  /apps/{app}/sandbox
POST   oa  /apps/{app}/sandbox/changes
DELETE oa  /apps/{app}/clients/{client}
PUT    oa  /apps/{app}/clients/{client}/keys
POST   o   /apps/{app}/clients/{client}/oauth1
POST   oa  /apps/{app}/clients/{client}/oauth1/rotate
DELETE oa  /apps/{app}/clients/{client}/oauth1
GET    oda /districts/{district}/grants
POST   od  /districts/{district}/grants
POST   od  /districts/{district}/grants/preview
GET    oda /districts/{district}/grants/{grant}
PUT    od  /districts/{district}/grants/{grant}
POST   od  /districts/{district}/grants/{grant}/preview
POST   od  /districts/{district}/grants/{grant}/suspend
POST   od  /districts/{district}/grants/{grant}/resume
POST   od  /districts/{district}/grants/{grant}/revoke
GET    oda /districts/{district}/subscriptions
POST   oda /districts/{district}/subscriptions
GET    oda /districts/{district}/subscriptions/{subscription}
GET    oda /districts/{district}/subscriptions/{subscription}/attempts
POST   oda /districts/{district}/subscriptions/{subscription}/pause
POST   oda /districts/{district}/subscriptions/{subscription}/resume
POST   oda /districts/{district}/subscriptions/{subscription}/rotate
DELETE oda /districts/{district}/subscriptions/{subscription}
GET    od  /districts/{district}/exports
GET    od  /districts/{district}/exports/{export}
GET    od  /districts/{district}/export-schedules
POST   d   /districts/{district}/export-schedules
GET    od  /districts/{district}/export-schedules/{schedule}
PUT    d   /districts/{district}/export-schedules/{schedule}
POST   od  /districts/{district}/export-schedules/{schedule}/run
POST   od  /districts/{district}/export-schedules/{schedule}/pause
POST   od  /districts/{district}/export-schedules/{schedule}/resume
DELETE od  /districts/{district}/export-schedules/{schedule}
GET    oda /me
GET    o   /tokens
POST   o   /tokens
DELETE o   /tokens/{token}
GET    o   /audit
GET    od  /districts/{district}/audit
GET    -   /openapi.json
GET    -   /docs
"""
EXPECTED = {(m, p): r for m, r, p in (line.split() for line in MATRIX.strip().splitlines())}
LETTERS = {"o": "operator", "d": "district", "a": "app"}
