"""Log lines: fixed fields, and never the text of an exception.

The texts of errors quote values: PostgreSQL's name the whole row that broke a rule, a parser's the cell that it could
not read. So a line about an exception tells its type, PostgreSQL's SQLSTATE and the places in the code. Only our own
errors show their text, which holds neither personal data nor secrets by rule (hub.errors, connectors.failure).
"""

from __future__ import annotations

import io
import json
import logging
import sys
import time
from datetime import UTC, datetime
from functools import lru_cache
from types import TracebackType
from typing import Any, TextIO

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from connectors.failure import ConnectorError
from hub.errors import HubError
from hub.settings import Settings

_OURS = (HubError, ConnectorError)
_MOST_CAUSES = 5
#: The levels of methods that are not named like theirs.
_LEVELS = {"warn": "warning", "exception": "error"}


def configure(settings: Settings, stream: TextIO | None = None) -> None:
    """Sends every log line of the process, libraries' included, to ``stream`` (standard error) in the set form."""
    stream = stream or _unbuffered(sys.stderr)
    renderer: Processor = structlog.processors.JSONRenderer(serializer=_json)
    if settings.log_format == "console":
        renderer = structlog.dev.ConsoleRenderer(colors=stream.isatty())
    handler = _Lines(stream)
    level = settings.log_level.upper()
    structlog.configure(  # our own lines are text at once: logging's records would cost more than all else about them
        processors=[finished, renderer],
        logger_factory=lambda *_: _Sink(handler),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
    )
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[first_line, finished],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    for old in list(root.handlers):
        if isinstance(old.formatter, structlog.stdlib.ProcessorFormatter):
            root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)


def _json(event: EventDict, **options: Any) -> str:
    """A line as JSON. What the quick writer refuses, as a text that is no Unicode, Python's own can still say.

    Objects show what their ``repr`` shows, which leaves out what is not for logs: not all of their fields.
    """
    try:
        return orjson.dumps(event, option=orjson.OPT_PASSTHROUGH_DATACLASS, **options).decode()
    except TypeError:
        return json.dumps(event, **options)


class _Lines(logging.StreamHandler[TextIO]):
    """Writes lines; one that cannot be written is lost."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging calls it so
        """Says nothing where the line could not be written: it would be said on the same disk."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


class _Sink:
    """What structlog writes our own lines with: to the stream of a handler, in turn with libraries' lines."""

    def __init__(self, handler: _Lines) -> None:
        self._handler = handler

    def msg(self, line: str) -> None:
        """Writes a line; one that cannot be written is lost."""
        handler = self._handler
        handler.acquire()
        try:
            handler.stream.write(f"{line}\n")
            handler.flush()
        except OSError:
            pass  # it would be said on the same disk
        finally:
            handler.release()

    debug = info = warning = error = critical = msg


def _unbuffered(stream: TextIO) -> TextIO:
    """Standard error without a buffer: a line that a full disk did not take would be tried again at the process's end.

    Python then ends with status 120, however well the process has stopped.
    """
    if stream is not sys.__stderr__:
        return stream  # somebody's who catches it
    raw = io.FileIO(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", write_through=True)


def first_line(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A library's message without what follows its first line: asyncio puts the repr of an exception there."""
    event["event"] = str(event["event"]).partition("\n")[0]
    return event


def finished(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """A line with its level and its time, and what may be told of its exception. One call: each request has a line."""
    event["level"] = _LEVELS.get(method, method)
    seconds, rest = divmod(time.time_ns(), 1_000_000_000)
    event["timestamp"] = f"{_second(seconds)}.{rest // 1000:06d}Z"
    return safe_exception(logger, method, event) if "exc_info" in event or "stack_info" in event else event


@lru_cache(1)
def _second(seconds: int) -> str:
    """A second since 1970 in ISO form. Writing it costs as much as half of a line, and many lines are of one."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def safe_exception(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replaces an exception by what may be told of it."""
    event.pop("stack_info", None)
    info = event.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    error = info[1] if isinstance(info, tuple) else info
    if isinstance(error, BaseException):
        event.update(described(error))
    return event


def described(error: BaseException) -> dict[str, Any]:
    """What may be told of an exception: its type and those of its causes, its place, and our own errors' text."""
    kinds: list[str] = []
    seen: BaseException | None = error
    while seen is not None and len(kinds) < _MOST_CAUSES:
        kinds.append(_kind(seen))
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    told: dict[str, Any] = {"error": " < ".join(kinds), "at": _places(error.__traceback__)}
    if isinstance(error, _OURS):
        told["message"] = str(error)
    return told


def _kind(error: BaseException) -> str:
    state = getattr(error, "sqlstate", None)
    return type(error).__qualname__ + (f" {state}" if isinstance(state, str) else "")


def _places(trace: TracebackType | None) -> str:
    places = []
    while trace is not None:
        places.append(f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}")
        trace = trace.tb_next
    return " < ".join(reversed(places))
