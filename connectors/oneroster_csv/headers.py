"""From the first row of a file to columns of the standard, with every repair reported once.

A repair is made only where nobody could disagree: case, blanks, underscores, quotes and invisible characters, the
order, and names that are known from other versions and products (CSV binding 1.2.1 section 5; 1.0; vendors' guides).
"""

from __future__ import annotations

import csv
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import polars as pl

from connectors.limits import Limits
from connectors.oneroster_csv import rules
from transforms import issues
from transforms.catalogue import Entity, Need, Version
from transforms.issues import Rule

METADATA = "metadata."
_SEPARATORS = {";": "semicolon", "\t": "tab", "|": "vertical bar"}
#: Names of OneRoster 1.0 and of products, folded, to the standard's name.
_ALIASES = {
    "sourceid": "sourcedId",
    "schoolyearid": "schoolYearSourcedId",
    "userid": "userIds",
    "agents": "agentSourcedIds",
    "grade": "grades",
    "subject": "subjects",
    "subjectcode": "subjectCodes",
    "termsourcedid": "termSourcedIds",
    "preferredfirstname": "preferredGivenName",
    "preferredlastname": "preferredFamilyName",
    "orgsourcedid": "orgSourcedIds",
    "orgsourcedids": "orgSourcedId",
    "period": "periods",
}
_FILE_ALIASES = {"demographics": {"usersourcedid": "sourcedId"}}
#: A column of 1.2.0 that 1.2.1 removed: allowed and without use.
_REMOVED = {"users": {"resourcesourcedids"}}
_SHARE_OF_HEADER = 0.5


@dataclass(frozen=True, slots=True)
class Header:
    """``columns``: for each cell of a row the standard's column (or ``metadata.<name>``), None where it is ignored."""

    columns: tuple[str | None, ...]
    findings: tuple[pl.DataFrame, ...]
    usable: bool

    @property
    def width(self) -> int:
        """How many cells each row must have."""
        return len(self.columns)

    @property
    def key_column(self) -> int:
        """The place of sourcedId; 0 where no column says which record a row is."""
        return self.columns.index("sourcedId") if "sourcedId" in self.columns else 0


class _Report:
    def __init__(self, entity: Entity) -> None:
        self.entity = entity
        self.findings: list[pl.DataFrame] = []

    def add(self, rule: Rule, columns: list[str] | None = None, cause: str = "") -> None:
        file, names = f"{self.entity.csv_file}.csv", ", ".join(columns or [])
        self.findings.append(issues.one(rule, entity=self.entity.name, file=file, line=1, field=names, cause=cause))

    def refuse(self, rule: Rule, columns: list[str] | None = None, cause: str = "") -> Header:
        self.add(rule, columns, cause)
        return Header((), tuple(self.findings), usable=False)


def read_header(
    line: str, entity: Entity, version: Version, limits: Limits, aliases: Mapping[str, str] | None = None
) -> Header:
    """Reads the first row. ``aliases`` maps a source's own names to the standard's."""
    report = _Report(entity)
    names = cells(line)
    if len(names) > limits.columns:
        return report.refuse(rules.TOO_MANY_COLUMNS)
    wanted = entity.csv_header(version)
    separator = _other_separator(line, wanted)
    if separator:
        return report.refuse(rules.SEPARATOR, cause=separator)
    columns = _match(names, entity, wanted, aliases or {}, report)
    twice = sorted(name for name, count in Counter(c for c in columns if c).items() if count > 1)
    if twice:
        return report.refuse(rules.COLUMN_TWICE, [n for n in twice if n in wanted])
    needed = [f.csv_name for f in entity.csv_columns(version) if f.csv_need(version) is Need.REQUIRED and f.csv_name]
    missing = [name for name in needed if name not in columns]
    if missing:
        return report.refuse(rules.COLUMN_MISSING, missing, cause=_no_header(columns))
    _report_rest(columns, wanted, report)
    return Header(tuple(columns), tuple(report.findings), usable=True)


def cells(line: str) -> list[str]:
    """The cells of a header, read with patience."""
    try:
        return next(csv.reader([line.replace("\0", "")], strict=False), [])
    except csv.Error:  # a cell beyond csv's own limit
        return []


def _other_separator(line: str, wanted: tuple[str, ...]) -> str:
    """The name of the separator when the row only makes sense with another one than the comma."""
    known = {_fold(name) for name in wanted}
    hits = {mark: sum(_fold(cell) in known for cell in line.split(mark)) for mark in (",", *_SEPARATORS)}
    best = max(hits, key=lambda mark: hits[mark])
    return _SEPARATORS.get(best, "") if hits[best] > max(1, hits[","]) else ""


@lru_cache(4096)
def _fold(name: str) -> str:
    """The letters and digits of a name in lower case: what is left when all that one cannot see is taken away."""
    return "".join(c for c in unicodedata.normalize("NFKC", name).lower() if c.isalnum())


def _match(
    names: list[str], entity: Entity, wanted: tuple[str, ...], own: Mapping[str, str], report: _Report
) -> list[str | None]:
    """The standard's column for each name: exact names first, then spellings, then aliases of columns still missing."""
    columns: list[str | None] = [name if name in wanted or _is_metadata(name) else None for name in names]
    folded = {_fold(name): name for name in wanted}
    spelt = _fill(columns, [folded.get(_fold(name)) for name in names])
    known = _ALIASES | _FILE_ALIASES.get(entity.name, {}) | {_fold(k): v for k, v in own.items()}
    aliases = [known.get(_fold(name)) for name in names]
    aliased = _fill(columns, [alias if alias in wanted else None for alias in aliases])
    aliased += _fill(columns, [_extension(name) for name in names])
    for rule, repaired in ((rules.HEADER_SPELLING, spelt), (rules.HEADER_ALIAS, aliased)):
        if repaired:
            report.add(rule, [name for name in repaired if not _is_metadata(name)])
    removed = _REMOVED.get(entity.name, set())
    if any(column is None and _fold(name) not in removed for name, column in zip(names, columns, strict=True)):
        report.add(rules.COLUMN_UNKNOWN)
    return columns


def _fill(columns: list[str | None], guesses: list[str | None]) -> list[str]:
    """Puts guesses where nothing is known yet and the guess is not taken; the names that were put."""
    taken = {column for column in columns if column}
    put = []
    for place, guess in enumerate(guesses):
        if columns[place] is None and guess is not None and guess not in taken:
            columns[place] = guess
            put.append(guess)
    return put


def _is_metadata(name: str) -> bool:
    return name.startswith(METADATA) and name != METADATA and name.isprintable()


def _extension(name: str) -> str | None:
    """``ext_shoeSize`` and ``Metadata.shoeSize`` as ``metadata.shoeSize``."""
    trimmed = "".join(c for c in name.strip() if c.isprintable())
    for prefix in ("ext_", METADATA):
        if trimmed.lower().startswith(prefix) and len(trimmed) > len(prefix):
            return METADATA + trimmed[len(prefix) :]
    return None


def _no_header(columns: list[str | None]) -> str:
    known = sum(column is not None for column in columns)
    return "no header row" if known < _SHARE_OF_HEADER * max(len(columns), 1) else ""


def _report_rest(columns: list[str | None], wanted: tuple[str, ...], report: _Report) -> None:
    present = [column for column in columns if column in wanted]
    missing = [name for name in wanted if name not in present]
    if missing:
        report.add(rules.COLUMN_OPTIONAL_MISSING, missing)
    in_order = present == [name for name in wanted if name in present]
    metadata = [place for place, column in enumerate(columns) if column and column not in wanted]
    standard = [place for place, column in enumerate(columns) if column in wanted]
    if not in_order or (metadata and standard and metadata[0] < standard[-1]):
        report.add(rules.HEADER_ORDER)
