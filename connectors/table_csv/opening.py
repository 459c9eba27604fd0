"""Opens a package of tables: what it is, whether the mapping fits, every table judged at once."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from connectors.limits import DEFAULT_LIMITS, Limits
from connectors.oneroster_csv import rules as file_rules
from connectors.oneroster_csv.archive import Member, Unpacked, unpack
from connectors.oneroster_csv.names import MANIFEST
from connectors.oneroster_csv.reader import DEFAULT_READING
from connectors.oneroster_csv.table import Reading
from connectors.protocol import ConnectorError, Intent, Mode
from connectors.table_csv.package import TablePackage, digest
from connectors.table_csv.reading import SUFFIXES, RawTable, first_row, open_raw
from transforms import issues
from transforms.shaping import definition, rules
from transforms.shaping.detect import Tables, detected
from transforms.shaping.mapping import AUTO, CheckedFile, CheckedMapping, check_mapping
from transforms.shaping.mappings import BUILT_IN
from transforms.shaping.steps import Fault

_LONGEST = 100  # letters of a table's name


def open_tables(
    path: Path, mapping: definition.Mapping, limits: Limits = DEFAULT_LIMITS, *, reading: Reading = DEFAULT_READING,
    work_folder: Path | None = None,
) -> TablePackage:  # fmt: skip
    """Opens the ZIP archive or folder at ``path``; takes seconds for a large one, so call it in a thread.

    What is wrong with the package is in its ``issues``. Raises ConnectorError (``unreadable``, ``bad_mapping``). The
    caller closes the package.
    """
    folder = Path(tempfile.mkdtemp(prefix="rosterhub-package-", dir=work_folder))
    try:
        return _opened(path, mapping, folder, limits, reading)
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        why = error.strerror or type(error).__name__
        raise ConnectorError("unreadable", f"The package cannot be unpacked: {why}.", intent=Intent.RETRY) from error
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def headers(
    path: Path, limits: Limits = DEFAULT_LIMITS, *, reading: Reading = DEFAULT_READING, work_folder: Path | None = None
) -> Tables:
    """The tables of a package and their columns; none of a package that is refused, or that has a manifest.

    Raises ConnectorError (``unreadable``).
    """
    folder = Path(tempfile.mkdtemp(prefix="rosterhub-package-", dir=work_folder))
    seen: list[str] = []
    try:
        unpack(path, folder, limits, lambda name: seen.append(name.lower()))
        if f"{MANIFEST}.csv" in seen:
            return {}
        unpacked = unpack(path, folder, limits, stem)
        return {name: first_row(member.path, reading, limits) for name, member in unpacked.members.items()}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def stem(name: str) -> str | None:
    """The table that a file name stands for; None for what is no table."""
    suffix = next((s for s in SUFFIXES if name.lower().endswith(s)), None)
    table = name[: -len(suffix)].strip() if suffix else ""
    usable = table and "/" not in name and not name.startswith(".") and table.isprintable() and len(table) <= _LONGEST
    return table if usable else None


def _opened(path: Path, wish: definition.Mapping, folder: Path, limits: Limits, reading: Reading) -> TablePackage:
    known = {} if wish.base == AUTO else {t.lower(): t for t in _checked(wish).tables}

    def wanted(name: str) -> str | None:
        table = stem(name)
        return table if table is None or wish.base == AUTO else known.get(table.lower())

    unpacked = unpack(path, folder, limits, wanted)
    if wish.base == AUTO and not unpacked.refused:
        wish = _told(wish, unpacked, limits, reading)
    mapping = CheckedMapping(wish.version) if wish.base == AUTO else _checked(wish)
    members = _by_table(unpacked, mapping)
    mark = digest({n: m.sha256 for n, m in members.items()}, definition.mark(wish))
    if not unpacked.refused and not members:
        unpacked.refuse(rules.NOT_RECOGNISED if wish.base == AUTO else file_rules.NOTHING_TO_READ)
    if unpacked.refused:
        return TablePackage("1.2", {}, mark, issues.collect(unpacked.findings), None, folder, {}, mapping)
    tables, empty, found = _tables(members, mapping, limits, reading)
    found = [*unpacked.findings, *found, *_misfits(mapping, tables, empty)]
    mode: dict[str, Mode] = {f: "bulk" for f, file in mapping.files.items() if _supplied(file, tables, empty)}
    return TablePackage(mapping.version, mode, mark, issues.collect(found), None, folder, tables, mapping)


def _checked(mapping: definition.Mapping) -> CheckedMapping:
    faults: list[Fault] = []
    checked = check_mapping(mapping, faults)
    if faults:
        text = "; ".join(f"{f.place}: {f.message}" for f in faults[:3])
        raise ConnectorError("bad_mapping", f"Mend the mapping: {text}", intent=Intent.ASK_HUMAN)
    return checked


def _told(wish: definition.Mapping, unpacked: Unpacked, limits: Limits, reading: Reading) -> definition.Mapping:
    """The wish with the mapping that the headers tell; unchanged where they tell none."""
    found = detected({name: first_row(m.path, reading, limits) for name, m in unpacked.members.items()})
    if found is None:
        return wish
    unpacked.report(rules.RECOGNISED, cause=BUILT_IN[found][0])
    return definition.Mapping(base=found, version=wish.version, files=wish.files)


def _by_table(unpacked: Unpacked, mapping: CheckedMapping) -> dict[str, Member]:
    """The members by the mapping's names of tables; others are told and left."""
    names = {t.lower(): t for t in mapping.tables}
    found = {names[n.lower()]: m for n, m in unpacked.members.items() if n.lower() in names}
    if len(found) < len(unpacked.members):
        unpacked.report(file_rules.FILE_IGNORED)
    return found


def _tables(
    members: Mapping[str, Member], mapping: CheckedMapping, limits: Limits, reading: Reading
) -> tuple[dict[str, RawTable], set[str], list[pl.DataFrame]]:
    """The readable tables, the names of those without rows, and findings about all of them."""
    tables: dict[str, RawTable] = {}
    empty: set[str] = set()
    found: list[pl.DataFrame] = []
    for name, member in sorted(members.items()):
        table, about = open_raw(member.path, name, mapping.columns[name], limits, reading)
        found.extend(about)
        if table is not None:
            tables[name] = table
        elif any(file_rules.NO_ROWS.code in frame["code"] for frame in about):
            empty.add(name)
    return tables, empty, found


def _misfits(mapping: CheckedMapping, tables: Mapping[str, RawTable], empty: set[str]) -> list[pl.DataFrame]:
    """Findings about tables and columns that the mapping reads and that are not there, each once."""
    missing: set[str] = set()
    lacking: dict[str, set[str]] = {}
    for part in (p for file in mapping.files.values() for p in file.parts):
        if part.part.table not in tables:
            missing |= set() if part.part.optional else {part.part.table}
            continue
        missing |= {j.table for j in part.part.join if j.table not in tables and not j.optional}
        for name, columns in part.needs.items():
            if name in tables:
                lacking.setdefault(name, set()).update(columns - set(tables[name].columns) - set(part.part.may_lack))
    found = [
        issues.one(rules.TABLE_MISSING, file=f"{t}.csv", cause="no rows" if t in empty else "") for t in sorted(missing)
    ]
    for name, absent in sorted(lacking.items()):
        if absent:
            found.append(issues.one(rules.COLUMN_MISSING, file=f"{name}.csv", line=1, field=", ".join(sorted(absent))))
    return found


def _supplied(file: CheckedFile, tables: Mapping[str, RawTable], empty: set[str]) -> bool:
    """Whether a file counts as supplied; not if a table without rows takes part in it, which must delete nothing."""
    names = [part.part.table for part in file.parts]
    return any(name in tables for name in names) and not any(name in empty for name in names)
