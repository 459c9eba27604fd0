"""Chapter 5 of the demo: a mid-year file arrives, and each app hears of it as its own view changed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson

from hub.demo.story import Stage, sync

_WAIT_SECONDS = 60
_QUIET_SECONDS = 2
_SHOWN = 3


async def change(stage: Stage) -> None:
    """Syncs the changed package and shows what each receiver got."""
    stage.title(5, "A mid-year file arrives")
    district = stage.district("1.2")
    folder = Path(district["folder"])
    for item in orjson.loads((folder / "changes.json").read_bytes())["changes"]:
        stage.console.print(f"   in the file: {_words(item)}")
    run = await sync(stage, district, folder / "changes.zip")
    counts = {
        e: {k: n for k, n in c.items() if n and k in {"created", "updated", "deleted"}}
        for e, c in run["counts"].items()
    }
    stage.console.print(f"   applied: { ({e: c for e, c in counts.items() if c}) }")
    effects = {e["app"]: e["entities"] for e in run_effects(await report(stage, district, run))}
    await arrived(stage, sum(n for entities in effects.values() for c in entities.values() for n in c.values()))
    for name in ("math", "library", "lms"):
        await _explain(stage, name, district)


async def report(stage: Stage, district: dict[str, Any], run: dict[str, Any]) -> dict[str, Any]:
    """The report of a run."""
    answer: dict[str, Any] = await stage.admin.call("GET", f"/districts/{district['id']}/runs/{run['run_id']}/report")
    found: dict[str, Any] = answer["report"]
    return found


def run_effects(found: dict[str, Any]) -> list[dict[str, Any]]:
    """What a run did to each view."""
    effects: list[dict[str, Any]] = found.get("effects", [])
    return effects


async def arrived(stage: Stage, expected: int) -> None:
    """Waits until all receivers together got ``expected`` changes, or nothing comes any more."""
    loop = asyncio.get_running_loop()
    end = loop.time() + _WAIT_SECONDS
    while loop.time() < end:
        if sum(len(r.changes()) for r in stage.receivers.values()) >= expected:
            break
        await asyncio.sleep(0.1)
    await asyncio.sleep(_QUIET_SECONDS)  # anything that should not come would come now


async def _explain(stage: Stage, name: str, district: dict[str, Any]) -> None:
    """Prints an app's changes with what the app itself can read about them."""
    changes = stage.receivers[name].changes()
    stage.console.print(f"\n[bold]{name}[/] was told of {len(changes)} changes in its view:")
    app = stage.app(name)
    kinds: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for item in changes:
        kinds.setdefault((item["entity"], item["operation"]), []).append(item)
    for (entity, operation), items in kinds.items():
        names = []
        for item in items[:_SHOWN]:
            _, _, body = await app.get(district["oneroster"], f"/{entity}/{item['sourcedId']}")
            names.append(_name(next(iter(body.values()))))
        more = f" … and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
        stage.console.print(f"   {len(items):>3} {entity} {operation}: {', '.join(names)}{more}")


def _name(record: Any) -> str:
    if not isinstance(record, dict):
        return ""
    if record.get("status") == "tobedeleted":
        return f"{record['sourcedId']} (gone)"
    names = [record.get(k) for k in ("givenName", "familyName", "title", "name", "role")]
    return " ".join(str(n) for n in names if n) or str(record.get("sourcedId", ""))


def _words(item: dict[str, Any]) -> str:
    """One planned change in words."""
    match item["kind"]:
        case "student_moves":
            return "a student changes school"
        case "teacher_leaves":
            return "a teacher leaves, a colleague takes over"
        case "class_added":
            return f"a class is added, with {len(item['students'])} students"
        case "name_corrected":
            return f"a student's {item['field']} is corrected"
        case "enrollment_ends":
            return "an enrollment gets an end date"
        case other:
            return str(other).replace("_", " ")
