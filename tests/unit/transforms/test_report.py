"""The summary of findings."""

from __future__ import annotations

import orjson
import pytest

from tests.fakes.rosters import clean, frames, run
from transforms.issues import empty, one
from transforms.report import rules_page, summary
from transforms.validate.references import REF_001


def test_a_summary_counts_explains_and_shows_places() -> None:
    files = clean("1.1")
    files["orgs"] = files["orgs"][:2]
    files["users"][0] |= {"grades": "Z9", "email": "broken", "givenName": " Ana"}

    found = summary(run("1.1", frames("1.1", files)).issues)

    assert found["rows"] == {"classes": 1, "enrollments": 1}
    assert found["actions"] == {"drop_value": 3, "fix": 1, "quarantine": 3}
    assert found["total"] == 7
    assert found["causes"] == [{"cause": "orgs:s2", "rows": 3, "codes": ["REF-001", "REF-002"]}]
    first = found["rules"][0]
    assert (first["code"], first["severity"], first["count"]) == ("REF-001", "block_record", 2)
    assert first["examples"] == [{"file": "enrollments.csv", "line": 4, "field": f} for f in ("class", "school")]
    assert first["title"] == REF_001.title
    assert first["howto"] == REF_001.howto
    assert orjson.loads(orjson.dumps(found)) == found


@pytest.mark.parametrize(("options", "cause"), [({}, "users:?"), ({"people": True}, "users:u9")])
def test_keys_of_people_are_shown_only_when_asked_for(options: dict[str, bool], cause: str) -> None:
    issues = one(REF_001, entity="enrollments", file="enrollments.csv", line=2, field="user", key="e", cause="users:u9")

    assert summary(issues, **options)["causes"][0]["cause"] == cause


def test_nothing_found() -> None:
    assert summary(empty()) == {"total": 0, "actions": {}, "rows": {}, "rules": [], "causes": []}


def test_the_page_has_a_line_for_each_rule() -> None:
    page = rules_page({REF_001.code: REF_001})

    assert page.splitlines()[-1].startswith("| REF-001 | A required reference points to")
