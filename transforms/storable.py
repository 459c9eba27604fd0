"""Which texts can be an identifier of an object: what can be stored, and shown, as it is. Plain text, no columns."""

from __future__ import annotations

import re

#: In characters.
LONGEST = 255
UNSTORABLE = r"[\x00-\x1f\x7f-\x9f\u200b\u2028\u2029\u202a-\u202e\u2060\u2066-\u2069\ufeff]"
# Halves of surrogate pairs come from requests only: files are read as UTF-8.
_NOT_ALLOWED = re.compile(UNSTORABLE[:-1] + r"\ud800-\udfff]")


def storable(value: str) -> bool:
    """Whether one identifier can be stored and shown as it is, by the rules of transforms.validate.identifiers."""
    return 0 < len(value) <= LONGEST and value == value.strip() and _NOT_ALLOWED.search(value) is None
