"""The kinds of keys: what two records have to share to be compared at all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from zlib import crc32

from transforms.matching.columns import Columns
from transforms.matching.hashes import U64, mixed


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of key, the size up to which its blocks are compared, and what it is made of: arrays of ``Columns``.

    Lists of arrays (tokens, nicknames) make a key in each combination. Kinds of ``register`` are made for small
    registers in which all may be spoilt; among families they find relatives.
    """

    name: str
    cap: int
    parts: tuple[str, ...]
    register: bool = False

    @property
    def seed(self) -> int:
        """Of its hashes."""
        return crc32(" ".join(self.parts).encode())

    def hashes(self, columns: Columns) -> Iterator[U64]:
        """The arrays of its hashes."""
        for arrays in product(*(_places(columns, part) for part in self.parts)):
            if all(array.any() for array in arrays):
                yield mixed(self.seed, *arrays)


def _places(columns: Columns, part: str) -> list[U64]:
    found: U64 | list[U64] = getattr(columns, part)
    return found if isinstance(found, list) else [found]


#: The place in this list is the ``kind`` of ``keys``: append, never reorder. Blocks bigger than their cap are left to
#: keys that say more; each broad kind has narrower ones beside it.
KINDS = (
    Kind("last token and birth date", 60, ("family_tokens", "born")),
    Kind("first name and birth date", 60, ("names", "born")),
    Kind("first name and last token", 12, ("names", "family_tokens")),
    Kind("last token, year, month and day in either order", 60, ("family_tokens", "year", "either")),
    Kind("beginnings of both names and year", 12, ("family_beginning", "first_beginning", "year")),
    Kind("middle name and birth date", 30, ("middle", "born")),
    Kind("home and birth date", 60, ("home", "born")),
    Kind("phone and first name", 60, ("names", "phone")),
    Kind("e-mail", 30, ("email",)),
    Kind("birth date, postcode and initial", 60, ("born", "postcode", "initial")),
    Kind("first name, last token and year", 30, ("names", "family_tokens", "year")),
    Kind("first name, last token, month and day", 30, ("names", "family_tokens", "month_day")),
    Kind("first name, last token and postcode", 30, ("names", "family_tokens", "postcode")),
    Kind("first name and home", 30, ("names", "home")),
    Kind("identifier", 30, ("ids",)),
    Kind("both names in either order, and year", 30, ("both_names", "year")),
    Kind("first name, last token and middle name", 30, ("names", "family_tokens", "middle")),
    Kind("initial, last token and postcode", 12, ("initial", "family_tokens", "postcode")),
    Kind("local part of the e-mail and initial", 12, ("local", "initial")),
    Kind("birth date", 6, ("born",), register=True),
    Kind("number of the house and postcode", 12, ("house", "postcode"), register=True),
    Kind("first name and postcode", 12, ("names", "postcode"), register=True),
    Kind("last token and number of the house", 12, ("family_tokens", "house"), register=True),
    Kind("beginning of the street, and number of the house", 12, ("street_beginning", "house"), register=True),
    Kind("last token", 6, ("family_tokens",), register=True),
    Kind("first name and year", 6, ("names", "year"), register=True),
    Kind("beginning of the street and postcode", 12, ("street_beginning", "postcode"), register=True),
)
