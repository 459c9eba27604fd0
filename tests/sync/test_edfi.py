"""An Ed-Fi ODS through the hub: everything, what changed, what went, and what a failed pull leaves alone."""

from __future__ import annotations

from connectors.edfi import SPEC
from tests.contract.test_edfi import EVERYTHING
from tests.districts import District
from tests.fakes.edfi_district import ods, section
from tests.fakes.edfi_server import KEY, SECRET, Quirks, Server, running
from tests.sync.pulled import called, changed, made, pull
from tests.sync.test_delta import documents

SEATS = "studentSectionAssociations"


async def test_an_ods_is_pulled_and_followed(district: District) -> None:
    with running(Server(ods(), Quirks(version="7.2"))) as host:
        config = {"url": host.url, "key": KEY, "entities": list(EVERYTHING), "page_rows": 10}
        source = await made(district, "edfi", config, dict.fromkeys(SPEC.secrets, SECRET))
        first = await pull(district, source)
        assert (first.state, first.error_message) == ("applied", None)
        assert {name: counts["created"] for name, counts in first.counts.items()} == {
            "orgs": 3, "academicSessions": 5, "courses": 2, "classes": 4, "users": 35, "enrollments": 30,
            "demographics": 24,
        }  # fmt: skip
        assert not sum(counts["quarantined"] for counts in first.counts.values())
        assert any(rule["code"] == "EDFI-001" for rule in first.report["rules"])
        ids = await called(district, source)

        # Nothing changed: one request, and nothing is written.
        state, asked = await district.state(), len(host.asked)
        assert (await pull(district, source)).state == "unchanged"
        assert len(host.asked) - asked == 1
        assert await district.state() == state

        # A student is renamed, one seat comes, one goes, one is another's from its beginning on.
        host.put("students", "students-4", firstName="Zebulon")
        host.put(SEATS, f"{SEATS}-900", sectionReference=section(0, 2), beginDate="2026-01-05",
                 studentReference={"studentUniqueId": "1020"})  # fmt: skip
        host.drop(SEATS, f"{SEATS}-2")
        host.rekey(SEATS, f"{SEATS}-3", beginDate="2025-09-01")
        run = await pull(district, source)
        assert changed(run) == {"users": (0, 1, 0), "enrollments": (2, 0, 2)}
        assert '"givenName":"Zebulon"' in (await documents(district, "users"))["stu-1004"][1]
        after = await called(district, source)
        assert {what: id_ for what, id_ in after.items() if what in ids} == {
            what: id_ for what, id_ in ids.items() if what in after
        }

        # A key that loses a permission fails the pull as a whole: what is here stays, and comes later.
        host.drop("studentSchoolAssociations", "studentSchoolAssociations-9")
        host.forbidden = {"contacts"}
        state = await district.state()
        run = await pull(district, source)
        assert (run.state, run.error_code) == ("failed", "source_failed")
        assert "not_permitted" in str(run.error_message)
        assert await district.state() == state
        host.forbidden = set()
        assert changed(await pull(district, source))["users"][2] == 1
