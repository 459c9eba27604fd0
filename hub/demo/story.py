"""The chapters of the demo, each done once and remembered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from hub.demo.clients import Admin, App
from hub.demo.receivers import Receiver
from hub.demo.state import State
from hub.embedded.process import free_port
from hub.errors import Code, HubError
from hub.sandbox import DistrictPlan, write_sandbox

PLANS = (
    DistrictPlan(students=2_000, seed=11, version="1.1"),
    DistrictPlan(students=20_000, seed=12, version="1.2", changes=True),
)
SCOPE = "https://purl.imsglobal.org/spec/or/v1p2/scope/"
ROSTER = [SCOPE + "roster-core.readonly", SCOPE + "roster.readonly"]
ALL = [*ROSTER, SCOPE + "roster-demographics.readonly"]
EVERYTHING = {
    "entities": ["orgs", "academicSessions", "courses", "classes", "users", "enrollments", "demographics"],
    "privacy": ["contact", "demographic", "credential"],
}
NAMES_ONLY = {
    "rules": [{"roles": ["student"]}],
    "entities": ["users"],
    "fields": {
        "users": {
            "masks": {"familyName": "initial"},
            "hide": [
                "username", "userIds", "middleName", "identifier", "grades", "userMasterIdentifier",
                "preferredFirstName", "preferredMiddleName", "preferredLastName", "primaryOrg", "metadata",
            ],
        }
    },
}  # fmt: skip


_DONE = {"fix": "mended", "quarantine": "kept out", "drop_value": "values dropped", "report": "reported"}


@dataclass
class Stage:
    """What every chapter uses."""

    folder: Path
    state: State
    admin: Admin
    console: Console
    receivers: dict[str, Receiver] = field(default_factory=dict)

    def app(self, name: str) -> App:
        """One app's OneRoster client."""
        row = next(a for a in self.state.apps if a["name"] == name)
        return App(self.admin.http, name, row["client_id"], row["client_secret"], row["token_url"])

    def district(self, version: str) -> dict[str, Any]:
        """The district that came as a package of this version."""
        return next(d for d in self.state.districts if d["version"] == version)

    def title(self, number: int, text: str) -> None:
        """Begins a chapter on the screen."""
        self.console.rule(f"[bold]{number}. {text}", align="left")


async def districts(stage: Stage) -> AsyncIterator[None]:
    """Chapter 1: two districts appear, each with the package that its student information system exported.

    Pauses after each district; those of an earlier start that was stopped are not made again.
    """
    stage.title(1, "Two districts arrive")
    for plan in PLANS:
        if any(d["version"] == plan.version for d in stage.state.districts):
            continue
        stage.state.districts.append(await _district(stage, plan))
        stage.state.save(stage.folder)
        yield


async def _district(stage: Stage, plan: DistrictPlan) -> dict[str, Any]:
    folder = stage.folder / "sandbox" / f"district-{plan.version}"
    folder.mkdir(parents=True, exist_ok=True)
    made = await asyncio.to_thread(write_sandbox, folder, plan)
    package = made.files.package
    stage.console.print(
        f"[bold]{made.name}[/]: OneRoster {plan.version} CSV, {package.stat().st_size / 1e6:.1f} MB, "
        f"{plan.students:,} students, with planted dirt"
    )
    district = await stage.admin.call("POST", "/districts", {"name": made.name})
    source = await stage.admin.call(
        "POST", f"/districts/{district['district_id']}/sources", {"name": "SIS export", "kind": "oneroster_csv"}
    )
    row = {
        "id": district["district_id"], "name": made.name, "oneroster": district["oneroster"],
        "version": plan.version, "source": source["source_id"], "folder": str(folder),
    }  # fmt: skip
    run = await sync(stage, row, package)
    counts = ", ".join(f"{c['created']:,} {e}" for e, c in run["counts"].items())
    seconds = sum(run["timings"].values())
    stage.console.print(f"   applied in {seconds:.1f} s: {counts}\n")
    return {**row, "run": run["run_id"]}


async def sync(stage: Stage, district: dict[str, Any], package: Path) -> dict[str, Any]:
    """Uploads a package and follows its run; the applied run. Raises HubError when it ends otherwise."""
    columns = (TextColumn("   {task.description:<28}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=stage.console, transient=True) as progress:
        task = progress.add_task("upload", total=None)
        upload = await stage.admin.upload(district["id"], district["source"], package)

        def watch(run: dict[str, Any]) -> None:
            at = run["progress"]
            text = f"{run['stage'] or run['state']} {at.get('entity', '')}"
            progress.update(task, description=text, completed=at.get("rows", 0), total=at.get("total"))

        run = await stage.admin.sync(district["id"], upload, watch)
    if run["state"] not in {"applied", "unchanged"}:
        raise HubError(Code.INTERNAL, f"The run ended as {run['state']}: {run['error_message'] or run['guard']}")
    return run


async def quality(stage: Stage) -> None:
    """Chapter 2: what was mended, what was kept out and why, and where to mend it."""
    stage.title(2, "What the data was like")
    for district in stage.state.districts:
        path = f"/districts/{district['id']}/runs/{district['run']}"
        report = (await stage.admin.call("GET", f"{path}/report"))["report"]
        _show_report(stage.console, district["name"], report)
        stage.console.print(f"   every place: GET {stage.admin.url}{path}/issues   (or /issues.csv)\n", style="dim")


def _show_report(console: Console, name: str, report: dict[str, Any]) -> None:
    kept_out = ", ".join(f"{n:,} {entity}" for entity, n in report["rows"].items()) or "none"
    done = ", ".join(f"{n:,} {_DONE.get(action, action)}" for action, n in report["actions"].items())
    console.print(f"[bold]{name}[/]: {report['total']:,} findings: {done}; rows kept out: {kept_out}")
    table = Table(show_edge=False, pad_edge=False, box=None, header_style="dim")
    for heading in ("code", "rows", "what was found", "what was done", "where"):
        table.add_column(heading, overflow="fold")
    mended = [rule for rule in report["rules"] if rule["action"] == "fix"]
    for rule in [r for r in report["rules"] if r["action"] != "fix"][:8] + mended[:6]:
        place = rule["examples"][0]
        where = f"{place['file']} line {place['line']} {place['field'] or ''}" if place["line"] else place["file"]
        table.add_row(rule["code"], f"{rule['count']:,}", rule["title"], _DONE.get(rule["action"], ""), where)
    console.print(table)
    for rule in report["rules"][:2]:
        console.print(f"   {rule['code']}, to mend it: {rule['howto']}", style="dim")


async def apps(stage: Stage) -> None:
    """Chapter 3: three apps, three grants, and a webhook subscription for each."""
    stage.title(3, "Three apps, three views")
    large, small = stage.district("1.2"), stage.district("1.1")
    await _app(stage, "lms", ALL, {large["id"]: EVERYTHING, small["id"]: EVERYTHING}, "everything, both districts")
    changes = orjson.loads((Path(large["folder"]) / "changes.json").read_bytes())
    names = {s["sourcedId"]: s["name"] for s in changes["schools"]}
    focus = [names[s] for s in changes["focus"]]
    schools = [await _school(stage, large, name) for name in focus]
    math = {"rules": [{"schools": schools, "roles": ["student", "teacher"]}]}
    await _app(stage, "math", ROSTER, {large["id"]: math}, f"{' and '.join(focus)}; no contact fields, no demographics")
    await _app(stage, "library", ROSTER, {large["id"]: NAMES_ONLY}, "all students, given name and initial")


async def _school(stage: Stage, district: dict[str, Any], name: str) -> str:
    """The hub's sourcedId of a school."""
    quoted = name.replace("'", "''")
    status, _, body = await stage.app("lms").get(district["oneroster"], "/schools", filter=f"name='{quoted}'")
    if status != 200 or not body["orgs"]:
        raise HubError(Code.INTERNAL, "A school of the sandbox is not in the view that has everything.")
    found: str = body["orgs"][0]["sourcedId"]
    return found


async def _app(stage: Stage, name: str, scopes: list[str], grants: dict[str, dict[str, Any]], words: str) -> None:
    if any(known["name"] == name for known in (await stage.admin.call("GET", "/apps"))["items"]):
        text = f"An earlier start was killed while it made the app {name}. Start over with --fresh."
        raise HubError(Code.CONFLICT, text)
    app = await stage.admin.call("POST", "/apps", {"name": name})
    client = await stage.admin.call("POST", f"/apps/{app['app_id']}/clients", {"scopes": scopes})
    row = {
        "name": name, "client_id": client["client_id"], "client_secret": client["client_secret"],
        "token_url": f"{stage.state.base_url}/oauth/token", "scopes": scopes, "districts": list(grants),
        "port": free_port(), "secrets": {},
    }  # fmt: skip
    stage.state.apps.append(row)
    receiver = await receive(stage, row)
    for district, definition in grants.items():
        base = f"/districts/{district}"
        grant = await stage.admin.call("POST", f"{base}/grants", {"app_id": app["app_id"], "definition": definition})
        subscription = await stage.admin.call(
            "POST", f"{base}/subscriptions", {"grant_id": grant["grant_id"], "url": receiver.url(district)}
        )
        row["secrets"][subscription["subscription_id"]] = subscription["secret"]
    stage.console.print(f"[bold]{name}[/]: {words}")


async def receive(stage: Stage, row: dict[str, Any]) -> Receiver:
    """Starts one app's receiver."""

    def show(app: str, data: dict[str, Any]) -> None:
        kinds: dict[str, int] = {}
        for change in data["changes"]:
            kind = change["type"].replace(".", " ")
            kinds[kind] = kinds.get(kind, 0) + 1
        text = ", ".join(f"{n} {kind}" for kind, n in kinds.items())
        stage.console.print(f"   webhook → [bold]{app}[/] (signature verified): {text}")

    receiver = Receiver(row["name"], row["port"], row["secrets"], show)
    await receiver.start()
    stage.receivers[row["name"]] = receiver
    return receiver


async def reads(stage: Stage) -> dict[str, Any]:
    """Chapter 4: the same request as each app."""
    stage.title(4, "GET …/users?limit=3 as each app")
    seen = {}
    for name in ("math", "library", "lms"):
        status, headers, body = await stage.app(name).get(stage.district("1.2")["oneroster"], "/users", limit=3)
        seen[name] = {"status": status, "total": int(headers["X-Total-Count"]), "users": body["users"]}
        stage.console.print(f"[bold]{name}[/] sees {headers['X-Total-Count']} users; the first three:")
        for user in body["users"]:
            stage.console.print_json(orjson.dumps(user).decode(), indent=None)
    return seen
