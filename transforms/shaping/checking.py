"""A definition with everything in it read and checked, ready to be applied; or every reason why it is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import orjson
from pydantic import ValidationError

from transforms.shaping.definition import LARGEST, Definition, as_json, mark
from transforms.shaping.mapping import CheckedMapping, check_mapping
from transforms.shaping.steps import CheckedSteps, DefinitionError, Fault, check_steps, known_files

_TOO_LARGE = Fault("", f"A definition has at most {LARGEST:,} bytes.")


@dataclass(frozen=True)
class Checked:
    """A transform whose names and expressions are right. ``files``: OneRoster file to its steps."""

    definition: Definition
    files: Mapping[str, CheckedSteps]
    mapping: CheckedMapping | None

    @cached_property
    def mark(self) -> str:
        """SHA-256 of the definition, in hex."""
        return mark(self.definition)


def check(definition: Definition) -> Checked:
    """Checks a whole definition. Raises DefinitionError with every fault and its place."""
    faults: list[Fault] = []
    if len(orjson.dumps(as_json(definition))) > LARGEST:  # before anything is made of it
        raise DefinitionError([_TOO_LARGE])
    files = {}
    for file, steps in definition.files.items():
        if file not in known_files():
            faults.append(Fault(f"files.{file}", f"OneRoster has no data file {file}.csv."))
        else:
            files[file] = check_steps(file, steps, f"files.{file}", faults)
    mapping = None if definition.mapping is None else check_mapping(definition.mapping, faults)
    if faults:
        raise DefinitionError(faults)
    return Checked(definition, files, mapping)


def load(value: Any) -> Checked:
    """Reads a definition as JSON gives it and checks it. Raises DefinitionError."""
    try:
        if len(orjson.dumps(value)) > LARGEST:
            raise DefinitionError([_TOO_LARGE])
    except orjson.JSONEncodeError:
        raise DefinitionError([Fault("", "A definition is a JSON object.")]) from None
    try:
        definition = Definition.model_validate(value)
    except ValidationError as error:
        raise DefinitionError([Fault(_path(d["loc"]), _message(d["msg"])) for d in error.errors()]) from None
    return check(definition)


def _message(text: str) -> str:
    return text.removeprefix("Value error, ")


def _path(loc: tuple[int | str, ...]) -> str:
    text = ""
    for part in (p for p in loc if p not in ("", "[key]")):
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
