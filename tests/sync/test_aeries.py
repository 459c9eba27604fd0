"""A district in Aeries through the hub: everything, changes, and its licence of Aeries' OneRoster later."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

from connectors.aeries import SPEC
from tests.contract.test_aeries import EVERYTHING, context
from tests.districts import District
from tests.fakes import oneroster_server
from tests.fakes.aeries_district import ELEMENTARY
from tests.fakes.aeries_district import district as in_aeries
from tests.fakes.aeries_server import CERTIFICATE, Server, running
from tests.sync.pulled import called, changed, made, pull
from tests.sync.test_delta import documents

COUNTS = {
    "orgs": 4, "academicSessions": 5, "courses": 6, "classes": 8, "users": 66, "enrollments": 65, "demographics": 37,
}  # fmt: skip
CONTACTS = 23


def settings(aeries: Server) -> dict[str, Any]:
    return {"url": aeries.url, "entities": list(EVERYTHING), "contacts": True, "page_rows": 10}


async def test_a_district_in_aeries_is_pulled_and_changed(district: District) -> None:
    with running(Server(in_aeries())) as aeries:
        source = await made(district, "aeries", settings(aeries), {"certificate": CERTIFICATE})
        first = await pull(district, source)
        assert (first.state, first.error_message) == ("applied", None)
        assert {name: counts["created"] for name, counts in first.counts.items()} == COUNTS
        assert not sum(counts["quarantined"] for counts in first.counts.values())
        assert '"title":"T. Staff 420, grade KG-02"' in (await documents(district, "classes"))["990_TN_420"][1]

        # Nothing changed: a request for each list of changes, and nothing is written.
        aeries.now += timedelta(hours=1)
        state, asked = await district.state(), len(aeries.asked)
        assert (await pull(district, source)).state == "unchanged"
        assert (len(aeries.asked) - asked, await district.state()) == (10, state)

        # A student is renamed and one goes to another teacher; seats that nobody had are not missed.
        aeries.now += timedelta(hours=1)
        aeries.put("students", {"StudentID": 99400001}, FirstName="Zebulon")
        aeries.put("students", {"StudentID": 99000001}, HomeRoomTeacherNumber=421)
        aeries.now += timedelta(hours=1)
        run = await pull(district, source)
        assert changed(run) == {"users": (0, 1, 0), "enrollments": (1, 0, 1)}
        assert '"givenName":"Zebulon"' in (await documents(district, "users"))["99400001"][1]

        # What Aeries deletes without a word ends with the next pull of everything.
        aeries.now += timedelta(hours=1)
        aeries.drop("students", {"StudentID": 99000002, "SchoolCode": ELEMENTARY})
        assert (await pull(district, source)).state == "unchanged"
        aeries.put("courses", {"ID": "031A"}, LongDescription="Algebra")
        aeries.now += timedelta(hours=1)
        run = await pull(district, source)
        assert changed(run)["courses"] == (0, 1, 0)
        assert changed(run)["users"] == (0, 0, 2)  # the student and the contact

        # A feature that is switched off, and a certificate that ended, change nothing.
        state = await district.state()
        aeries.quirks.off = {"sections", "SectionDataChanges"}
        run = await pull(district, source)
        assert (run.state, run.error_code) == ("failed", "source_failed")
        assert "Feature Flags" in str(run.error_message)
        aeries.certificates.clear()
        assert "login_refused" in str((await pull(district, source)).error_message)
        assert await district.state() == state


async def test_a_district_that_licenses_aeries_oneroster_keeps_every_id(district: District, tmp_path: Path) -> None:
    with running(Server(in_aeries())) as aeries:
        # Aeries' article on its OneRoster has no contacts.
        config = settings(aeries) | {"contacts": False}
        old = await made(district, "aeries", config, {"certificate": CERTIFICATE}, key_space="aeries")
        assert (await pull(district, old)).state == "applied"
        before = await called(district, old)
        assert len(before) == sum(COUNTS.values()) - CONTACTS
        package = (await SPEC.open(context(aeries, tmp_path, contacts=False)).pull(None)).package
        files = {file: [_as_oneroster_has_it(file, row) for batch in package.batches(file)
                        for row in batch.frame.to_dicts()] for file in package.mode}  # fmt: skip
        await asyncio.to_thread(package.close)
    with oneroster_server.running(oneroster_server.filled("1.2", files)) as sis:
        login = {"kind": "oauth2", "token_url": sis.token_url, "client_id": oneroster_server.CLIENT}
        config = {"url": sis.url, "login": login, "entities": list(EVERYTHING), "page_rows": 100}
        links = {"enrollments": ["class"]}
        secrets = {"client_secret": oneroster_server.SECRET}
        new = await made(district, "oneroster_rest", config, secrets, links, key_space="aeries")
        run = await pull(district, new)
        assert (run.state, run.error_message) == ("unchanged", None)
        assert not sum(counts["created"] for counts in run.counts.values()), run.counts
        left = await pull(district, old, kind="departure", task={"to": str(new)})
        assert (left.state, left.error_message) == ("applied", None)
        after = await called(district, new)
        assert sorted(after.values()) == sorted(before.values())
        assert {key: id_ for key, id_ in after.items() if key[0] != "enrollments"} == {
            key: id_ for key, id_ in before.items() if key[0] != "enrollments"
        }


def _as_oneroster_has_it(file: str, row: dict[str, Any]) -> dict[str, Any]:
    """A row under the ids of the OneRoster face: those of enrollments are its own."""
    return row | {"sourcedId": f"E{row['line']}"} if file == "enrollments" else row
