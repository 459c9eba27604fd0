"""What ``--once`` checks by itself: that each app saw its own view, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from hub.demo.story import Stage

_HIDDEN_FROM_MATH = ("email", "sms", "phone", "agents", "pronouns", "userProfiles")


class Checks:
    """Collects what failed, in words."""

    def __init__(self) -> None:
        self.failed: list[str] = []
        self.passed = 0

    def that(self, claim: str, *, holds: bool) -> None:
        """Notes one claim."""
        if holds:
            self.passed += 1
        else:
            self.failed.append(claim)


def check_reads(checks: Checks, seen: dict[str, Any]) -> None:
    """Chapter 4: different rows and fields."""
    totals = {name: answer["total"] for name, answer in seen.items()}
    checks.that("the three apps see different numbers of users", holds=len(set(totals.values())) == len(totals))
    checks.that("math sees the fewest users", holds=totals["math"] == min(totals.values()))
    checks.that("lms sees the most users", holds=totals["lms"] == max(totals.values()))
    for name, answer in seen.items():
        checks.that(f"{name} got three users", holds=answer["status"] == 200 and len(answer["users"]) == 3)
    for user in seen["math"]["users"]:
        checks.that("math sees no contact fields", holds=not any(f in user for f in _HIDDEN_FROM_MATH))
    for user in seen["library"]["users"]:
        checks.that("library sees an initial", holds=len(user["familyName"]) == 1 and "username" not in user)
    checks.that("lms sees e-mail addresses", holds=any("email" in u for u in seen["lms"]["users"]))


async def check_changes(checks: Checks, stage: Stage) -> None:
    """Chapter 5: enter, update and leave, each as seen from its view."""
    got = {name: receiver.changes() for name, receiver in stage.receivers.items()}
    for name, receiver in stage.receivers.items():
        checks.that(f"every webhook of {name} was signed", holds=receiver.refused == 0)
        checks.that(f"every webhook of {name} was understood", holds=receiver.failed == 0)
        positions = [event["to"] for event in receiver.events]
        checks.that(f"the webhooks of {name} came in order", holds=positions == sorted(positions))
    district = stage.district("1.2")
    planned = orjson.loads((Path(district["folder"]) / "changes.json").read_bytes())["changes"]
    kinds = {item["kind"] for item in planned}
    expected = {"student_moves", "teacher_leaves", "class_added", "name_corrected"}
    checks.that("the file holds the planned kinds of changes", holds=expected <= kinds)

    def told(app: str, entity: str, operation: str) -> int:
        return sum(c["entity"] == entity and c["operation"] == operation for c in got[app])

    moves = [item for item in planned if item["kind"] == "student_moves"]
    focus = set(orjson.loads((Path(district["folder"]) / "changes.json").read_bytes())["focus"])
    out = sum(m["from"] in focus and m["to"] not in focus for m in moves)
    into = sum(m["to"] in focus and m["from"] not in focus for m in moves)
    leaves = sum(item["kind"] == "teacher_leaves" for item in planned)
    checks.that("math: who moved in entered", holds=told("math", "users", "created") == into)
    checks.that("math: who moved out and the teacher left", holds=told("math", "users", "deleted") == out + leaves)
    checks.that("math: the new class entered", holds=told("math", "classes", "created") == 1)
    checks.that("math: the corrected name was updated", holds=told("math", "users", "updated") >= 1)
    checks.that(
        "library: nobody entered or left",
        holds=told("library", "users", "created") + told("library", "users", "deleted") == 0,
    )
    checks.that("library: the corrected given name was updated", holds=told("library", "users", "updated") >= 1)
    checks.that(
        "library: hears of users and their orgs alone", holds={c["entity"] for c in got["library"]} <= {"users", "orgs"}
    )
    checks.that("lms: the teacher left", holds=told("lms", "users", "deleted") == leaves)
    checks.that("lms: no student entered, moving is an update", holds=told("lms", "users", "created") == 0)
    checks.that("lms: the moves and the name were updated", holds=told("lms", "users", "updated") >= len(moves) + 1)
    await _check_readable(checks, stage, got)


async def _check_readable(checks: Checks, stage: Stage, got: dict[str, list[dict[str, Any]]]) -> None:
    """What entered or was updated can be read by that app; what left is a tombstone and says nothing more."""
    oneroster = stage.district("1.2")["oneroster"]
    for name, changes in got.items():
        app = stage.app(name)
        for item in changes:
            status, _, body = await app.get(oneroster, f"/{item['entity']}/{item['sourcedId']}")
            record = next(iter(body.values())) if status == 200 and isinstance(body, dict) else {}
            wanted = "tobedeleted" if item["operation"] == "deleted" else "active"
            readable = status == 200 or (status == 403 and item["entity"] == "demographics")
            checks.that(f"{name}: {item['operation']} {item['entity']} can be read", holds=readable)
            if record:
                checks.that(
                    f"{name}: {item['operation']} {item['entity']} is {wanted}", holds=record["status"] == wanted
                )
            if record and wanted == "tobedeleted":
                checks.that(
                    f"{name}: a tombstone says nothing",
                    holds=set(record) == {"sourcedId", "status", "dateLastModified"},
                )
