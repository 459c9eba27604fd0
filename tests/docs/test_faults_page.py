"""The page of faults names every fault of the matrix, and tests that there are."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.webhooks.fault_cells import CELLS
from tests.webhooks.faults import FAULTS

TESTS = Path(__file__).parents[1]
#: The matrix: a word or two of each fault that has to be on the page.
MATRIX = (
    "200, slowly", "gigabyte", "trickles", "never answers", "closes after the headers", "301 to an address inside",
    "400 once", "400 always", "410", "429 without", "Retry-After in seconds", "Retry-After as a date", "31 years",
    "500 now and then", "has expired", "another host's", "DNS fails", "rebinding", "IPv6", "refused",
    "middle of the body", "before sending", "while it waits", "before noting", "after noting", "outlives its lease",
    "clock jumps", "restart", "failover", "NOTIFY is off", "listener", "stays open", "backup", "secret rotated",
    "endpoint", "grant edited", "deleted", "revoked",
)  # fmt: skip


def test_every_fault_of_the_matrix_is_on_the_page() -> None:
    names = [fault.name for faults in FAULTS.values() for fault in faults]
    assert [word for word in MATRIX if not any(word in name for name in names)] == []
    assert len(set(names)) == len(names)
    assert {cell.name for cell in CELLS} <= set(names)


def test_the_tests_that_it_names_are_there() -> None:
    named = {test for faults in FAULTS.values() for fault in faults for test in fault.tests}
    there = set()
    for file in {test.partition("::")[0] for test in named}:
        tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
        there |= {f"{file}::{n.name}" for n in tree.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert named - there == set()
