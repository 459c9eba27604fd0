"""How a frozen body is stored: what is said of each of its records is the same but for the id, and is kept once. Pure.

A body of a hundred ids takes a tenth of its bytes so, which neither the database has to compress nor its log to hold.
All of what is said is in what is stored, so that a body that was frozen by one release is the same in the next.

Packed are 0x01, the length of a JSON array, that array, and the ids, 16 bytes each in the order of the body. The array:
what stands before and behind the changes, the forms, and the runs: (form, how many changes in a row). A form is what
stands around the id wherever it is told, so a form of a single text tells of no id. JSON begins with no 0x01.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

import orjson

_MARK = b"\x01"
_LENGTH_BYTES = 4
_ID_BYTES = 16
#: A UUID as it is written: its length, and where its dashes are.
_WRITTEN, _DASHES = 36, (8, 13, 18, 23)
Form = tuple[str, ...]


def packable(ids: Sequence[str]) -> bool:
    """Whether ids are UUIDs as PostgreSQL writes them; "" passes for one that is left out."""
    written = "".join(ids)
    digits = written.replace("-", "")
    count, rest = divmod(len(written), _WRITTEN)
    if rest or len(digits) != count * 2 * _ID_BYTES or not set(map(len, ids)) <= {0, _WRITTEN}:
        return False
    try:
        hexadecimal = len(bytes.fromhex(digits)) == count * _ID_BYTES and digits == digits.lower()
    except ValueError:
        return False
    return hexadecimal and all(written[at::_WRITTEN] == "-" * count for at in _DASHES)


def packed(before: bytes, behind: bytes, runs: Iterable[tuple[Form, int]], ids: bytes) -> bytes:
    """What is stored of a body. ``before``, ``behind``: the parts of it around its changes.

    ``runs``: the forms of the changes, each with how many in a row have it; ``ids``: 16 bytes for each that tells one.
    """
    numbers: dict[Form, int] = {}
    numbered = [(numbers.setdefault(form, len(numbers)), times) for form, times in runs]
    head = orjson.dumps([before.decode(), behind.decode(), list(numbers), numbered])
    return _MARK + len(head).to_bytes(_LENGTH_BYTES) + head + ids


def unpacked(stored: bytes) -> bytes:
    """The body of what is stored, which may be the body itself."""
    if not stored.startswith(_MARK):
        return stored
    start = len(_MARK) + _LENGTH_BYTES
    end = start + int.from_bytes(stored[len(_MARK) : start])
    before, behind, forms, runs = orjson.loads(stored[start:end])
    told: list[str] = []
    for form, times in runs:
        for _ in range(times):
            id_ = ""
            if len(forms[form]) > 1:
                id_ = str(UUID(bytes=stored[end : end + _ID_BYTES]))
                end += _ID_BYTES
            told.append(id_.join(forms[form]))
    return f"{before}{','.join(told)}{behind}".encode()
