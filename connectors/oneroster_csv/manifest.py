"""manifest.csv: what it says, read with patience, and how it is written.

Source: CSV binding 1.2.1 section 3; 1.1 the same with fewer files.
"""

from __future__ import annotations

import csv
import difflib
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import polars as pl

from connectors.oneroster_csv import encoding, names, rules
from transforms import issues
from transforms.catalogue import Version
from transforms.issues import Rule

FILE = "manifest.csv"
Said = Literal["absent", "bulk", "delta"]

_HEADER = ["propertyName", "value"]
_MANIFEST_VERSION = "1.0"
_MAX_BYTES = 64 * 1024
_SIMILAR = 0.85
_PROPERTIES = ("manifest.version", "oneroster.version", "source.systemName", "source.systemCode")
_ALIASES = {"file.systemname": "source.systemName", "file.systemcode": "source.systemCode"}
_SAID: dict[str, Said] = {"absent": "absent", "bulk": "bulk", "delta": "delta"}
_MAX_NAME = 200


@dataclass(slots=True)
class Manifest:
    """What the manifest says. ``version`` is None where it names none that is supported; ``refused`` then."""

    version: Version | None = None
    files: dict[str, Said] = field(default_factory=dict)
    source_system: str | None = None
    findings: list[pl.DataFrame] = field(default_factory=list)

    def report(self, rule: Rule, name: str = "", cause: str = "") -> None:
        """Adds a finding about a property of the standard."""
        self.findings.append(issues.one(rule, file=FILE, field=name, cause=cause))


def read_manifest(path: Path) -> Manifest:
    """Reads a manifest. Never raises for what is in it; everything odd is a finding."""
    result = Manifest()
    rows = _rows(path, result)
    if rows and [cell.strip() for cell in rows[0][:2]] == _HEADER:
        rows = rows[1:]
    else:
        result.report(rules.MANIFEST_REPAIRED, "propertyName")
    values: dict[str, str] = {}
    for row in rows:
        said = row[0] if row else ""
        name = _property(said)
        if name is None:
            result.report(rules.MANIFEST_UNKNOWN_PROPERTY)
            continue
        value = _visible(row[1]) if len(row) > 1 else ""
        if name != said or name in values:
            result.report(rules.MANIFEST_REPAIRED, name)
        if name in values and values[name] != value:
            result.report(rules.MANIFEST_DISAGREES, name, cause="stated twice")
        values.setdefault(name, value)
    _read_values(values, result)
    return result


def _rows(path: Path, result: Manifest) -> list[list[str]]:
    with path.open("rb") as stream:
        raw = stream.read(_MAX_BYTES + 1)
    name, mark = encoding.sniff(raw[: len(raw) & ~3])
    if mark or name != "utf-8":
        result.findings.append(issues.one(rules.ENCODING, file=FILE, cause="byte order mark" if mark else name))
    text = raw[mark:_MAX_BYTES].decode(name, "replace").replace("\0", "")
    lines = [line for line in text.splitlines() if line.strip()]
    if lines and "," not in lines[0] and ";" in lines[0]:
        result.report(rules.SEPARATOR, cause="semicolon")
    return list(csv.reader(lines))


def _visible(text: str) -> str:
    return "".join(c for c in text if c.isprintable()).strip()


def _property(said: str) -> str | None:
    """The standard's property that a cell stands for; exact, then by case, asterisk or alias, then by likeness."""
    known = {name.lower(): name for name in (*_PROPERTIES, *(f"file.{n}" for n in names.data_files("1.2")))}
    folded = _visible(said).lower().rstrip("*").strip()
    exact = known.get(folded) or _ALIASES.get(folded) or known.get(folded.replace("resourses", "resources"))
    if exact:
        return exact
    similar = difflib.get_close_matches(folded[:_MAX_NAME], known, n=2, cutoff=_SIMILAR)
    # "file.roles" and "file.courses" are unlike enough; two candidates would be a guess.
    return known[similar[0]] if len(similar) == 1 else None


def _read_values(values: dict[str, str], result: Manifest) -> None:
    if values.get("manifest.version") != _MANIFEST_VERSION:
        result.report(rules.MANIFEST_REPAIRED, "manifest.version")
    result.version = _version(values.get("oneroster.version", ""), result)
    if result.version is None:
        result.report(rules.VERSION_UNSUPPORTED, "oneroster.version")
        return
    for file in names.data_files("1.2"):
        _read_file(file, values.get(f"file.{file}"), file in names.data_files(result.version), result)
    result.source_system = values.get("source.systemName", "")[:_MAX_NAME] or None


def _version(said: str, result: Manifest) -> Version | None:
    for version in names.VERSIONS:
        if said == version:
            return version
        if said.lower().removeprefix("v").startswith(f"{version}."):  # "1.2.1" names an edition of the document
            result.report(rules.MANIFEST_REPAIRED, "oneroster.version")
            return version
    return None


def _read_file(file: str, said: str | None, belongs: bool, result: Manifest) -> None:
    name = f"file.{file}"
    if said is None:
        if belongs:
            result.report(rules.MANIFEST_REPAIRED, name, cause="not stated")
        return
    meant = _SAID.get(said.lower())
    if meant is None:
        result.report(rules.MANIFEST_REPAIRED, name, cause="not stated")
        return
    if said != meant or (not belongs and meant != "absent"):
        result.report(rules.MANIFEST_REPAIRED, name)
    if belongs:
        result.files[file] = meant


def manifest_bytes(
    version: Version, present: Collection[str], source_system: str | None = None, system_code: str | None = None, *,
    mode: Said = "bulk",
) -> bytes:  # fmt: skip
    """manifest.csv with ``present`` files in ``mode`` and all others of ``version`` absent, in the standard's order."""
    rows = [("propertyName", "value"), ("manifest.version", _MANIFEST_VERSION), ("oneroster.version", version)]
    rows += [(f"file.{name}", mode if name in present else "absent") for name in names.data_files(version)]
    rows += [("source.systemName", source_system)] if source_system else []
    rows += [("source.systemCode", system_code)] if system_code else []
    return "".join(f"{name},{_cell(value)}\r\n" for name, value in rows).encode()


def _cell(value: str) -> str:
    value = " ".join(value.splitlines())
    return '"' + value.replace('"', '""') + '"' if "," in value or '"' in value else value
