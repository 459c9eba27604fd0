"""Documents taken apart as text: what an app does not see is cut out, which costs a fraction of parsing and dumping.

The hub renders all documents itself (transforms.render): members without spaces, in the order of the catalogue. So one
regular expression tells where each stands. It holds for the whole text and reads strings as JSON has them, so that data
may look like a member as much as it likes. A text of another form is no match: metadata may be deeper.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from itertools import groupby

from transforms.catalogue import Field, Kind

_STRING = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_PLAIN = r'"[^"]*+"'  # quicker, where the whole text has no backslash
#: How deep values are, lists around them not counted; what is not named is flat. Profiles have lists of credentials.
_DEPTHS = {
    Kind.REF: 1, Kind.USER_ID: 1, Kind.SCALE_VALUE: 1, Kind.OBJECTIVES: 2, Kind.OBJECTIVE_RESULTS: 3,
    Kind.COMPONENT: 3, Kind.METADATA: 4,
}  # fmt: skip


class Form:
    """The members of documents of one entity: which show, and which of these may change (``special``)."""

    def __init__(self, members: Sequence[Field], shown: Collection[str], special: Collection[str]) -> None:
        special = frozenset(special)
        runs = groupby(members, lambda f: (f.name if f.name in special else "") if f.name in shown else None)
        self._runs = [(name, tuple(fields)) for name, fields in runs]
        shown_runs = [name for name, _ in self._runs if name is not None]
        self._special = [(place, name) for place, name in enumerate(shown_runs) if name]

    def cut(self, text: str, change: Callable[[str, str], str]) -> str | None:
        """The members of ``text`` (each ``,"name":value``) that show; None for a text of another form.

        ``change`` makes of the name and the text of a special one what shows of it, which may be empty.
        """
        match = (self._escaping if "\\" in text else self._plain).fullmatch(text)
        if match is None:
            return None
        if not self._special:
            return "".join(match.groups())
        parts = list(match.groups())
        for place, name in self._special:
            if parts[place]:
                parts[place] = change(name, parts[place])
        return "".join(parts)

    @cached_property
    def _plain(self) -> re.Pattern[str]:
        return re.compile(self._source(_PLAIN))

    @cached_property
    def _escaping(self) -> re.Pattern[str]:
        return re.compile(self._source(_STRING))

    def _source(self, string: str) -> str:
        """A regular expression with a group for each run of members that show, and of the special ones for each."""
        runs = [(name is None, "".join(_member(field, string) for field in fields)) for name, fields in self._runs]
        return "".join(f"(?:{run})" if hidden else f"({run})" for hidden, run in runs)


def _member(field: Field, string: str) -> str:
    return rf'(?:,"{field.name}":{_nested(_DEPTHS.get(field.kind, 0) + field.many, string)})?+'


def _nested(depth: int, string: str) -> str:
    """Any JSON value of no more than this depth. It may be lax about commas: texts are JSON."""
    flat = rf'{string}|[^][{{}}",]++'
    if not depth:
        return f"(?:{flat})"
    inner = _nested(depth - 1, string)
    return rf"(?:{flat}|\[(?:{inner},?+)*+\]|\{{(?:{string}:{inner},?+)*+\}})"
