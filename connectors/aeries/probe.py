"""A try of the connection: what works, what does not, and what a person has to do about it, in plain words."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson

from connectors import probing
from connectors.aeries import changes
from connectors.aeries.changes import Server, Since
from connectors.aeries.client import Client, MissingError, not_found
from connectors.aeries.config import AeriesConfig
from connectors.aeries.fields import (
    CONTACTS,
    COURSES,
    NAMES,
    SCHEDULES,
    SCHOOLS,
    SECTIONS,
    STAFF,
    STUDENTS,
    TEACHERS,
    Listing,
    Objects,
)
from connectors.aeries.mapping import code_of, is_elementary, pulled_schools
from connectors.http import Web
from connectors.probing import FINAL, PATIENCE_SECONDS, Sample
from connectors.protocol import ConnectorError, Found, SourceContext

SAMPLE_ROWS, LARGE_ROWS = 5, 200
#: Fields without which a list is of no use; others may be blank. By what ``fields.NAMES`` calls them.
_NEEDED = {
    SCHOOLS: ("school", "school_name", "schedule_type", "terms"), STUDENTS: ("student", "last", "first"),
    CONTACTS: ("student", "sequence"), STAFF: ("staff", "last"), TEACHERS: ("teacher",),
    COURSES: ("course", "course_title"), SECTIONS: ("section", "section_course", "semester"),
    SCHEDULES: ("student", "section"),
}  # fmt: skip
_WHERE = (
    "In Aeries, an administrator opens Security > API, adds the hub with the status Active, and permits it to read "
    "what is named above. The certificate is shown there."
)


async def probe(context: SourceContext, config: AeriesConfig, web: Web) -> list[Found]:
    """Reaches the server and asks for a little of each list. Never raises ConnectorError."""
    found = await probing.greeted(web, [config.url], context.now())
    if not probing.works(found):
        return found
    try:
        client = Client.of(context, config, web)
        client.tries = 1  # whoever waits for the answer tries again themselves
        now = await changes.server(client)
        schools = await _listed(client, SCHOOLS, SCHOOLS.path)
    except ConnectorError as error:
        step = "connection" if error.code in FINAL - {"no_secret"} else "login"
        return [*found, Found(step, "bad", error.message), Found("where to look", "warning", _WHERE)]
    trying = _Trying(client, schools)
    lists = await trying.lists()
    clock = probing.clock(client.started, context.now(), "the hub's clock counts", "Changes go by its clock.")
    login = Found("login", "good", "Aeries accepts the certificate.")
    found += [login, clock, _server(now), *trying.schools(), *lists, await trying.changes(now)]
    found += await trying.whole() if not trying.refused else [Found("where to look", "warning", _WHERE)]
    return found


async def _listed(client: Client, listing: Listing, path: str, rows: int | None = None) -> Objects:
    query = None if rows is None else {"StartingRecord": "1", "EndingRecord": str(rows)}
    try:
        return await client.objects(listing, path, query)
    except MissingError:
        raise not_found(listing, None) from None


def _server(now: Server) -> Found:
    if now.version is None and now.year is None:
        text = "Aeries says nothing of its version and year (systeminfo). The school year goes by the date."
        return Found("version", "warning", text)
    text = f"Aeries {now.version or 'of an unknown version'}, school year {now.year or 'not told'}."
    return Found("version", "good", text)


@dataclass
class _Trying:
    """What is seen of the lists. ``refused``: whether one of them was; ``windows``: whether Aeries knows any."""

    client: Client
    found: Objects
    refused: bool = False
    samples: dict[Listing, Sample] = field(default_factory=dict)
    windows: bool = True
    begun: float = field(default_factory=time.monotonic)

    def schools(self) -> list[Found]:
        """What there is to say of the schools."""
        pulled = pulled_schools(self.found, self.client.config)
        if not pulled:
            self.refused = True
            text = "Aeries lists no active school that is to be pulled. Check the settings schools and exclude_schools."
            return [Found("schools", "bad", text)]
        few = sum(is_elementary(one) for one in pulled)
        codes = ", ".join(str(code_of(one)) for one in pulled[:10])
        text = f"{len(pulled)} are pulled ({codes}{', …' if len(pulled) > 10 else ''}), {few} of them without sections."
        return [_checked(SCHOOLS, self.found, Found("schools", "good", text))]

    async def lists(self) -> list[Found]:
        """A little of each list, of the first schools."""
        config, pulled = self.client.config, pulled_schools(self.found, self.client.config)
        if not pulled:
            return []
        first = code_of(pulled[0])
        with_sections = next((code_of(one) for one in pulled if not is_elementary(one)), None)
        asked: list[tuple[Listing, str]] = []
        if config.asks("users", "demographics", "enrollments"):
            asked.append((STUDENTS, STUDENTS.at(first)))
        if config.asks("users") and config.contacts:
            asked.append((CONTACTS, CONTACTS.at(first)))
        if config.asks("users", "enrollments"):
            asked.append((STAFF, STAFF.path))
        if config.asks("users", "courses", "classes", "enrollments"):
            asked.append((TEACHERS, TEACHERS.at(first)))
        if config.asks("courses", "classes"):
            asked.append((COURSES, COURSES.path))
        if with_sections is not None and config.asks("classes", "enrollments"):
            asked.append((SECTIONS, SECTIONS.at(with_sections)))
        if with_sections is not None and config.asks("enrollments"):
            asked.append((SCHEDULES, SCHEDULES.at(with_sections)))
        return [await self._list(listing, path) for listing, path in asked]

    async def _list(self, listing: Listing, path: str) -> Found:
        if time.monotonic() - self.begun > PATIENCE_SECONDS:
            return Found(listing.name, "warning", "Not tried, since Aeries is slow. Try it later.")
        begun = time.monotonic()
        try:
            found = await _listed(self.client, listing, path, SAMPLE_ROWS if listing is STUDENTS else None)
        except ConnectorError as error:
            self.refused = True
            return Found(listing.name, "bad", error.message)
        seconds = time.monotonic() - begun
        self.samples[listing] = Sample(len(found), len(orjson.dumps(found)), seconds)
        if not found:
            return Found(listing.name, "warning", f"There are none at {path}. If there should be some, permit them.")
        if listing is STUDENTS and len(found) > SAMPLE_ROWS:
            self.windows = False
            text = f"Aeries gave {len(found):,} where {SAMPLE_ROWS} were asked for: each school comes in one answer."
            return _checked(listing, found, Found(listing.name, "warning", text))
        return _checked(listing, found, Found(listing.name, "good", f"{len(found):,} came in {seconds:.1f} s."))

    async def changes(self, now: Server) -> Found:
        """Whether Aeries says what changed."""
        if not self.client.config.changes:
            return Found("changes", "good", "The source does not ask for changes: everything is pulled each time.")
        if now.clock is None:
            return Found("changes", "warning", "Aeries does not tell its own time, so everything is pulled each time.")
        minute = Since(now.clock, None, "").minute(now.clock)
        try:
            silent = [one.name for one, _ in changes.listings(self.client.config)
                      if await changes.listed(self.client, one, minute) is None]  # fmt: skip
        except ConnectorError as error:
            return Found("changes", "warning", error.message)
        if silent:
            text = f"Aeries does not give {', '.join(silent)}, so everything is pulled each time."
            return Found("changes", "warning", f"{text} Permit them, or switch on their feature flag.")
        return Found("changes", "good", "Aeries says what changed.")

    async def whole(self) -> list[Found]:
        """What a whole pull costs, as if all schools were as large as the first: Aeries does not count."""
        pulled = pulled_schools(self.found, self.client.config)
        if not self.samples or time.monotonic() - self.begun > PATIENCE_SECONDS:
            return []
        students, small = 0, self.samples.get(STUDENTS)
        if small is not None:
            try:
                students = await self._students(STUDENTS.at(code_of(pulled[0])), small)
            except ConnectorError:
                return []  # it gave some before: what is wrong now is no matter of the configuration
        schools, sections = len(pulled), sum(not is_elementary(one) for one in pulled)
        answers: Mapping[Listing, int] = {STAFF: 1, COURSES: 1, SECTIONS: sections, SCHEDULES: sections}
        rows = size = seconds = 0.0
        requests = 2  # what the server says of itself, and the schools
        for listing, sample in self.samples.items():
            times, there, asked, took = answers.get(listing, schools), sample.rows, 1, sample.seconds
            if listing is STUDENTS and small is not None:
                there, asked = students, self._windows(students)
                took = probing.taken(there, asked, small, sample)
            rows += times * there
            size += times * there * sample.size / max(1, sample.rows)
            seconds += times * took
            requests += times * asked
        return [probing.cost(rows, requests, size, seconds)]

    def _windows(self, students: int) -> int:
        """Requests for a school's students: each window begins with the last one of the window before."""
        return 1 + -(-students // max(1, self.client.config.page_rows - 1)) if self.windows else 1

    async def _students(self, path: str, small: Sample) -> int:
        """About how many students a school has, by windows of one; takes a larger sample."""
        if not self.windows or small.rows < SAMPLE_ROWS:
            return small.rows

        async def window(first: int, last: int) -> Objects:
            query = {"StartingRecord": str(first), "EndingRecord": str(last)}
            return await self.client.objects(STUDENTS, path, query)

        async def there(number: int) -> bool:
            found = len(await window(number, number))
            return found == 1 or found >= number  # there are servers that know the end of a window alone

        begun = time.monotonic()
        large = await window(1, LARGE_ROWS)
        self.samples[STUDENTS] = Sample(len(large), len(orjson.dumps(large)), time.monotonic() - begun)
        return len(large) if len(large) < LARGE_ROWS else await probing.many(there, len(large))


def _checked(listing: Listing, found: Objects, good: Found) -> Found:
    """``good``, or which fields an answer lacks that the hub needs."""
    lacks = [NAMES[name][0] for name in _NEEDED[listing] if not any(called in found[0] for called in NAMES[name])]
    if not lacks:
        return good
    text = f"The answer has no {', '.join(lacks)}: this Aeries names its fields otherwise, or gives an older version."
    return Found(good.step, "bad", text)
