"""The words of an expression, each with its place."""

from __future__ import annotations

import re
from dataclasses import dataclass

#: The longest text of an expression, in characters, and the most words in it.
LONGEST = 2_000
MOST_WORDS = 600
_WORD = re.compile(
    r"""(?P<space>\s+)
      |(?P<text>'(?:[^']|'')*')
      |(?P<quoted>"(?:[^"]|"")+")
      |(?P<number>\d+(?:\.\d+)?(?![\w.]))
      |(?P<name>[^\W\d]\w*(?:\.\w+)*)
      |(?P<comment>--|/\*)
      |(?P<mark><>|!=|<=|>=|\|\||[=<>+\-*(),])""",
    re.VERBOSE,
)


class ExpressionError(ValueError):
    """A broken expression: ``message`` says what to mend, ``line`` and ``column`` (from 1) where."""

    def __init__(self, message: str, line: int, column: int) -> None:
        super().__init__(f"line {line}, column {column}: {message}")
        self.message, self.line, self.column = message, line, column


@dataclass(frozen=True, slots=True)
class Word:
    """One word. ``kind``: text, quoted, number, name, mark or end; ``value``: what it stands for, unquoted."""

    kind: str
    value: str
    at: int

    def is_name(self, *names: str) -> bool:
        """Whether this is one of the keywords (given in upper case)."""
        return self.kind == "name" and self.value.upper() in names

    def is_mark(self, *marks: str) -> bool:
        """Whether this is one of the marks."""
        return self.kind == "mark" and self.value in marks


def place(source: str, at: int) -> tuple[int, int]:
    """Line and column of a character, both from 1."""
    before = source[:at]
    return before.count("\n") + 1, at - (before.rfind("\n") + 1) + 1


def words(source: str) -> list[Word]:
    """All words and an end. Raises ExpressionError for what is none."""
    if len(source) > LONGEST:
        raise ExpressionError(f"An expression has at most {LONGEST:,} characters.", *place(source, LONGEST))
    found: list[Word] = []
    at = 0
    while at < len(source):
        match = _WORD.match(source, at)
        if match is None:
            raise ExpressionError(_stray(source[at]), *place(source, at))
        kind, value = str(match.lastgroup), match[0]
        if kind == "comment":
            raise ExpressionError("An expression has no comments. Use the version's note.", *place(source, at))
        if kind == "text":
            value = value[1:-1].replace("''", "'")
        elif kind == "quoted":
            value = value[1:-1].replace('""', '"')
        if kind != "space":
            found.append(Word(kind, value, at))
        at = match.end()
    if len(found) > MOST_WORDS:
        raise ExpressionError(f"An expression has at most {MOST_WORDS} words.", *place(source, found[MOST_WORDS].at))
    return [*found, Word("end", "", len(source))]


def _stray(character: str) -> str:
    if character == "'":
        return "This text has no end. Write a quote inside a text twice."
    if character == '"':
        return "This quoted column name has no end or is empty."
    if character == ";":
        return "One expression only: take the semicolon out."
    return "This character has no meaning here. Texts stand in single quotes, odd column names in double ones."
