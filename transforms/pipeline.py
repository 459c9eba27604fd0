"""The chain from RAW to CANONICAL frames. It is the same in tests, ``hub validate`` and every run.

One ``Transform`` per run, entities in the catalogue's order::

    run = Transform("1.1", held=keys_in_store)
    for outcome in run.entity("orgs", frames):
        ...

It does no I/O and reads no clock. An iterator must be read to its end before the next entity begins, because only then
the entity's keys are known to the references of the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date

import polars as pl

from transforms import canonical, issues, kept_rows, nesting
from transforms.catalogue import CATALOGUE, Entity, Version
from transforms.issues import RULES, Action
from transforms.marks import as_list, beside, certain, distinct, filled, nowhere, present, rows_of, stacked
from transforms.normalise.gradebook import complete
from transforms.normalise.roles import roles_from_orgs
from transforms.normalise.status import STA_001, deleted
from transforms.normalise.values import normalise
from transforms.rules.checks import Checks
from transforms.rules.settings import DEFAULTS, RuleSettings
from transforms.sheet import Sheet, findings, joined, no_keys, open_sheet, split
from transforms.validate import speaking  # noqa: F401 - its rules are the chain's, whoever applies them
from transforms.validate.alike import ENR_011, join_alike, may_be_alike, several
from transforms.validate.duplicates import duplicated, resolve_duplicates
from transforms.validate.enrolled import Enrolled
from transforms.validate.gradebook import GRB_009, check_gradebook, check_repeated, result_marks
from transforms.validate.known import REMEMBERED, TARGETS, Known
from transforms.validate.near_keys import ID_004, nearly_equal
from transforms.validate.parents import derive_children, no_parents
from transforms.validate.references import check_owner, check_references
from transforms.validate.relations import (
    CLS_003,
    check_primary_teachers,
    check_relations,
    check_sessions,
    primary_teachers,
    with_whole_terms,
)
from transforms.validate.state_ids import ID_007, check_shared, check_state_ids

__all__ = ["REVISION", "Outcome", "Transform", "duplicated", "several"]

#: Grows whenever the same package may give other canonical rows: packages are then compared row by row again.
REVISION = 5
Unread = Callable[[], pl.Series]
_NO_CAUSES = pl.DataFrame(schema={"key": pl.String, "cause": pl.String})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of some rows of one entity.

    ``frame`` is CANONICAL. ``quarantined`` are keys of rows kept out: their older versions stay. ``deleted`` are
    keys that the source itself marks as deleted. ``partial`` are keys of rows in ``frame`` that lack components (a
    role, say) because those rows were kept out. ``joined`` are keys of rows in ``frame`` that stand for several rows.
    ``kept``, by file: the component rows of all owners as they came (``kept_rows.rows_of``). ``implied``: the key of
    records without a good row of their own that change all the same, and the columns that do: component columns, where
    component rows came, or ``children``. ``asks``: it says nothing, but ``Transform.parents`` is asked next.
    """

    frame: pl.DataFrame
    issues: pl.DataFrame
    quarantined: pl.Series
    deleted: pl.Series
    partial: pl.Series
    joined: pl.Series = field(default_factory=no_keys)
    kept: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    implied: pl.DataFrame | None = None
    asks: bool = False


class Transform:
    """One run over one package. Keeps the keys of the entities gone through, which later references need.

    ``held(entity)`` gives the keys of the active records that the store has from this source; ``org_types`` (columns
    key, type) their orgs' types, used where the package brings no orgs; ``calling_code`` ("1") is that of the
    district's country, for telephone numbers in national form; ``today`` the day on which students should have
    classes, without which nobody is missed; ``joined()`` the keys of enrollments that stand for several rows of the
    last whole package; ``parents(entity)``, of a tree, key and parent of the active records as the source said them
    before, asked (after an outcome that says so) where some stay without a good row; ``rules`` what was set for rules.
    """

    def __init__(
        self,
        version: Version,
        *,
        held: Callable[[str], pl.Series] | None = None,
        org_types: pl.DataFrame | None = None,
        calling_code: str | None = None,
        today: date | None = None,
        joined: Unread = no_keys,
        parents: Callable[[str], pl.DataFrame] = no_parents,
        rules: RuleSettings = DEFAULTS,
    ) -> None:
        self.checks = Checks(today, rules)
        self.version, self.today, self.joined, self.parents = version, today, joined, parents
        self.calling_code = calling_code
        self.known = Known() if held is None else Known(held)
        if org_types is not None:
            self.known.remember("orgs", org_types.select("key", "type"))

    def entity(
        self,
        name: str,
        batches: Iterable[pl.DataFrame],
        *,
        components: Mapping[str, Iterable[pl.DataFrame]] | None = None,
        duplicate_keys: pl.Series | None = None,
        repeated: pl.Series | None = None,
        unread: Unread = no_keys,
        delta: bool = False,
        implied: pl.Series | None = None,
        objects: bool = False,
    ) -> Iterator[Outcome]:
        """Outcomes of the RAW ``batches`` of one entity.

        ``components`` are RAW batches of the CSV files that nest in it, by file name. ``duplicate_keys`` (see
        ``duplicated``) are the keys that come more than once in the whole file; without them all batches are taken
        as one. ``repeated`` (see ``several``) are the marks of class and user that come more than once in a whole file
        of enrollments. ``unread()``, asked at the end, gives the keys of rows that the connector kept out. Entities
        that refer to themselves are held until all their keys are known, the others go batch by batch. ``implied``, of
        changes whose ``components`` are all of their owners': the keys of owners of which only component rows came.
        ``delta``: the rows are changes; with ``objects`` each has all its components, else only those that changed.
        """
        entity = CATALOGUE[name]
        parts = nesting.read(entity, self.version, components or {}, self.known, delta=delta)
        steps = _Steps(entity, self, parts, delta=delta, lacking=delta and not objects, unread=unread, implied=implied)
        held_back = any(f.target == name for f in entity.references)
        waiting: list[Sheet] = []
        for sheet in steps.sheets(batches, duplicate_keys, repeated):
            if held_back:
                waiting.append(sheet)
            else:
                yield steps.finish(sheet)
        if waiting:
            yield from steps.finish_together(waiting)
        yield from steps.close()


class _Steps:
    """The steps of one entity and what they have to remember until its end."""

    def __init__(
        self, entity: Entity, run: Transform, parts: nesting.Parts, *, delta: bool, lacking: bool,
        unread: Unread, implied: pl.Series | None,
    ) -> None:  # fmt: skip
        self.entity, self.version, self.known, self.parts, self.delta = entity, run.version, run.known, parts, delta
        self.calling_code, self.unread = run.calling_code, unread
        self.joined, self.parents, self.checks = run.joined, run.parents, run.checks
        self.lacking, self.implied = lacking, implied
        self.told = False  # of status columns filled in a bulk file, which is said once
        self.settled = False
        self.good: list[pl.DataFrame] = []
        self.lines: list[pl.DataFrame] = []
        self.held = no_keys()
        self.causes: list[pl.DataFrame] = [_NO_CAUSES]
        self.keys: list[pl.Series] = [no_keys()]
        self.quarantined: list[pl.Series] = [no_keys()]
        self.deleted: list[pl.Series] = [no_keys()]
        self.teachers: list[pl.DataFrame] = []
        self.results: list[pl.DataFrame] = []
        self.state_ids: list[pl.DataFrame] = []
        self.alike = no_keys()
        self.enrolled = None
        if entity.name == "enrollments":
            self.enrolled = Enrolled(run.known, run.today, whole=not delta)

    def sheets(
        self, batches: Iterable[pl.DataFrame], duplicate_keys: pl.Series | None, repeated: pl.Series | None
    ) -> Iterator[Sheet]:
        """Normalised and validated sheets, each key on one row; rows with repeated keys come last, together.

        So do enrollments that may be joined.
        """
        if duplicate_keys is None:
            frames = list(batches)
            batches = [pl.concat(frames, how="diagonal")] if frames else []
        aside: list[Sheet] = []
        for raw in batches:
            sheet = self._typed(raw)
            if duplicate_keys is None:
                sheet = resolve_duplicates(sheet)
            elif duplicate_keys.len() or (repeated is not None and repeated.len()):
                sheet, later = _set_aside(sheet, duplicate_keys, repeated)
                aside.append(later)
            yield self._validated(sheet, last=duplicate_keys is None)
        if any(sheet.frame.height for sheet in aside):
            yield self._validated(resolve_duplicates(joined(aside)), last=True)

    def _typed(self, raw: pl.DataFrame) -> Sheet:
        """A batch with typed values, without the rows that say they are deleted (their faults matter to nobody)."""
        sheet = open_sheet(self.entity, self.version, raw)
        normalise(sheet, self.calling_code)
        gone = deleted(sheet, delta=self.delta)
        if self.delta and self.entity.name == "enrollments" and (standing := self.joined()).len():
            waits = certain(sheet["key"].is_in(as_list(standing)))
            sheet.report(ENR_011, waits, "sourcedId")
            gone &= ~waits
        if self.told:
            sheet.findings = [f for f in sheet.findings if f["code"][0] != STA_001.code]
        self.told = self.told or any(f["code"][0] == STA_001.code for f in sheet.findings)
        if not gone.any():
            return sheet
        sheet, left_out = split(sheet, gone)
        lines = as_list(left_out["line"])
        sheet.findings = [f.filter(~certain(f["line"].is_in(lines))) for f in sheet.findings]
        sheet.deleted = left_out["key"]
        return sheet

    def _validated(self, sheet: Sheet, *, last: bool) -> Sheet:
        check_references(sheet, self.known)
        if last and self.entity.name == "enrollments" and not self.delta:
            sheet, self.alike = join_alike(sheet, lambda: self.known.keys("enrollments"))
        check_owner(sheet, self.known)
        if self.entity.name == "users" and self.version == "1.1":
            roles_from_orgs(sheet, self.known.rows("orgs"))
        in_part = self.lacking and self.implied is None
        nesting.attach(sheet, self.parts, self.known.keys(self.entity.name) if in_part else no_keys())
        complete(sheet, self.known)
        check_relations(sheet, self.known, self.enrolled)
        check_gradebook(sheet, self.known)
        self._note(sheet)
        return sheet

    def _note(self, sheet: Sheet) -> None:
        """Remembers keys and causes; no later step keeps a row out."""
        self.quarantined.append(kept_out(sheet))
        self.deleted.append(sheet.deleted)
        if self.entity.name in TARGETS or self.parts.sheets:
            self.keys.append(sheet["key"])
        if self.entity.name in TARGETS:
            frame = sheet.frame if self.entity.name != "classes" else with_whole_terms(sheet)
            names = ["key", *REMEMBERED.get(self.entity.name, ())]
            self.good.append(rows_of(beside([frame.get_column(name) for name in names]), ~sheet.out))
            self.causes.append(causes_of(sheet))
            self.lines.append(beside([sheet["key"], sheet["line"]]))
        if self.entity.name == "users":
            self.state_ids.append(check_state_ids(sheet))
            if not self.delta:
                self.known.people.add(sheet)
        teachers = primary_teachers(sheet)
        if teachers is not None and teachers.height:
            self.teachers.append(teachers)
        if self.entity.name == "enrollments" and not self.delta:
            students = ~certain(sheet["role"] != "student")
            self.known.enroll(sheet["class"].filter(students), sheet["user"].filter(students))
        marks = result_marks(sheet)
        if marks is not None:
            self.results.append(marks)

    def _settle(self) -> None:
        if not self.settled:
            if self.lines:
                self.held = self.known.keys(self.entity.name)
            self.known.settle(
                self.entity.name, self.good, stacked([*self.quarantined, self.unread()]), stacked(self.deleted),
                stacked(self.causes), delta=self.delta,
            )  # fmt: skip
        self.settled = True

    def finish(self, sheet: Sheet) -> Outcome:
        """The canonical outcome of a sheet whose references are all resolved."""
        self.checks.rows(sheet, delta=self.delta)
        frame = canonical.frame_of(sheet)
        if self.parts.kept:
            frame = frame.with_columns(hash=frame["hash"] ^ kept_rows.marks(frame["key"], self.parts.kept))
        partial, alike = (_those_in(frame["key"], keys) for keys in (nesting.robbed(self.parts), self.alike))
        return Outcome(frame, sheet.issues(), kept_out(sheet), sheet.deleted, partial, alike, self.parts.kept)

    def finish_together(self, sheets: list[Sheet]) -> Iterator[Outcome]:
        """Resolves references inside the entity, which needs all its keys. Sheets are let go one by one."""
        self._settle()
        if self.entity.is_tree:
            sheets = [joined(sheets)]
        while sheets:
            sheet = sheets.pop(0)
            check_references(sheet, self.known, own=True)
            if self.entity.name == "academicSessions":
                check_sessions(sheet, self.known)
            if self.entity.is_tree:
                yield from self._finish_tree(sheet)
            else:
                yield self.finish(sheet)

    def _finish_tree(self, sheet: Sheet) -> Iterator[Outcome]:
        """The outcome of all rows of a tree, and that of records that stay and get other children."""
        known, said = self.known.keys(self.entity.name), no_parents()
        nothing = Outcome(canonical.empty(self.entity), issues.empty(), no_keys(), no_keys(), no_keys())
        if (sheet.frame.height or sheet.deleted.len()) and known.len() > int((~sheet.out).sum()):
            yield replace(nothing, asks=True)
            said = self.parents(self.entity.name)
        others = derive_children(sheet, known, said)
        yield self.finish(sheet)
        if others.height:
            yield replace(nothing, implied=others)

    def close(self) -> Iterator[Outcome]:
        """Makes the entity's keys known to the next entities and reports what only shows at its end."""
        self._settle()
        implied = no_keys() if self.implied is None else self.implied
        if implied.len():
            yield self._lone(implied)
        found = nesting.leftovers(self.parts, stacked([*self.keys, *self.deleted, implied]), self.known)
        if self.lines:
            near = nearly_equal(stacked(self.lines), self.held, self.entity.name)
            found.append(findings(ID_004, self.entity, near, "sourcedId"))
        if self.state_ids:
            shared = check_shared(stacked(self.state_ids))
            found += [findings(ID_007, self.entity, rows, name) for name, rows in shared.items()]
        if self.teachers:
            found.append(findings(CLS_003, self.entity, check_primary_teachers(pl.concat(self.teachers)), "primary"))
        if self.enrolled is not None:
            found += self.enrolled.close()
        if self.results:
            found.append(findings(GRB_009, self.entity, check_repeated(pl.concat(self.results)), "lineItem"))
        found += self.checks.close(self.entity, delta=self.delta)
        last = issues.collect(found)
        if last.height:
            yield Outcome(canonical.empty(self.entity), last, no_keys(), no_keys(), no_keys())

    def _lone(self, keys: pl.Series) -> Outcome:
        """The outcome of owners of which only component rows came."""
        sheet = nesting.lone(self.entity, self.version, keys, self.parts)
        good = sheet.frame.filter(~sheet.out).select("key", *(f.name for f in nesting.fed(self.entity)))
        partial = good["key"].filter(good["key"].is_in(as_list(nesting.robbed(self.parts))))
        none = canonical.empty(self.entity)
        return Outcome(none, sheet.issues(), kept_out(sheet), no_keys(), partial, kept=self.parts.kept, implied=good)


def _set_aside(sheet: Sheet, keys: pl.Series, repeated: pl.Series | None) -> tuple[Sheet, Sheet]:
    """The sheet without the rows that have to be looked at together with others of the file, and those."""
    later = nowhere(sheet.frame.height)
    if keys.len():
        later |= certain(sheet["key"].is_in(as_list(keys)))
    if repeated is not None and repeated.len():
        later |= certain(may_be_alike(sheet, repeated))
    return split(sheet, later)


def _those_in(keys: pl.Series, wanted: pl.Series) -> pl.Series:
    return keys.filter(keys.is_in(as_list(wanted))) if wanted.len() else no_keys()


def kept_out(sheet: Sheet) -> pl.Series:
    """The keys of the rows that are kept out, each once."""
    if not sheet.out.any():
        return no_keys()
    return distinct(filled(sheet["key"].filter(sheet.out)))


def causes_of(sheet: Sheet) -> pl.DataFrame:
    """Why rows are kept out: columns key and cause (the root one, else the row itself)."""
    if not sheet.out.any():
        return _NO_CAUSES
    own = pl.lit(f"{sheet.entity.name}:") + pl.col("key")
    found = [f for f in sheet.findings if f.height and RULES[f["code"][0]].action is Action.QUARANTINE]
    reasons = issues.collect(found).select("key", cause=pl.col("cause").fill_null(own))
    reasons = rows_of(reasons, present(reasons["key"])).sort("key", "cause")
    if reasons["key"].n_unique() == reasons.height:
        return reasons
    return reasons.unique("key", keep="first", maintain_order=True)
