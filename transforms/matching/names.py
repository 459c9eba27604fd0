"""Names in the form that they are compared in: folded, in tokens, without particles and suffixes.

What is made here stands beside the original, never in its place. Each function takes one value, so that the same code
serves one changed person and, once for each different value, a whole district.
"""

from __future__ import annotations

import re
from unicodedata import category, normalize

from transforms.matching.nicknames import groups

#: Left out of the set of a surname's tokens: sources keep and drop them as they like.
PARTICLES = frozenset((
    "de", "del", "della", "der", "den", "des", "di", "da", "do", "dos", "das", "du", "la", "las", "le", "les", "los",
    "lo", "el", "al", "ul", "van", "von", "vom", "zu", "ten", "ter", "bin", "bint", "ibn", "ben", "abu", "y", "e",
    "i", "san", "st", "ste", "af", "av", "ni", "nic", "mc", "mac", "o", "d", "abd",
))  # fmt: skip
SUFFIXES = {
    "jr": "jr", "junior": "jr", "jnr": "jr", "sr": "sr", "senior": "sr", "snr": "sr", "ii": "2", "2nd": "2", "iii": "3",
    "3rd": "3", "iv": "4", "4th": "4",
}  # fmt: skip
#: Letters that Unicode does not take apart.
_LETTERS = str.maketrans({
    "ß": "ss", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i", "ħ": "h", "ŋ": "n",
})  # fmt: skip
#: One of them that stands alone is an initial: one letter, as that of the name is. Þ. is the Þ of Þórdís.
_ALONE = re.compile(r"\b[ßþæœ]\b")
#: Stand for "no value".
NOTHING = frozenset((
    "", "unknown", "unk", "nfn", "nln", "nmn", "fnu", "lnu", "na", "n a", "none", "null", "nil", "no name", "not given",
    "x", "xx", "xxx", "xxxx", "no first name", "no last name", "no middle name", "blank",
))  # fmt: skip
#: A record with such a name is nobody.
_NOBODY = re.compile(
    r"(test|demo|dummy|sample|fake|training|sandbox)( ?(student|teacher|user|staff|account|parent|person))? ?\d*"
    r"|(student|teacher|staff|user|parent|pupil) ?\d+|vacant|vacancy|tbd|tba|placeholder|substitute teacher"
    r"|teacher staff|staff teacher|to be announced|to be determined"
)
#: How surnames end that have one form for men and one for women: Polish, Czech and Slovak, Russian, Ukrainian and
#: Bulgarian, Greek, Lithuanian. Sources write a daughter's name in her father's form, or do not.
_FORMS = (
    ("ski", "ska"), ("cki", "cka"), ("zki", "zka"), ("sky", "ska"), ("cky", "cka"), ("ski", "skaya"), ("sky", "skaya"),
    ("skyi", "ska"), ("ny", "na"), ("ny", "naya"), ("oy", "aya"), ("ov", "ova"), ("ev", "eva"), ("in", "ina"),
    ("yn", "yna"), ("", "ova"), ("os", "ou"), ("is", "i"), ("as", "iene"), ("as", "aite"), ("is", "yte"),
)  # fmt: skip
_STEM = 3
_QUOTES = str.maketrans(dict.fromkeys("'’‘`´ʻʼ.\"“”"))
_BETWEEN = re.compile(r"[\W_]+")
#: A name of two letters or more, and the initial behind it.
_WITH_INITIAL = re.compile(r"([^\W\d_]{2,}.*) ([a-z])")
Given = tuple[str, str, list[int] | None, str | None, str | None, bool]
Family = tuple[str, str | None, list[str], str | None, bool]


def folded(value: str) -> str | None:
    """NFKC, one case, no diacritics, no punctuation, single spaces; None where nothing or a placeholder is left."""
    text = (value if value.isascii() else normalize("NFKC", value)).lower().translate(_QUOTES)
    bare = text if text.isascii() else _bare(text)
    folded = _BETWEEN.sub(" ", bare).strip()
    # With its accents it is a name: Noné is not None.
    return None if not folded or (bare == text and folded in NOTHING) else folded


def _bare(text: str) -> str:
    text = _ALONE.sub(lambda letter: letter[0].translate(_LETTERS)[0], text)
    letters = normalize("NFKD", text.translate(_LETTERS)).translate(_QUOTES)
    return normalize("NFC", "".join(letter for letter in letters if category(letter)[0] != "M"))


def given(value: str) -> Given | None:
    """Of a given name: joined, its first token, the groups of nicknames, initial behind it, suffix, nobody."""
    text = folded(value)
    if text is None:
        return None
    bare, suffix = _without_suffix(text)
    behind = _WITH_INITIAL.fullmatch(bare)
    core, initial = behind.groups() if behind else (bare, None)
    joined, first = core.replace(" ", ""), core.partition(" ")[0]
    known = groups()
    return joined, first, known.get(joined) or known.get(first), initial, suffix, _NOBODY.fullmatch(text) is not None


def middle(value: str) -> tuple[str] | None:
    """Of a middle name: joined."""
    text = folded(value)
    return None if text is None else (_without_suffix(text)[0].replace(" ", ""),)


def preferred(value: str) -> tuple[str] | None:
    """Of a preferred name: joined."""
    text = folded(value)
    return None if text is None else (text.replace(" ", ""),)


def family(value: str) -> Family | None:
    """Of a family name: joined in order without particles, with them if any, its set of tokens, suffix, nobody."""
    text = folded(value)
    if text is None:
        return None
    bare, suffix = _without_suffix(text)
    every = bare.split(" ")
    tokens = [token for token in every if token not in PARTICLES] or every
    nobody = _NOBODY.fullmatch(text) is not None or text.isdecimal()
    whole = None if tokens == every else "".join(every)
    return "".join(tokens), whole, sorted(set(tokens)), suffix, nobody


def forms_of_one(one: str, other: str) -> bool:
    """Whether two surnames, as they are compared, are the forms for men and women of one: Kowalski, Kowalska."""
    for man, woman in ((one, other), (other, one)):
        for his, hers in _FORMS:
            stem = man.removesuffix(his)
            if len(stem) >= _STEM and man == stem + his and woman == stem + hers:
                return True
    return False


def suffix(value: str) -> tuple[str] | None:
    """Of a suffix: a number, or jr, sr."""
    text = folded(value)
    return None if text is None else (SUFFIXES.get(text, text),)


def _without_suffix(text: str) -> tuple[str, str | None]:
    """What stands before a suffix, and the suffix."""
    before, _, last = text.rpartition(" ")
    return (before, SUFFIXES[last]) if before and last in SUFFIXES else (text, None)
