"""PostgreSQL and Redis from Python wheels, for evaluation, tests and small single-machine installations.

Only the programs of the wheels are used, not their APIs. Both servers listen on loopback alone and ask for a password,
never run as root, and keep their data in a folder that the caller names.
"""

from __future__ import annotations

from hub.embedded.postgres import EmbeddedPostgres
from hub.embedded.redis import EmbeddedRedis

__all__ = ["EmbeddedPostgres", "EmbeddedRedis"]
