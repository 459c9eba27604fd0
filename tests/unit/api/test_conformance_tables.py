"""Tables of a digest of OneRoster 1.1 become schemas that answers can fail."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from tests.conformance.tables import objects, tables

DIGEST = """
## 6. Base fields of every object

| Field | Card. | Type | Rule |
| --- | --- | --- | --- |
| `sourcedId` | 1 | string | stable |
| `status` | 1 | `active` or `tobedeleted` | |

### 7.1 Pupil

| Field | 1.2 | 1.1 | Type / vocabulary | Notes |
| --- | --- | --- | --- | --- |
| `nick` | 1 | - | string | |
| `house`, `motto` | 0..1 | **1** | string | |
| `kind` | 1 | 0..1 [IMPL 2] | `day`, `boarder`; 1.2 also `ext:*` | |
| `type` | 1 | 1 | `a`, `ext:*` | |
| `org` | 1 | 1 | ref org, of type school | |
| `terms` | 1 | 0..* | array of ref academicSession | |
| `ids` | 1 | 0..* | array of `{ "type": string, "identifier": string }` | |
| `born` | 1 | 0..1 | date | |
| `seen` | 1 | 0..1 | **date-time** | |
| `here` | 1 | 0..1 | boolean (string in 1.2) | |
| `size` | 1 | 0..1 | number | |
"""
HREF = "https://h/ims/oneroster/v1p1/"
GOOD: dict[str, Any] = {
    "sourcedId": "p", "status": "active", "house": "h", "motto": "m", "kind": "day", "type": "ext:x",
    "org": {"href": HREF + "orgs/o", "sourcedId": "o", "type": "org"},
    "terms": [{"href": HREF + "academicSessions/t", "sourcedId": "t", "type": "academicSession"}],
    "ids": [{"type": "a", "identifier": "b"}], "born": "2010-01-02", "seen": "2026-01-02T03:04:05.678Z",
    "here": "true", "size": 1.5,
}  # fmt: skip


def complaints(pupil: dict[str, Any]) -> list[str]:
    schema = objects(tables(DIGEST))["pupil"]
    return [error.validator for error in jsonschema.Draft7Validator(schema).iter_errors(pupil)]


@pytest.mark.parametrize("name", ["sourcedId", "status", "house", "motto", "type", "org"])
def test_what_1_1_requires_has_to_be_there(name: str) -> None:
    assert complaints(GOOD) == []
    assert complaints({key: value for key, value in GOOD.items() if key != name}) == ["required"]


@pytest.mark.parametrize(
    "wrong",
    [{"nick": "n"}, {"house": ""}, {"kind": "ext:x"}, {"type": "b"}, {"status": "inactive"}, {"born": "2010"},
     {"seen": "2026-01-02T03:04:05Z"}, {"here": True}, {"size": "1"}, {"terms": [GOOD["org"]]},
     {"org": GOOD["org"] | {"type": "school"}}, {"org": GOOD["org"] | {"href": "/orgs/o"}}, {"ids": [{"type": "a"}]}],
)  # fmt: skip
def test_what_1_1_does_not_have_so_is_found(wrong: dict[str, Any]) -> None:
    assert len(complaints(GOOD | wrong)) >= 1
