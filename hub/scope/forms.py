"""Documents taken apart as text: what an app does not see is cut out, which costs a fraction of parsing and dumping.

The hub renders all documents itself (transforms.render): members without spaces, in the order of the catalogue. So one
regular expression tells where each stands. It holds for the whole text and reads strings as JSON has them, so that data
may look like a member as much as it likes. A text of another form is no match: metadata may be deeper.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from functools import cache, cached_property
from itertools import groupby
from operator import itemgetter

from transforms.catalogue import Field, Kind

_STRING = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_PLAIN = r'"[^"]*+"'  # quicker, where the whole text has no backslash
_LIST = r"\[[^][]*+\]"
#: What values of a kind are in most documents without a backslash: a bracket in a string is no match, never another
#: one, as behind it there is no member: a quote before a name begins a key, whatever the strings.
_USUAL = {
    Kind.REF: r"\{[^{}]*+\}", Kind.COMPONENT: rf"\[(?:[^][]++|{_LIST})*+\]",
    **dict.fromkeys((Kind.STRING, Kind.ENUM, Kind.BOOLEAN, Kind.DATE, Kind.DATETIME), _PLAIN),
}  # fmt: skip
#: How deep values are, lists around them not counted; what is not named is flat. Profiles have lists of credentials.
_DEPTHS = {
    Kind.REF: 1, Kind.USER_ID: 1, Kind.SCALE_VALUE: 1, Kind.OBJECTIVES: 2, Kind.OBJECTIVE_RESULTS: 3,
    Kind.COMPONENT: 3, Kind.METADATA: 4,
}  # fmt: skip


class Form:
    """The members of documents of one entity: which show, and which of these may change (``special``).

    ``first``: those of the latter of which nothing but the first letter shows, as a capital.
    """

    def __init__(
        self, members: Sequence[Field], shown: Collection[str], special: Collection[str], first: Collection[str] = ()
    ) -> None:
        special = frozenset(special)
        runs = groupby(members, lambda f: (f.name if f.name in special else "") if f.name in shown else None)
        self._runs = [(name, tuple(fields)) for name, fields in runs]
        shown_runs = [name for name, _ in self._runs if name is not None]
        self._special = [(place, name) for place, name in enumerate(shown_runs) if name]
        self._first = frozenset(first)
        self._behind: dict[int, tuple[re.Pattern[bytes], list[tuple[int, str]]]] = {}

    def cut(self, text: str, change: Callable[[str, str], str]) -> str | None:
        """The members of ``text`` (each ``,"name":value``) that show; None for a text of another form.

        ``change`` makes of the name and the text of a special one what shows of it, which may be empty.
        """
        match = (None if "\\" in text else self._usual.fullmatch(text)) or self._any.fullmatch(text)
        if match is None:
            return None
        if not self._special:
            return "".join(match.groups())
        parts = list(match.groups())
        for place, name in self._special:
            if parts[place]:
                parts[place] = change(name, parts[place])
        return "".join(parts)

    def cut_all(
        self, records: Sequence[bytes], start: int, change: Callable[[str, bytes], bytes]
    ) -> list[bytes | None]:
        """Like ``cut`` for many, in UTF-8, which have ``start`` bytes before their members; None for unusual ones.

        All is done for a member of all records at once, and ``change`` asked for few: calls are most of what it costs.
        """
        pattern, special = self._behind.get(start) or self._behind.setdefault(start, self._usual_behind(start))
        matches = [None if b"\\" in record else pattern.fullmatch(record) for record in records]
        columns: list[Sequence[bytes]] = list(zip(*[match.groups(b"") for match in matches if match], strict=True))
        for place, name in special if columns else ():
            columns[place] = [change(name, member) if member else member for member in columns[place]]
        shown = map(b"".join, zip(*columns, strict=True))
        return [None if match is None else next(shown) for match in matches]

    @cached_property
    def _usual(self) -> re.Pattern[str]:
        return re.compile("".join(self._groups(_usual_member)))

    @cached_property
    def _any(self) -> re.Pattern[str]:
        return re.compile("".join(self._groups(_member)))

    def _usual_behind(self, start: int) -> tuple[re.Pattern[bytes], list[tuple[int, str]]]:
        """The expression with so many bytes before it, and which groups are special, by their number from 0."""
        before, groups, number = f"(?s:.{{{start}}})", self._groups(_usual_member), 0
        special = []
        if self._runs and self._runs[0][0] == "":
            groups[0] = f"({before}{groups[0].removeprefix('(')}"
        else:
            groups.insert(0, f"({before})")
            number = 1
        for place, (name, _) in enumerate(self._runs, start=number):
            if name in self._first:
                groups[place] = rf'(?:(,"{name}":"{_CAPITAL})[^"]*+("))?+'
                number += 1
            elif name:
                special.append((number, name))
            number += name is not None
        return re.compile("".join(groups).encode()), special

    def _groups(self, member: Callable[[Field], str]) -> list[str]:
        """Expressions, with a group for each run of members that show, and of the special ones for each."""
        runs = [(name is None, "".join(map(member, fields))) for name, fields in self._runs]
        return [f"(?:{run})" if hidden else f"({run})" for hidden, run in runs]


def _capital() -> str:
    """The most usual letters that are capitals of themselves, in UTF-8: of Latin, which takes two bytes at most."""
    letters = [chr(code) for code in range(0x250) if chr(code).isalpha() and chr(code).upper() == chr(code)]
    pairs = [letter.encode() for letter in letters if not letter.isascii()]
    lasts = {lead: "".join(f"\\x{last:02x}" for _, last in group) for lead, group in groupby(pairs, itemgetter(0))}
    return "(?:[A-Z]|" + "|".join(f"\\x{lead:02x}[{last}]" for lead, last in lasts.items()) + ")"


_CAPITAL = _capital()


def end_of(field: Field, text: bytes, place: int, value: int) -> int:
    """Where a member of references or entries ends, which begins at ``place``, its value at ``value``.

    Less than 0 where it is not as nearly all texts without a backslash have it. ``find`` looks at many bytes at a time,
    an expression at each by itself.
    """
    opening, closing = (b"[", b"]") if field.many else (b"{", b"}")
    end = text.find(closing, value) + 1
    if end and text.startswith(opening, value) and text.find(opening, value + 1, end) < 0:
        return end
    match = _one(field).match(text, place)
    return -1 if match is None else match.end()


@cache
def _one(field: Field) -> re.Pattern[bytes]:
    """A member that is there, as nearly all texts without a backslash have it."""
    return re.compile(_usual_member(field).removesuffix("?+").encode())


def _usual_member(field: Field) -> str:
    """A member as nearly all texts without a backslash have it."""
    usual = _LIST if field.many and field.kind is not Kind.COMPONENT else _USUAL.get(field.kind)
    if usual is None:
        usual = _nested(_DEPTHS.get(field.kind, 0) + field.many, _PLAIN)
    return rf'(?:,"{field.name}":{usual})?+'


def _member(field: Field) -> str:
    return rf'(?:,"{field.name}":{_nested(_DEPTHS.get(field.kind, 0) + field.many, _STRING)})?+'


def _nested(depth: int, string: str) -> str:
    """Any JSON value of no more than this depth. It may be lax about commas: texts are JSON."""
    flat = rf'{string}|[^][{{}}",]++'
    if not depth:
        return f"(?:{flat})"
    inner = _nested(depth - 1, string)
    return rf"(?:{flat}|\[(?:{inner},?+)*+\]|\{{(?:{string}:{inner},?+)*+\}})"
