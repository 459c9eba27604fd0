"""Named places at which a test may kill the process, to prove that nothing acknowledged is lost.

``HUB_CRASH_AT=name`` arms one place. It is read once in each process, at the first place that it passes: a delivery
passes three, and to ask the environment for a name that is not there costs a microsecond and an exception.
"""

from __future__ import annotations

import os
from functools import cache

#: Every place, in the order in which a sync, a delivery, an export, a write and a purge pass them.
PLACES = (
    "sync.claimed",
    "fetch.folder_made",
    "fetch.upload_written",
    "sync.package_open",
    "stage.swept",
    "diff.looked_up",
    "transform.batch_made",
    "diff.compared",
    "stage.rids_reserved",
    "stage.rendered",
    "stage.copied",
    "stage.inserted",
    "merge.staged",
    "merge.kept",
    "stage.differences",
    "sync.transformed",
    "sync.staged",
    "apply.locked",
    "apply.position_drawn",
    "apply.history_kept",
    "apply.sources_written",
    "apply.changes_logged",
    "apply.records_written",
    "feed.moved",
    "apply.views_written",
    "apply.guard_looked",
    "apply.differences_kept",
    "people.moved",
    "apply.before_commit",
    "apply.after_commit",
    "notify.announced",
    "notify.swept",
    "deliver.before_send",
    "deliver.after_send",
    "deliver.after_acknowledge",
    "notice.before_send",
    "notice.after_send",
    "passback.before_send",
    "passback.after_send",
    "passback.after_settle",
    "export.kept",
    "export.made",
    "export.delivered",
    "gradebook.locked",
    "gradebook.records_written",
    "gradebook.views_written",
    "gradebook.before_commit",
    "gradebook.after_commit",
    "compact.written",
    "keys.wrapped",
    "keys.made",
    "keys.sealed",
    "keys.forgotten",
    "agreements.written",
)


def crash_point(name: str) -> None:
    """Ends the process at once, as ``kill -9`` would, when ``HUB_CRASH_AT`` names this place."""
    if _armed() == name:
        os._exit(137)


@cache
def _armed() -> str | None:
    return os.environ.get("HUB_CRASH_AT")


os.register_at_fork(after_in_child=_armed.cache_clear)
