"""The whole of a sandbox district: clean frames, planted dirt, mid-year changes, and the files that hold them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from hub.sandbox.bench import Truth
from hub.sandbox.changes import Changes, make_changes
from hub.sandbox.dirt import plant
from hub.sandbox.package import FileForm, Progress, write_package
from hub.sandbox.plan import DistrictPlan
from hub.sandbox.population import populate
from hub.sandbox.schools import School


@dataclass(frozen=True, slots=True)
class SandboxFiles:
    """Where ``District.write`` put things. The last two are ``None`` without ``plan.changes``."""

    package: Path
    truth: Path
    changed_package: Path | None = None
    changes: Path | None = None


@dataclass(frozen=True, slots=True)
class SandboxSummary:
    """What ``write_sandbox`` made: rows per CSV file, planted defects per kind, changes per kind."""

    name: str
    version: str
    files: SandboxFiles
    rows: Mapping[str, int]
    defects: Mapping[str, int]
    changes: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class District:
    """A sandbox district in memory.

    ``frames`` holds the rows of each CSV file (file name without ``.csv``) as they are written, dirt included, and
    ``forms`` the files with faults at the level of bytes. ``clean`` are the same rows before any dirt.
    """

    plan: DistrictPlan
    name: str
    source_system: str
    schools: tuple[School, ...]
    clean: Mapping[str, pl.DataFrame]
    frames: Mapping[str, pl.DataFrame]
    forms: Mapping[str, FileForm]
    truth: Truth
    changes: Changes | None
    progress: Progress = field(default=lambda *_: None, repr=False, compare=False)

    @property
    def focus(self) -> tuple[School, ...]:
        """The schools that mid-year changes are about."""
        return tuple(self.schools[i] for i in self.plan.focus)

    def write(self, folder: Path) -> SandboxFiles:
        """Writes district.zip and truth.json, with changes also changes.zip and changes.json, into ``folder``."""
        folder.mkdir(parents=True, exist_ok=True)
        about = {"district": self.name, "plan": asdict(self.plan), "schools": [_described(s) for s in self.schools]}
        package, truth = folder / "district.zip", folder / "truth.json"
        version, source = self.plan.version, self.source_system
        write_package(package, version, self.frames, source, forms=self.forms, progress=self.progress)
        _write_json(truth, about | self.truth.as_json())
        if self.changes is None:
            return SandboxFiles(package, truth)
        changed, listed = folder / "changes.zip", folder / "changes.json"
        write_package(changed, version, self.changes.frames, source, forms=self.forms, progress=self.progress)
        _write_json(listed, about | {"focus": [s.sourced_id for s in self.focus], "changes": self.changes.events})
        return SandboxFiles(package, truth, changed, listed)


def generate(plan: DistrictPlan, progress: Progress = lambda *_: None) -> District:
    """Makes the district of ``plan``. Raises ``ValueError`` when ``plan.focus`` names schools that it has not."""
    population = populate(plan, progress)
    schools = population.place.schools
    if not plan.focus or any(not 0 <= i < len(schools) for i in plan.focus) or len(set(plan.focus)) >= len(schools):
        raise ValueError(f"focus schools are some, not all, of the numbers 0 to {len(schools) - 1}")
    dirty = plant(plan, population)
    changes = make_changes(plan, population, dirty) if plan.changes else None
    return District(
        plan=plan,
        name=population.name,
        source_system="Rosterhub Sandbox SIS",
        schools=schools,
        clean=population.frames,
        frames=dirty.frames,
        forms=dirty.forms,
        truth=dirty.truth,
        changes=changes,
        progress=progress,
    )


def write_sandbox(folder: Path, plan: DistrictPlan, progress: Progress = lambda *_: None) -> SandboxSummary:
    """Makes a district and writes it into ``folder``; ``progress`` is told (what, done, of how many)."""
    district = generate(plan, progress)
    files = district.write(folder)
    events = district.changes.events if district.changes else []
    return SandboxSummary(
        name=district.name,
        version=plan.version,
        files=files,
        rows={file: frame.height for file, frame in district.frames.items()},
        defects=_counted(district.truth.defects),
        changes=_counted(events),
    )


def _counted(items: list[dict[str, Any]]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for item in items:
        counts[item["kind"]] = counts.get(item["kind"], 0) + 1
    return counts


def _described(school: School) -> dict[str, str]:
    return {"sourcedId": school.sourced_id, "name": school.name, "level": school.level}


def _write_json(path: Path, content: dict[str, Any]) -> None:
    # One defect per line: the file stays readable and greppable at any size.
    parts = []
    for key, value in content.items():
        if isinstance(value, list) and value:
            lines = ",\n".join("    " + json.dumps(item, ensure_ascii=False) for item in value)
            parts.append(f'  "{key}": [\n{lines}\n  ]')
        else:
            parts.append(f'  "{key}": {json.dumps(value, ensure_ascii=False)}')
    path.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")
