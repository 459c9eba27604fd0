"""Where a transform moves a value to a column that more apps see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from transforms.catalogue import CATALOGUE, Privacy, Version
from transforms.shaping.checking import Checked
from transforms.shaping.steps import CheckedSteps

_VERSIONS: tuple[Version, ...] = ("1.1", "1.2")
#: From what every app sees to what fewest do; what only counts as a class of its own stands last.
_ORDER = (Privacy.DIRECTORY, Privacy.CONTACT, Privacy.DEMOGRAPHIC, Privacy.CREDENTIAL)


@dataclass(frozen=True, slots=True)
class Exposure:
    """``column`` of a file takes values of ``source``, whose privacy class is ``privacy``; its own class is wider."""

    file: str
    column: str
    source: str
    privacy: str


def exposures(transform: Checked) -> list[Exposure]:
    """All such places in the steps on OneRoster files, in order. Of tables nobody knows the classes."""
    found = [one for file, steps in transform.files.items() for one in _of_file(file, steps)]
    return sorted(found, key=lambda e: (e.file, e.column, e.source))


def _of_file(file: str, steps: CheckedSteps) -> list[Exposure]:
    classes = _classes(file)
    pairs = [(target, source) for target, source in steps.steps.columns.items()]
    pairs += [(target, source) for target, sql in steps.set.items() for source in sql.columns]
    return [
        Exposure(file, target, source, classes[source].value)
        for target, source in pairs
        if source in classes and _ORDER.index(classes[source]) > _ORDER.index(classes.get(target, _other(file)))
    ]


def _classes(file: str) -> Mapping[str, Privacy]:
    entities = [CATALOGUE.files(v)[file] for v in _VERSIONS if file in CATALOGUE.files(v)]
    return {f.csv_name: f.privacy for entity in entities for f in entity.fields if f.csv_name}


def _other(file: str) -> Privacy:
    """The class of a file's metadata."""
    for version in _VERSIONS:
        entity = CATALOGUE.files(version).get(file)
        if entity is not None and "metadata" in entity:
            return entity["metadata"].privacy
    return Privacy.DIRECTORY
