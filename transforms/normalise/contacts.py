"""E-mail addresses and telephone numbers. A local part is never changed; what cannot be an address is dropped."""

from __future__ import annotations

from functools import cache

import polars as pl

from transforms.issues import Action, Rule, Severity, declare
from transforms.marks import absent, certain, either, empty, without
from transforms.sheet import Sheet

EML_001 = declare(
    "EML-001", Severity.INFO, Action.FIX, "An e-mail address with capitals or a trailing dot in its domain, or mailto:",
    "Nothing needs doing: the hub wrote the domain in lower case. The part before the @ is untouched.",
    entity="users", fields=("email",),
)  # fmt: skip
EML_002 = declare(
    "EML-002", Severity.WARN, Action.DROP_VALUE, "Not an e-mail address, or several in one field",
    "Correct the address in the student system; one address per person.",
    entity="users", fields=("email",),
)  # fmt: skip
EML_006 = declare(
    "EML-006", Severity.INFO, Action.DROP_VALUE, "A placeholder in the place of an e-mail address (noemail@…)",
    "Leave the field empty in the student system when there is no address.",
    entity="users", fields=("email",),
)  # fmt: skip
PHN_001 = declare(
    "PHN-001", Severity.INFO, Action.FIX, "A telephone number with punctuation, or in the district's national form",
    "Nothing needs doing: the hub wrote the number in the international form (+15551234567).",
    entity="users", fields=("phone", "sms"),
)  # fmt: skip
PHN_002 = declare(
    "PHN-002", Severity.INFO, Action.DROP_VALUE, "An impossible telephone number or a placeholder",
    "Leave the field empty in the student system when there is no number.",
    entity="users", fields=("phone", "sms"),
)  # fmt: skip

_LETTER = r"a-z0-9\p{Ll}\p{Lo}"
_LABEL = rf"[{_LETTER}](?:[{_LETTER}\p{{M}}-]*[{_LETTER}\p{{M}}])?\."
_RIGHT = rf"^[^\s@,;:<>()\[\]\\\"]{{1,64}}@(?:{_LABEL})+[{_LETTER}][{_LETTER}\p{{M}}-]+$"
_PLACEHOLDER = r"(?i)^(?:no-?e?mail|none|no-?reply|unknown|not?applicable|n/?a|xxx+)@"
_SHORTEST_NUMBER = 5
_IMPOSSIBLE = r"^(?:0+|9+|1234567890?|(?:1?555)?5550100)$"
#: The calling code of the countries whose national form is known.
NORTH_AMERICA = "1"
_NORTH_AMERICA = r"^(?:\+?1)?([2-9][0-9]{2}[2-9][0-9]{6})$"
_NOTHING = r"^(never)^"


def read_email(sheet: Sheet, name: str) -> None:
    """Lower-cases domains, drops what is no address."""
    before = sheet[name]
    if empty(before):
        return
    if not before.str.contains(_RIGHT).all():
        parts = before.str.strip_prefix("mailto:").to_frame().select(
            local=pl.col(name).str.extract(r"^([^@]*)@"),
            domain=pl.col(name).str.extract(r"^[^@]*@([^@]*)$").str.to_lowercase().str.strip_chars_end("."),
        )  # fmt: skip
        mended = parts.select(pl.col("local") + "@" + pl.col("domain")).to_series()
        right = certain(mended.str.contains(_RIGHT))
        after = without(mended, ~right)
        sheet.put(name, after)
        sheet.report(EML_001, right & (after != before), name)
        sheet.report(EML_002, ~right & ~absent(before), name)
    placeholder = certain(sheet[name].str.contains(_PLACEHOLDER))
    _drop(sheet, name, placeholder, EML_006)


def read_phone(sheet: Sheet, name: str, calling_code: str | None) -> None:
    """Writes numbers in the international form where country and number are certain; drops impossible ones.

    A number without ``+`` is completed only with the district's ``calling_code``, so far for North America ("1").
    """
    values = sheet[name]
    if empty(values):
        return
    both = values.to_frame("").select_seq(found=_spelled(calling_code), wrong=_WRONG)
    found, wrong = both["found"], certain(both["wrong"])
    changed = certain(found != values) & ~wrong
    if changed.any():
        sheet.put(name, either(wrong, values, found))
        sheet.report(PHN_001, changed, name)
    _drop(sheet, name, wrong, PHN_002)


_DIGITS = pl.col("").str.replace_all(r"[^\p{Nd}]", "")
_WRONG = (_DIGITS.str.len_bytes() < _SHORTEST_NUMBER) | _DIGITS.str.contains(_IMPOSSIBLE)


@cache
def _spelled(calling_code: str | None) -> pl.Expr:
    """Numbers in the international form where country and number are certain, others as they are."""
    plain = pl.col("").str.replace_all(r"[\s().\u00a0\u2010-\u2015-]", "")
    national = plain.str.extract(_NORTH_AMERICA if calling_code == NORTH_AMERICA else _NOTHING)
    international = plain.str.extract(r"^\+([1-9][0-9]{6,14})$")
    return pl.coalesce(pl.lit("+1") + national, pl.lit("+") + international, pl.col(""))


def _drop(sheet: Sheet, name: str, rows: pl.Series, rule: Rule) -> None:
    if rows.any():
        sheet.report(rule, rows, name)
        sheet.put(name, without(sheet[name], rows))
