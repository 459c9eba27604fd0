"""docs/errors.md lists every error code, with the status that it is answered with."""

from __future__ import annotations

import re

from hub.errors import HTTP_STATUS, Code
from tests.docs.generate import DOCS

LINE = re.compile(r"^\| `(\w+)` \| (\d+|none) \| (.+) \| (.+) \|$", re.MULTILINE)
PAGE = (DOCS / "errors.md").read_text(encoding="utf-8")


def test_every_code_has_a_line_and_no_other() -> None:
    listed = [code for code, *_ in LINE.findall(PAGE)]

    assert sorted(listed) == sorted(code.value for code in Code)


def test_the_status_is_the_one_of_the_code() -> None:
    """Those that say none belong to commands, runs and workers."""
    for code, status, *_ in LINE.findall(PAGE):
        assert status == "none" or int(status) == HTTP_STATUS.get(Code(code), 500), code
        assert status != "none" or Code(code) not in HTTP_STATUS, code
