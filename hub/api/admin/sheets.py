"""CSV for people's spreadsheets: RFC 4180, and no cell that a spreadsheet would run as a formula (ASVS 1.2.10)."""

from __future__ import annotations

_RISKY = ("=", "+", "-", "@", "\t", "\r", "\n", "\0", "'", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_QUOTE = "'"


def safe(text: str) -> str:
    """The text with a quote before it where a spreadsheet might run it, or where it begins with a quote itself."""
    return _QUOTE + text if text.startswith(_RISKY) else text


def original(cell: str) -> str:
    """The text that ``safe`` was given."""
    return cell.removeprefix(_QUOTE)


def line(values: list[object]) -> bytes:
    """One line of CSV in UTF-8; None is an empty cell."""
    cells = ["" if value is None else _cell(value) for value in values]
    return (",".join(cells) + "\r\n").encode()


def _cell(value: object) -> str:
    if isinstance(value, int):
        return str(value)
    text = safe(str(value))
    return '"' + text.replace('"', '""') + '"' if any(c in text for c in ',"\r\n') else text
