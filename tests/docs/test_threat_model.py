"""The threat model names every threat and fault, and says of each no more than tests prove."""

from __future__ import annotations

from tests.docs.threats import NUMBERS, lines, marks


def test_every_number_has_one_line_in_order() -> None:
    assert tuple(line.number for line in lines()) == NUMBERS


def test_every_line_says_something() -> None:
    assert [line.number for line in lines() if not line.danger or not line.answer] == []


def test_marks_are_numbers_of_the_page() -> None:
    assert set(marks()) - set(NUMBERS) == set()


def test_states_are_what_the_marks_say() -> None:
    found = marks()
    wrong = []
    for line in lines():
        tested = line.number in found
        if line.state not in {"proven", "partly", "open"}:
            wrong.append(f"{line.number}: {line.state!r} is no state")
        elif line.state == "open" and tested:
            wrong.append(f"{line.number} is called open, but there is {found[line.number][0]}: partly or proven?")
        elif line.state != "open" and not tested:
            wrong.append(f"{line.number} is called {line.state}, but no test carries its mark")

    assert wrong == []


def test_what_is_not_proven_says_what_is_missing() -> None:
    wrong = [line.number for line in lines() if (line.state == "proven") == bool(line.missing)]

    assert wrong == []
