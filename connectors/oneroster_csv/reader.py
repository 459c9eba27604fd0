"""Opens a OneRoster CSV package: every file judged at once, so that all that is wrong with it is said at once."""

from __future__ import annotations

import csv
import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl

from connectors.limits import DEFAULT_LIMITS, Limits
from connectors.oneroster_csv import encoding, names, rules
from connectors.oneroster_csv.archive import Member, Unpacked, side_by_side, unpack
from connectors.oneroster_csv.manifest import Manifest, read_manifest
from connectors.oneroster_csv.table import Reading, Table, open_table
from connectors.protocol import Batch, ConnectorError, Intent, Mode
from transforms import issues
from transforms.catalogue import CATALOGUE, Entity, Kind, Need, Version
from transforms.issues import RULES, Rule, Severity

DEFAULT_READING = Reading()
_FALLBACK: Version = "1.2"  # of packages in which nothing tells the version; their headers are equal in both
#: Files of both versions whose headers differ, each with a column that is new in 1.2.
_TELLING = {"users": "primaryOrgSourcedId", "lineItems": "academicSessionSourcedId", "categories": "weight"}


@dataclass(slots=True)
class CsvPackage:
    """A package as ``connectors.protocol.Package`` describes it. Its files stand in a private temporary folder."""

    version: Version
    mode: Mapping[str, Mode]
    digest: str
    issues: pl.DataFrame
    source_system: str | None
    folder: Path
    tables: Mapping[str, Table] = field(repr=False)
    closed: bool = False

    @property
    def refused(self) -> bool:
        """Whether a finding refuses the whole package."""
        codes = self.issues["code"].unique().to_list()
        return any(RULES[code].severity is Severity.BLOCK_SYNC for code in codes)

    def rows(self, file: str) -> int | None:
        """The number of readable rows, those marked as deleted included."""
        return self.tables[file].rows

    def batches(self, file: str, size: int = 250_000) -> Iterator[Batch]:
        """The rows of ``file``, at most ``size`` at a time."""
        if size < 1:
            raise ValueError("a batch has at least one row")
        return self._open(file).batches(size)

    def keys(self, file: str) -> pl.Series:
        """The sourcedIds of ``file``."""
        return self._open(file).keys()

    def marks(self, file: str) -> pl.Series:
        """The marks of ``file``."""
        return self._open(file).marks()

    def close(self) -> None:
        """Removes the temporary folder."""
        self.closed = True
        shutil.rmtree(self.folder, ignore_errors=True)

    def _open(self, file: str) -> Table:
        if self.closed:
            raise ConnectorError("package_closed", "The package was closed already.", intent=Intent.GIVE_UP)
        return self.tables[file]


def open_package(
    path: Path, limits: Limits = DEFAULT_LIMITS, *, reading: Reading = DEFAULT_READING, partial: bool = False,
    work_folder: Path | None = None,
) -> CsvPackage:  # fmt: skip
    """Opens the ZIP archive or folder at ``path``; takes seconds for a large one, so call it in a thread.

    ``partial``: the files may refer to objects that are in none of them, because another source brings those. What is
    wrong with the package is in its ``issues``. Raises ConnectorError (``unreadable``) when bytes cannot be
    read or written at all. The caller closes the package.
    """
    folder = Path(tempfile.mkdtemp(prefix="rosterhub-package-", dir=work_folder))
    try:
        return _opened(path, folder, limits, reading, partial=partial)
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        why = error.strerror or type(error).__name__
        raise ConnectorError("unreadable", f"The package cannot be unpacked: {why}.", intent=Intent.RETRY) from error
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _opened(path: Path, folder: Path, limits: Limits, reading: Reading, *, partial: bool) -> CsvPackage:
    unpacked = unpack(path, folder, limits)
    digest = _digest(unpacked.members)
    if not unpacked.refused and not unpacked.members:
        unpacked.refuse(rules.NOTHING_TO_READ)
    if unpacked.refused:
        return CsvPackage(_FALLBACK, {}, digest, issues.collect(unpacked.findings), None, folder, {})
    manifest = _manifest(unpacked)
    version = manifest.version or _FALLBACK
    found = [*unpacked.findings, *manifest.findings]
    deltas = {file for file, said in manifest.files.items() if said == "delta"}
    tables, empty, about_files = _tables(unpacked.members, version, limits, reading, deltas)
    found.extend(about_files)
    present = set(unpacked.members) - {names.MANIFEST}
    if names.MANIFEST in unpacked.members:
        found.extend(_disagreements(manifest, present, version))
    else:
        found.extend(_ambiguous(tables))
    mode: dict[str, Mode] = {file: "delta" if file in deltas else "bulk" for file in tables}
    if not partial:
        # Rows of changes refer to what was sent before, too.
        whole = {file for file, meant in mode.items() if meant == "bulk"}
        found.extend(_companions(whole, present - empty, version))
    found.extend(_mixed(mode, version))
    return CsvPackage(version, mode, digest, issues.collect(found), manifest.source_system, folder, tables)


def _digest(members: Mapping[str, Member]) -> str:
    total = hashlib.sha256()
    for file in sorted(members):
        total.update(f"{file}.csv\0{members[file].sha256}\n".encode())
    return total.hexdigest()


def _manifest(unpacked: Unpacked) -> Manifest:
    member = unpacked.members.get(names.MANIFEST)
    if member is not None:
        return read_manifest(member.path)
    result = Manifest(_guessed_version(unpacked.members))
    result.report(rules.MANIFEST_MISSING)
    return result


def _guessed_version(members: Mapping[str, Member]) -> Version:
    """The version that the files show: some files, and some columns of files of both versions, are new in 1.2."""
    if set(members) & (CATALOGUE.files("1.2").keys() - CATALOGUE.files("1.1").keys()):
        return "1.2"
    for file, column in _TELLING.items():
        if file in members:
            return "1.2" if column.lower() in _header(members[file].path) else "1.1"
    return _FALLBACK


def _header(path: Path) -> set[str]:
    """The columns of a file in lower case."""
    with path.open("rb") as stream:
        start = stream.read(64 * 1024)
    name, mark = encoding.sniff(start[: len(start) & ~3])
    line = (start[mark:].decode(name, "replace").splitlines() or [""])[0]
    return {cell.strip().lower() for cell in next(csv.reader([line.replace("\0", "")]), [])}


def _tables(
    members: Mapping[str, Member], version: Version, limits: Limits, reading: Reading, deltas: set[str]
) -> tuple[dict[str, Table], set[str], list[pl.DataFrame]]:
    """The readable files, the names of those without rows, and findings about all of them. ``deltas`` hold changes."""
    tables: dict[str, Table] = {}
    empty: set[str] = set()
    found: list[pl.DataFrame] = []
    here = [(file, entity) for file, entity in CATALOGUE.files(version).items() if file in members]
    size = sum(members[file].size for file, _ in here)
    opened = side_by_side(lambda one: open_table(members[one[0]].path, one[1], version, limits, reading), here, size)
    for (file, _), (table, about) in zip(here, opened, strict=True):
        found.extend(about)
        if table is not None:
            tables[file] = replace(table, delta=file in deltas)
        elif any(rules.NO_ROWS.code in frame["code"] for frame in about):
            empty.add(file)
    if any(file not in CATALOGUE.files(version) for file in set(members) - {names.MANIFEST}):
        found.append(issues.one(rules.FILE_IGNORED))
    return tables, empty, found


def _disagreements(manifest: Manifest, present: set[str], version: Version) -> list[pl.DataFrame]:
    found = []
    for file, said in manifest.files.items():
        if said != "absent" and file not in present:
            found.append(_about(rules.MANIFEST_DISAGREES, file, f"{said} but not in the package"))
        elif said == "absent" and file in present and file in CATALOGUE.files(version):
            found.append(_about(rules.MANIFEST_DISAGREES, file, "absent but in the package"))
    return found


def _mixed(mode: Mapping[str, Mode], version: Version) -> list[pl.DataFrame]:
    """Files whose rows nest in another file's and that are not meant as it is: nobody could say what is whole."""
    files = CATALOGUE.files(version)
    return [
        _about(rules.DELTA_MIXED, file, f"{owner}.csv")
        for file, owner in ((f, CATALOGUE[files[f].component_of or ""].csv_file) for f in mode if files[f].component_of)
        if mode.get(owner, mode[file]) != mode[file]
    ]


def _ambiguous(tables: Mapping[str, Table]) -> list[pl.DataFrame]:
    return [_about(rules.MODE_UNKNOWN, file) for file, table in tables.items() if table.filled_modes()]


def _companions(readable: set[str], present: set[str], version: Version) -> list[pl.DataFrame]:
    """Findings about files that the readable files need and that are not in the package."""
    files = CATALOGUE.files(version)
    return [
        _about(rules.COMPANION_MISSING, file, f"{companion}.csv")
        for file in sorted(readable)
        for companion in sorted(_needed(files[file], version) - present)
    ]


def _needed(entity: Entity, version: Version) -> set[str]:
    """The files without which no row of this one can be complete (CSV binding 1.2.1 section 4)."""
    targets = {
        f.target for f in entity.csv_columns(version) if f.kind is Kind.REF and f.csv_need(version) is Need.REQUIRED
    }
    needed = {CATALOGUE[target].csv_file for target in targets if target}
    if entity.rid_of:
        needed.add(CATALOGUE[entity.rid_of].csv_file)
    for component in CATALOGUE.components_of(entity.name):
        nested = component.name in entity and entity[component.name].rest_need(version) is Need.REQUIRED
        if nested and version in component.versions:
            needed.add(component.csv_file)
    return needed - {entity.csv_file}


def _about(rule: Rule, file: str, cause: str = "") -> pl.DataFrame:
    return issues.one(rule, file=f"{file}.csv", cause=cause)
