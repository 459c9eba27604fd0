"""The suite that every connector must pass, ours and third parties'. It needs pytest only where it is run.

Inherit ``ConnectorContract`` in a test class and give it a fixture ``case``:

    class TestMySystem(ConnectorContract):
        @pytest.fixture
        def case(self, tmp_path): return ContractCase(spec=SPEC, context=..., unreachable=..., wrong_config=...)
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import polars as pl
from pydantic import BaseModel, ValidationError

from connectors.protocol import (
    Batch,
    Capability,
    ConnectorError,
    ConnectorSpec,
    Intent,
    Package,
    Pull,
    SourceContext,
    pair_marks,
    utc_now,
)
from transforms import issues
from transforms.catalogue import CATALOGUE, Kind, Privacy
from transforms.validate.alike import marks_of

_LINE = "line"
_FIRST_LINE = 2
_METADATA = "metadata."


@dataclass(frozen=True, slots=True)
class ContractCase:
    """One connector with a system behind it.

    ``context`` makes a context whose system holds at least one readable file of more than three rows; ``unreachable``
    one whose system does not answer or is not there. ``wrong_config`` is a configuration that must be refused.
    """

    spec: ConnectorSpec
    context: Callable[[], SourceContext]
    unreachable: Callable[[], SourceContext]
    wrong_config: Mapping[str, Any]


class ConnectorContract:
    """The tests. Each method gets a ``ContractCase``; all are synchronous, so that no plugin is needed."""

    def test_the_kind_is_a_plain_name(self, case: ContractCase) -> None:
        """A kind is stored and shown: lower case letters, digits and underscores."""
        _demand(bool(re.fullmatch(r"[a-z][a-z0-9_]{1,40}", case.spec.kind)), "kind must be a plain lower-case name")
        _demand(bool(case.spec.title.strip()), "title must say what people call the system")

    def test_the_configuration_is_a_model_that_refuses_what_it_does_not_know(self, case: ContractCase) -> None:
        """A misspelt setting must not be taken for its default."""
        model = case.spec.config_model
        _demand(issubclass(model, BaseModel), "config_model must be a pydantic model")
        _refuses(model, {"no_such_setting": 1})
        _refuses(model, case.wrong_config)
        _demand(bool(model.model_json_schema()), "config_model must have a JSON schema for the admin API")

    def test_a_kit_is_made_for_members_of_the_configuration(self, case: ContractCase) -> None:
        """What a district chose for its source must do for what it installs."""
        kit = case.spec.kit
        if kit is None:
            return
        members = set(case.spec.config_model.model_fields)
        _demand(set(kit.options.model_fields) <= members, "the options of a kit must be members of the configuration")
        _refuses(kit.options, {"no_such_option": 1})
        made = kit.make(kit.options(), utc_now())
        _demand(len(made) > 0, "a kit must be made with the defaults of its options")
        _demand(bool(re.fullmatch(r"[a-z0-9._-]+", kit.name)), "a kit must have the name of a file")

    def test_opening_reaches_nothing(self, case: ContractCase) -> None:
        """An unreachable system shows at the first pull, not before."""
        source = case.spec.open(case.unreachable())
        _demand(len(source.capabilities) > 0, "a source must say what it can do")
        _demand(all(isinstance(c, Capability) for c in source.capabilities), "capabilities must be of Capability")

    def test_an_unreachable_system_is_an_error_with_an_intent(self, case: ContractCase) -> None:
        """Whether to try again is decided where the failure is seen."""
        try:
            pull = _pull(case, case.unreachable())
        except ConnectorError as error:
            _demand(isinstance(error.intent, Intent), "intent must be of Intent")
            _demand(bool(re.fullmatch(r"[a-z][a-z0-9_]*", error.code)), "code must be a plain lower-case name")
            _demand(bool(error.message.strip()), "message must say what to do")
        else:
            pull.package.close()
            raise AssertionError("pulling from an unreachable system must raise ConnectorError")

    def test_a_package_names_files_of_the_standard(self, case: ContractCase) -> None:
        """Version, modes and digest are what the hub goes by."""
        with closing(_package(case)) as package:
            files = CATALOGUE.files(package.version)
            _demand(len(package.mode) > 0, "the case must supply at least one file")
            for file, mode in package.mode.items():
                _demand(file in files, f"{file} is no file of OneRoster {package.version}")
                _demand(mode in {"bulk", "delta"}, "mode must be bulk or delta")
            _demand(bool(re.fullmatch(r"[0-9a-f]{64}", package.digest)), "digest must be SHA-256 in hex")

    def test_frames_have_the_raw_shape(self, case: ContractCase) -> None:
        """String columns under the standard's names, null for blank, and the line of each row."""
        with closing(_package(case)) as package:
            for file in package.mode:
                header = CATALOGUE.files(package.version)[file].csv_header(package.version)
                last = 1
                for batch in package.batches(file):
                    last = _check_frame(batch.frame, header, last)

    def test_batches_are_bounded_and_can_be_read_again(self, case: ContractCase) -> None:
        """The size of a batch changes nothing about the rows or the findings."""
        with closing(_package(case)) as package:
            for file in package.mode:
                small, large = list(package.batches(file, 3)), list(package.batches(file))
                _demand(all(b.frame.height <= 3 for b in small), "a batch must not be larger than asked for")
                _demand(_rows(small).equals(_rows(large)), "batches of any size must hold the same rows in order")
                _demand(_findings(small).equals(_findings(large)), "batches of any size must report the same findings")
                rows = package.rows(file)
                _demand(rows is None or rows >= _rows(large).height, "rows must not be fewer than batches yield")

    def test_keys_are_those_of_the_rows(self, case: ContractCase) -> None:
        """The cheap look at the keys must agree with the rows."""
        with closing(_package(case)) as package:
            for file in package.mode:
                keys, rows = package.keys(file), _rows(list(package.batches(file)))
                _demand(keys.to_list() == rows["sourcedId"].to_list(), "keys must be the column sourcedId of all rows")

    def test_marks_of_enrollments_are_those_of_the_rows(self, case: ContractCase) -> None:
        """The cheap look at who is in which class must agree with the rows; it may see more of them."""
        with closing(_package(case)) as package:
            if "enrollments" in package.mode:
                seen = Counter(pair_marks(package, "enrollments"))
                there = Counter(marks_of(_rows(list(package.batches("enrollments")))))
                _demand(not there - seen, "marks must be those of all rows")

    def test_the_same_data_has_the_same_digest(self, case: ContractCase) -> None:
        """An unchanged system must not cost a sync."""
        with closing(_package(case)) as first, closing(_package(case)) as second:
            _demand(first.digest == second.digest, "two pulls of the same data must have the same digest")

    def test_findings_are_declared_and_hold_no_personal_data(self, case: ContractCase) -> None:
        """Findings go to reports and logs, so no private cell may show in them."""
        with closing(_package(case)) as package:
            found = [package.issues]
            secret: set[str] = set()
            for file in package.mode:
                batches = list(package.batches(file))
                found.extend(b.issues for b in batches)
                secret |= _private_values(package, file, batches)
            everything = issues.collect(found)
            _demand(set(everything["code"]) <= set(issues.RULES), "every code must be declared in transforms.issues")
            shown = "\n".join(everything[c].drop_nulls().str.join("\n").item() for c in ("field", "cause"))
            _demand(not any(value in shown for value in secret), "a finding must not repeat a cell of the data")

    def test_closing_twice_is_fine(self, case: ContractCase) -> None:
        """Whoever cleans up may not know whether somebody did already."""
        package = _package(case)
        package.close()
        package.close()

    def test_a_cursor_is_json(self, case: ContractCase) -> None:
        """The hub keeps it in the database and hands it to the next pull."""
        first = _pull(case, case.context())
        first.package.close()
        _demand(first.cursor is None or _is_json(dict(first.cursor)), "a cursor must be a JSON object")
        again = asyncio.run(case.spec.open(case.context()).pull(first.cursor))
        again.package.close()

    def test_a_cursor_of_a_source_that_tells_what_changed_brings_that_alone(self, case: ContractCase) -> None:
        """Of a system in which nothing changed nothing new may come, and nothing may seem to be gone."""
        if Capability.CHANGES not in case.spec.open(case.context()).capabilities:
            return
        first = _pull(case, case.context())
        with closing(first.package) as package:
            known = {file: set(package.keys(file)) for file in package.mode}
        again = asyncio.run(case.spec.open(case.context()).pull(first.cursor))
        with closing(again.package) as package:
            for file, mode in package.mode.items():
                _demand(set(package.keys(file)) <= known[file], "a pull of changes must not make anything up")
                rows = _rows(list(package.batches(file)))
                told = mode != "delta" or rows["status"].is_in(["active", "tobedeleted"]).fill_null(value=False).all()
                _demand(bool(told), "rows of changes must say whether they are active or tobedeleted")
        for file, present in again.present.items():
            _demand(set(present) == known[file], "all ids that the system has must be those of its rows")


def _demand(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)


def _refuses(model: type[BaseModel], config: Mapping[str, Any]) -> None:
    try:
        model.model_validate(config)
    except ValidationError:
        return
    raise AssertionError("config_model must refuse a wrong configuration")


def _pull(case: ContractCase, context: SourceContext) -> Pull:
    return asyncio.run(case.spec.open(context).pull(None))


def _package(case: ContractCase) -> Package:
    return _pull(case, case.context()).package


def _check_frame(frame: pl.DataFrame, header: tuple[str, ...], last: int) -> int:
    """Checks one frame; the line of its last row."""
    _demand(frame.columns[-1] == _LINE and frame[_LINE].dtype == pl.UInt32, "line (UInt32) must be the last column")
    text = [c for c in frame.columns if c != _LINE]
    _demand(all(frame[c].dtype == pl.String for c in text), "all cells must be String")
    _demand(all(c in header or c.startswith(_METADATA) for c in text), "columns must be the standard's or metadata")
    _demand("sourcedId" in text, "sourcedId must be there")
    _demand(not any((frame[c] == "").any() for c in text), "blank cells must be null")
    lines = [last, *frame[_LINE].to_list()]
    _demand(all(a < b for a, b in pairwise(lines)), "lines must grow")
    _demand(len(lines) == 1 or lines[1] >= _FIRST_LINE, "line 1 is the header")
    return int(lines[-1])


def _rows(batches: list[Batch]) -> pl.DataFrame:
    return pl.concat([b.frame for b in batches])


def _findings(batches: list[Batch]) -> pl.DataFrame:
    return issues.collect(b.issues for b in batches).sort("line", "code", nulls_last=True)


def _private_values(package: Package, file: str, batches: list[Batch]) -> set[str]:
    """Free text of more than a few letters in columns that not every application sees, and names."""
    entity = CATALOGUE.files(package.version)[file]
    names = {f.csv_name for f in entity.fields if f.privacy is not Privacy.DIRECTORY or _is_name(f.name)}
    free = names - {f.csv_name for f in entity.fields if f.kind is not Kind.STRING}
    frame = _rows(batches)
    cells = (v for c in frame.columns if c in free for v in frame[c].drop_nulls().to_list())
    return {v for v in cells if len(v) > 3}


def _is_name(field: str) -> bool:
    return field.endswith("Name") or field == "username"


def _is_json(value: object) -> bool:
    if isinstance(value, dict):
        return all(isinstance(k, str) and _is_json(v) for k, v in value.items())
    if isinstance(value, list):
        return all(_is_json(v) for v in value)
    return value is None or isinstance(value, (str, int, float, bool))
