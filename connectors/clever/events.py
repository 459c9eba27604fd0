"""Clever's events: what changed since one of them, as the last state of each object, and what it was before.

Events come in their order and may be read again: the last state of an object counts. Those older than thirty days are
gone without a word, so who read them longer ago begins anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from yarl import URL

from connectors.clever.client import Client, Page, PageTooLargeError
from connectors.clever.mapping import enrolled
from connectors.clever.walk import limits, refused
from connectors.client import NotUnderstoodError
from connectors.protocol import ConnectorError
from connectors.walking import endless

#: Events live for thirty days.
LIFE = timedelta(days=29)
#: So many events are more work than all objects of most districts: everything is pulled instead.
MOST_EVENTS = 20_000
_NAME = "events"
_KNOWN = frozenset({"districts", "schools", "terms", "courses", "sections", "users", "resources"})
#: What an answer means that there are no events for this application.
_NO_EVENTS = frozenset({"not_found", "not_permitted"})


@dataclass
class Changes:
    """What events said. ``last``: the id of the last one.

    ``objects``: by collection and id the last state; None for what was deleted. ``enrolled``: sourcedIds of all
    enrollments that sections had meanwhile, and ``without_course`` the sections that had no course. ``unclear``:
    collections of which events do not say enough.
    """

    last: str
    count: int = 0
    objects: dict[str, dict[str, Mapping[str, Any] | None]] = field(default_factory=dict)
    enrolled: set[str] = field(default_factory=set)
    without_course: set[str] = field(default_factory=set)
    unclear: set[str] = field(default_factory=set)

    def of(self, name: str) -> dict[str, Mapping[str, Any] | None]:
        """The objects of one collection that changed."""
        return self.objects.get(name, {})

    def there(self, name: str) -> list[Mapping[str, Any]]:
        """Those that are there still."""
        return [one for one in self.of(name).values() if one is not None]

    def gone(self, name: str) -> list[str]:
        """The ids of those that are not."""
        return [key for key, one in self.of(name).items() if one is None]

    def take(self, event: Mapping[str, Any]) -> None:
        """One more event."""
        kind, _, what = str(event.get("type")).partition(".")
        data = event.get("data")
        inner = data.get("object", data) if isinstance(data, Mapping) else None
        key = inner.get("id") if isinstance(inner, Mapping) else None
        self.count += 1
        known = kind in _KNOWN and what in {"created", "updated", "deleted"} and isinstance(key, str)
        if inner is None or not known:
            self.unclear.add(kind)
            return
        self.objects.setdefault(kind, {})[str(key)] = None if what == "deleted" else inner
        if kind == "sections":
            self._section(what, inner, data.get("previous_attributes") if isinstance(data, Mapping) else None)

    def _section(self, what: str, inner: Mapping[str, Any], before: Any) -> None:
        """Notes what a section had. What events leave out is to be looked at as a whole."""
        states = [inner]
        if what == "updated":
            if not isinstance(before, Mapping):
                self.unclear.add("sections")
            else:
                states.append({**inner, **before})
        if what == "deleted" and not isinstance(inner.get("students"), list):
            self.unclear.add("sections")
        for state in states:
            self.enrolled |= {key for key, _, _ in enrolled(state)}
            if not state.get("course"):
                self.without_course.add(str(inner["id"]))


async def last_event(client: Client) -> str | None:
    """The id of the last event that there is: empty where there is none, None where the application gets none."""
    url = client.config.collection(_NAME).with_query({"limit": "1", "ending_before": "last"})
    try:
        page = await client.page(url, _NAME, 1)
    except (NotUnderstoodError, PageTooLargeError):
        found = await _read(client, "", keep=False)
        return None if found is None else found.last
    except ConnectorError as error:
        if error.code in _NO_EVENTS:
            return None
        raise
    return str(page.objects[-1].get("id")) if page.objects else ""


async def changes(client: Client, after: str, known_at: datetime, now: datetime) -> Changes | None:
    """What changed since the event ``after`` (empty: since there were none); None where everything is to be pulled.

    ``known_at``: when that was the last event, by Clever's clock.
    """
    return await _read(client, after, keep=True) if now - known_at < LIFE else None


async def _read(client: Client, after: str, *, keep: bool) -> Changes | None:
    """All events behind one. ``keep``: not only the last one's id."""
    for rows in limits(client):
        found, asked = Changes(after), set[URL]()
        query = {"limit": str(rows)} | ({"starting_after": after} if after else {})
        url: URL | None = client.config.collection(_NAME).with_query(query)
        try:
            while url is not None:
                if url in asked:
                    raise endless(_NAME)
                asked.add(url)
                page = await client.page(url, _NAME, rows)
                if not _taken(found, page, keep=keep):
                    return None
                url = page.following if page.objects else None
        except NotUnderstoodError:
            if after:
                return None  # Clever does not know the event any more
            continue
        except PageTooLargeError:
            continue
        except ConnectorError as error:
            if error.code in _NO_EVENTS:
                return None
            raise
        return found
    raise refused(_NAME)


def _taken(found: Changes, page: Page, *, keep: bool) -> bool:
    """Takes a page of events; whether there are not too many of them."""
    for event in page.objects:
        found.last = str(event.get("id") or found.last)
        if keep:
            found.take(event)
    return not keep or found.count <= MOST_EVENTS
