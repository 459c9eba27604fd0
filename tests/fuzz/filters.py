"""Coverage-guided fuzzing of filters: ``make fuzz``; the tests run a short piece of it.

Whatever is sent is read or refused; what was read is the same when it is written down and read again; and what becomes
of it in SQL never holds a value, only places for values.
"""

from __future__ import annotations

import importlib
import sys
from contextlib import suppress
from pathlib import Path

from hub.api.oneroster import compare
from hub.api.oneroster.filter import MOST_CLAUSES, MOST_TERMS, Clause, Filter, FilterError, is_name, parse
from hub.behaviour import Behaviour
from hub.store import conditions as sql
from hub.store.conditions import Condition
from transforms.catalogue import CATALOGUE, Kind

SEEDS = Path(__file__).parent / "filters"
WORDS = Path(__file__).parent / "filters.dict"
#: Modules whose branches guide the search.
MODULES = ["hub.api.oneroster.filter", "hub.api.oneroster.compare"]
EXACT = Behaviour(filter_case="exact", list_equal="same")
FIELDS = [
    (entity, field)
    for entity in CATALOGUE.entities
    for field in entity.body
    if field.kind not in {Kind.REF, Kind.COMPONENT, Kind.METADATA, Kind.USER_ID}
]
#: The texts that a field and a predicate can become: few, whatever the value is.
_texts: dict[tuple[str, str, str], set[str]] = {}
_MOST_TEXTS = 12


def check(data: bytes) -> None:
    """One input. Raises AssertionError, or whatever the code raises that it should not."""
    text = data.decode("utf-8", "surrogateescape")
    for most in (2, MOST_CLAUSES):
        with suppress(FilterError):
            _read(parse(text, most_clauses=most), most)


def _read(found: Filter, most: int) -> None:
    assert 1 <= len(found.clauses) <= most
    assert len(found.joins) == len(found.clauses) - 1
    assert sum(len(clause.values) for clause in found.clauses) <= MOST_TERMS
    assert all(is_name(name) for clause in found.clauses for name in clause.path)
    assert parse(_written(found), most_clauses=most) == found
    for clause in found.clauses:
        clause.value.encode()  # a text that PostgreSQL can be sent
        assert "\0" not in clause.value
        _compare(clause)


def _written(found: Filter) -> str:
    texts = []
    for clause in found.clauses:
        # A backslash before a quote would be read as its escape: such a value cannot be written down with doubled ones.
        value = clause.value.replace("\\'", "\\\0'").replace("'", "''").replace("\\\0''", "\\\\'")
        texts.append(f"{'.'.join(clause.path)}{clause.predicate.value}'{value}'")
    words = [" AND " if every else " OR " for every in found.joins]
    return "".join(part for pair in zip(texts, [*words, ""], strict=True) for part in pair)


def _compare(clause: Clause) -> None:
    _sound(compare.compared(sql.sourced_id(), clause), ("", "sourcedId", clause.predicate.value))
    for entity, field in FIELDS:
        if field.name == clause.path[0]:
            for behaviour in (Behaviour(), EXACT):
                found = compare.of_field(entity, field, clause, behaviour, sql.column(field))
                _sound(found, (entity.name, field.name, clause.predicate.value))
    _sound(compare.of_text(sql.metadata(clause.path[-1]), clause, EXACT), ("", "metadata", clause.predicate.value))


def _sound(found: Condition, place: tuple[str, str, str]) -> None:
    assert found.sql.count("$#") == len(found.values)
    texts = _texts.setdefault(place, set())
    texts.add(found.sql)
    assert len(texts) <= _MOST_TEXTS, f"the SQL of {place} depends on values"


def main() -> None:
    """Fuzzes until an input fails, or as long as libFuzzer's options say (``-max_total_time=60``, ``-runs=1000``).

    What it learns is kept in the folder that the first argument names, and a failing input is written there.
    """
    folder, *options = sys.argv[1:]
    learnt = Path(folder)
    learnt.mkdir(parents=True, exist_ok=True)
    atheris = importlib.import_module("atheris")
    for name in MODULES:
        module = sys.modules[name]
        for function in vars(module).copy().values():
            if getattr(function, "__module__", None) == name and hasattr(function, "__code__"):
                atheris.instrument_func(function)
    flags = [f"-dict={WORDS}", f"-artifact_prefix={learnt}/failed-", *options]
    atheris.Setup([sys.argv[0], *flags, str(learnt), str(SEEDS)], check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
