"""What may be told of an answer without telling of anybody: names that are a protocol's own, kinds, lengths, counts.

A value never comes through, nor does a name that could be one: a name is told where all its words are OneRoster's or
those of protocols, or where most of many objects side by side have it, as members of a schema are.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from transforms.catalogue import CATALOGUE

#: Words of paths, queries, headers and members that systems share; nobody is called so.
_COMMON = """
about absence accept access active actual add additional address admin after agent alert all allow alternate api app
application array assessment assignment association at attendance authorization auth available base basic bearer
before begin body boolean bound building bulk by cache calendar call campus category change changes charset city class
client code collection comma comments community composite contact content control cookie core count country course
created csv current cursor data date day days dcid default deleted delta demographic department descriptor description
detail digest direct disabled district document domain ed education effective email employee enabled encoding end
ending enrolled enrollment entity entries entry enumeration env environment error errors etag event events exit expand
expires extension extensions external failed fax fi fields file filter first flag format from full gender grade
graduation group groups guardian has header health hidden high home homeroom host href html http https id ids
identifier identity ims in included index infinite info integration internal is issued item items job json key keys
kind language last level limit link links list local locale location lock login low major max member members message
metadata method middle min minor mode modified month more name names native next none note notes number object objects
odata offset ok old on oneroster open operation option options or order organization origin owner page pages paging
parent partial password path paths pattern period permission person personal phone plugin pool position post
powerquery preferred prev previous primary private process profile program project provider public publish purpose
query race range rank rate raw read ready reason record records ref reference refresh region rel related remaining
remote request requests required reset resource resources response rest result results retry revision rights role
roles room roster rostering row rows run schedule schema school schools scope score search secret section sections
security self send sequence server service session set short size skip sort source sourced staff standard start state
status step street student students sub subject submit success suffix sum support sync system table tables tag target
teacher teachers team template tenant term terms test text time timestamp title to token top total track transaction
transfer type unique unit until update updated uri url use user users valid value values vary version view via web
website week width window with work ws xml year years zip zone imsx odata
validation x
"""
_SPLIT = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_BETWEEN = re.compile(r"[A-Za-z0-9_.:$@-]{1,64}")
_MEMBER = re.compile(r"[A-Za-z_@$][A-Za-z0-9_.:$-]{0,63}")
_LONGEST_NUMBER = 2
_FEWEST, _ITEMS, _MEMBERS, _DEEPEST = 3, 100, 80, 8
_LIKE: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (name, re.compile(pattern))
    for name, pattern in (
        ("blank", r"\s*"), ("boolean", r"(?i)true|false|yes|no|[yn]"), ("digits", r"\d+"),
        ("date", r"\d{4}-\d\d-\d\d"), ("moment", r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d.*"),
        ("uuid", r"(?i)[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), ("email", r"[^@\s]+@[^@\s]+"),
        ("address", r"https?://\S+"), ("word", r"\w+"),
    )
)  # fmt: skip


def _words(name: str) -> list[str]:
    return [word.lower() for word in _SPLIT.findall(name)]


_KNOWN = frozenset(_COMMON.split()) | {
    word
    for entity in CATALOGUE.entities
    for name in (entity.name, entity.csv_file or "", *(f.name for f in entity.fields))
    for word in _words(name)
}


def plain(name: str) -> bool:
    """Whether a name has nothing but words that protocols and OneRoster use, and small numbers."""
    words = _words(name)
    return (
        bool(words) and _BETWEEN.fullmatch(name) is not None
        and all(len(word) <= _LONGEST_NUMBER if word.isdigit() else word in _KNOWN for word in words)
    )  # fmt: skip


def shape(values: Sequence[Any], hide: Callable[[str], str], depth: int = 0) -> dict[str, Any]:
    """The kinds of some JSON values side by side, with lengths and counts. ``hide``: what stands for a hidden name."""
    out: dict[str, Any] = {}
    kinds = {"null": type(None), "boolean": bool, "integer": int, "number": float}
    for name, kind in kinds.items():
        if count := sum(type(value) is kind for value in values):
            out[name] = count
    texts = [value for value in values if isinstance(value, str)]
    if texts:
        out["text"] = {"count": len(texts), **_lengths(texts), "like": Counter(_like(text) for text in texts)}
    lists = [value for value in values if isinstance(value, list)]
    if lists:
        items = [item for one in lists for item in one[:_ITEMS]][: _ITEMS * 5]
        out["list"] = {"count": len(lists), **_lengths(lists)}
        out["list"] |= {"of": shape(items, hide, depth + 1)} if items and depth < _DEEPEST else {}
    objects = [value for value in values if isinstance(value, dict)]
    if objects:
        out["object"] = {"count": len(objects)}
        out["object"] |= {"members": _members(objects, hide, depth + 1)} if depth < _DEEPEST else {}
    return out


def _lengths(values: Iterable[Any]) -> dict[str, int]:
    lengths = [len(value) for value in values]
    return {"shortest": min(lengths), "longest": max(lengths)}


def _like(text: str) -> str:
    return next((name for name, pattern in _LIKE if pattern.fullmatch(text)), "other")


def _members(objects: Sequence[Mapping[str, Any]], hide: Callable[[str], str], depth: int) -> dict[str, Any]:
    counts = Counter(name for one in objects for name in one)
    values = {value for one in objects for value in one.values() if isinstance(value, str)}
    out: dict[str, Any] = {}
    for name, count in counts.most_common(_MEMBERS):
        shared = len(objects) >= _FEWEST and 2 * count >= len(objects) and name not in values
        told = plain(name) or (shared and _MEMBER.fullmatch(name) is not None and not re.search(r"\d{3}", name))
        out[name if told else hide(name)] = shape([one[name] for one in objects if name in one], hide, depth)
    return out | ({"more": len(counts) - _MEMBERS} if len(counts) > _MEMBERS else {})
