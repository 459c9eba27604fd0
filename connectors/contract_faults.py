"""Faults of systems, each at the first, a middle and the last page of a pull: the suite for connectors over HTTP.

Inherit ``FaultContract`` in a test class and give it a fixture ``faulty``:

    class TestMySystemsFaults(FaultContract):
        @pytest.fixture
        def faulty(self, tmp_path):
            with my_fake() as system, standing(FaultyProxy(system.url, kind_of)) as proxy:
                yield FaultCase(SPEC, proxy, lambda url: SourceContext(...), folder=tmp_path)

Whatever goes wrong, the pull completes exactly, or it fails as a whole with an intent and a message, leaves nothing in
its folder, and completes exactly once the fault is gone.
"""

from __future__ import annotations

import asyncio
import gzip
import socket
import time
import zlib
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import lru_cache
from pathlib import Path

from connectors.contract_proxy import Asked, Exchange, Fault, FaultyProxy, Reply, reset
from connectors.protocol import ConnectorError, ConnectorSpec, Intent, SourceContext

_JSON = {"Content-Type": "application/json"}
#: Bytes that a pull may take beside what the process has, whatever the system answers.
MOST_MEMORY = 64 << 20
_BOMB_BYTES, _PIECE = 256 << 20, 1 << 20
_NOW = datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class FaultCase:
    """A connector before the proxy that stands before its system.

    ``context`` makes a context for the system at an address, with pages so small that the pull asks for more than four
    of them, and with a ``sleep`` that does not wait. The proxy's ``kind_of`` names the kind of a page of data, and says
    None of all other requests (tokens, counts, metadata). ``folder``: the ``work_folder`` of the context.
    """

    spec: ConnectorSpec
    proxy: FaultyProxy
    context: Callable[[str], SourceContext]
    folder: Path


def _http(moment: datetime) -> str:
    return format_datetime(moment, usegmt=True)


def _status(status: int, **headers: str) -> Fault:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: Reply(status, {**_JSON, **named}, b"{}")


def _body(body: bytes, **headers: str) -> Fault:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: Reply(200, {**_JSON, **named}, body)


def _edited(edit: Callable[[bytes], bytes], **headers: str) -> Fault:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda one: one.with_body(edit(one.reply.body), **named)


def _dated(ahead: timedelta | None) -> Fault:
    text = "yesterday" if ahead is None else _http(_NOW + ahead)
    return lambda one: one.with_body(one.reply.body, Date=text)


def _raw(lines: bytes) -> Fault:
    def fault(one: Exchange) -> None:
        with suppress(OSError):
            one.wire.sendall(lines)
            one.wire.shutdown(socket.SHUT_RDWR)

    return fault


def _reset(one: Exchange) -> None:
    reset(one.wire)


def _hang(one: Exchange) -> None:
    time.sleep(one.pause)


def _hang_in_body(one: Exchange) -> None:
    with suppress(OSError):
        one.wire.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{")
    time.sleep(one.pause)


def _drip(one: Exchange) -> None:
    with suppress(OSError):
        one.wire.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n")
        end = time.monotonic() + one.pause * 4
        while time.monotonic() < end:
            one.wire.sendall(b" ")
            time.sleep(one.pause / 20)


def _endless(one: Exchange) -> None:
    with suppress(OSError):
        one.wire.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        piece = b"10000\r\n" + b" " * (1 << 16) + b"\r\n"
        for _ in range(8 << 10):  # half a GiB: whoever listens so long has no bound
            one.wire.sendall(piece)


def _again(one: Exchange) -> Reply:
    return one.before[-1] if one.before else one.reply


def _first(one: Exchange) -> Reply:
    return one.before[0] if one.before else one.reply


@lru_cache(2)
def _packed(form: int) -> bytes:
    """Blanks that unpack to more than anybody takes. ``form``: zlib's, 15 for deflate and 31 for gzip."""
    packing = zlib.compressobj(1, wbits=form)
    return b"".join([*(packing.compress(b" " * _PIECE) for _ in range(_BOMB_BYTES // _PIECE)), packing.flush()])


def _bomb(form: int, encoding: str) -> Fault:
    return lambda _: Reply(200, {**_JSON, "Content-Encoding": encoding}, _packed(form))


#: What happens to one answer and is over with the next: the pull has to complete.
PASSING: Mapping[str, Fault] = {
    **{f"status {n}": _status(n) for n in (408, 425, 429, 500, 502, 503, 504, 507, 520, 599)},
    "429 for two seconds": _status(429, Retry_After="2"),
    "429 until a date": _status(429, Retry_After=_http(_NOW + timedelta(seconds=5)), Date=_http(_NOW)),
    "429 for no time that can be read": _status(429, Retry_After="soon"),
    "503 for a second": _status(503, Retry_After="1"),
    "a token that ended": _status(401),
    "a login page": _body(b"<!doctype html><form>Log in</form>", Content_Type="text/html"),
    "a login page that says it is JSON": _body(b"\r\n <html><body>Sign in</body></html>"),
    "an empty body": _body(b""),
    "half of the body": _edited(lambda body: body[: len(body) // 2]),
    "a body without its last byte": _edited(lambda body: body.rstrip()[:-1]),
    "a body shorter than its length": lambda one: replace(one.reply, length=len(one.reply.body) + 100, then="close"),
    "chunks that end too early": _raw(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[{"a"'),
    "chunks of no size": _raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n[]\r\n"),
    "bytes that are no text": _body(b'{"a": "\xff\xfe\xfa"'),
    "a zero byte": _body(b"\0"),
    "brackets without end": _body(b"[" * 100_000),
    "gzip that is none": _body(b"plain", Content_Encoding="gzip"),
    "gzip that is cut": _body(gzip.compress(b" " * 100_000)[:50], Content_Encoding="gzip"),
    "deflate that is none": _body(b"plain", Content_Encoding="deflate"),
    "a status line that is none": _raw(b"200 HTTP/1.1 OK\r\n\r\n"),
    "an answer of HTTP 0.9": _raw(b"[]"),
    "two lengths": _raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 5\r\n\r\n[]"),
    "a negative length": _raw(b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n[]"),
    "a header of 100 kB": _raw(b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 100_000 + b"\r\nContent-Length: 2\r\n\r\n[]"),
    "a connection that ends at once": _raw(b""),
    "a connection that is reset": _reset,
    "a reset in the body": lambda one: replace(one.reply, length=len(one.reply.body) + 9, then="reset"),
    "a connection that ends after the headers": _raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"),
    "a hang": _hang,
    "a hang in the body": _hang_in_body,
    "a body that drips": _drip,
}  # fmt: skip
#: What is odd about one answer, and says nothing false: the pull has to complete.
HARMLESS: Mapping[str, Fault] = {
    "a clock a day ahead": _dated(timedelta(days=1)),
    "a clock a day behind": _dated(timedelta(days=-1)),
    "a clock that cannot be read": _dated(None),
    "a body in gzip": _edited(gzip.compress, Content_Encoding="gzip"),
    "blanks around the body": _edited(lambda body: b" \r\n" + body + b"\n"),
    "a thousand cookies": lambda one: one.with_body(one.reply.body, **{"Set-Cookie": "a=" + "b" * 2_000}),
    "a connection that is closed after it": lambda one: replace(one.reply, then="close"),
    "another content type": _edited(lambda body: body, **{"Content-Type": "text/plain; charset=latin-1"}),
}
#: What may be taken as it is or refused, but must not lose, double or change a row.
DOUBTFUL: Mapping[str, Fault] = {
    "the page before again": _again,
    "the first page again": _first,
    "null": _body(b"null"),
    "an empty list": _body(b"[]"),
    "an empty object": _body(b"{}"),
    "a text": _body(b'"OK"'),
    "a number": _body(b"1e400"),
    "a list of lists": _body(b"[[], [[]]]"),
    "an error with status 200": _body(b'{"error": {"code": 7, "message": "failed"}}'),
    "no content": lambda _: Reply(204, {}, b""),
    "part of the content": lambda one: replace(one.reply, status=206),
    "created": lambda one: replace(one.reply, status=201),
    "not modified": lambda _: Reply(304, {}, b""),
    "no headers but the type": lambda one: replace(one.reply, headers=_JSON),
    "status 400": _status(400), "status 404": _status(404), "status 410": _status(410), "status 501": _status(501),
    "a mark of byte order": _edited(lambda body: b"\xef\xbb\xbf" + body),
}  # fmt: skip
#: What stays so for all pages from one on: the pull has to fail, with one of these intents.
LASTING: Mapping[str, tuple[Fault, frozenset[Intent]]] = {
    **{f"status {n} for ever": (_status(n), frozenset({Intent.RETRY})) for n in (429, 500, 503)},
    "429 for a day": (_status(429, Retry_After="86400"), frozenset({Intent.RETRY})),
    "a token that is refused for ever": (_status(401), frozenset({Intent.ASK_HUMAN})),
    "a permission that is taken away": (_status(403), frozenset({Intent.ASK_HUMAN})),
    "a redirect to another server": (_status(302, Location="http://192.0.2.1/"), frozenset({Intent.ASK_HUMAN})),
    "a redirect inwards": (_status(307, Location="http://169.254.169.254/latest"), frozenset({Intent.ASK_HUMAN})),
    "a redirect for good": (_status(308, Location="/elsewhere"), frozenset({Intent.ASK_HUMAN})),
    "a status that nobody knows": (_status(418), frozenset({Intent.ASK_HUMAN})),
    "a login page for ever": (PASSING["a login page"], frozenset({Intent.RETRY, Intent.ASK_HUMAN})),
    "half of each body": (PASSING["half of the body"], frozenset({Intent.RETRY})),
    "a reset for ever": (_reset, frozenset({Intent.RETRY})),
    "a hang for ever": (_hang, frozenset({Intent.RETRY})),
    "a gzip bomb": (_bomb(31, "gzip"), frozenset({Intent.ASK_HUMAN})),
    "a deflate bomb": (_bomb(15, "deflate"), frozenset({Intent.ASK_HUMAN})),
    "a body without an end": (_endless, frozenset({Intent.ASK_HUMAN, Intent.RETRY})),
}


class FaultContract:
    """The tests. Each method gets a ``FaultCase``; all are synchronous, so that no plugin is needed."""

    def test_what_passes_is_asked_for_again(self, faulty: FaultCase) -> None:
        """One answer that goes wrong costs a request, and nothing else."""
        _each(faulty, PASSING, _must_complete)

    def test_what_is_odd_and_says_nothing_false_is_taken(self, faulty: FaultCase) -> None:
        """Clocks, encodings and blanks change no row."""
        _each(faulty, HARMLESS, _must_complete)

    def test_what_is_doubtful_changes_no_row(self, faulty: FaultCase) -> None:
        """A page that came again, or an empty one, must not look like the whole."""
        _each(faulty, DOUBTFUL, _may_fail)

    def test_what_lasts_fails_the_whole_pull_with_an_intent(self, faulty: FaultCase) -> None:
        """Neither is anything left of it, nor does the next pull suffer from it."""
        clean, pages = _clean(faulty)
        wrong: list[str] = []
        for form in (15, 31):
            _packed(form)  # it takes longer than a request may
        for name, (fault, intents) in LASTING.items():
            for page in (0, pages - 1):
                faulty.proxy.begin_again(_from(page, fault))
                found = _outcome(faulty)
                if not isinstance(found, ConnectorError):
                    wrong.append(f"{name}, from page {page} on: completed")
                elif found.intent not in intents:
                    wrong.append(f"{name}, from page {page} on: intent {found.intent} ({found.code})")
                wrong += _left(faulty, f"{name}, from page {page} on", found)
            faulty.proxy.begin_again()
            if _outcome(faulty) != clean:
                wrong.append(f"{name}: the next pull is not whole")
        _report(wrong)


def _each(faulty: FaultCase, faults: Mapping[str, Fault], judge: Callable[[str | ConnectorError, str], str]) -> None:
    """Each fault once, at the first, a middle and the last page."""
    clean, pages = _clean(faulty)
    wrong: list[str] = []
    for name, fault in faults.items():
        for page in sorted({0, pages // 2, pages - 1}):
            faulty.proxy.begin_again(_at(page, fault))
            found = _outcome(faulty)
            what = f"{name}, page {page} of {pages}"
            wrong += [f"{what}: {judge(found, clean)}"] if judge(found, clean) else []
            wrong += _left(faulty, what, found)
    faulty.proxy.begin_again()
    _report(wrong if _outcome(faulty) == clean else [*wrong, "the pull after all faults is not whole"])


def _must_complete(found: str | ConnectorError, clean: str) -> str:
    if isinstance(found, ConnectorError):
        return f"failed ({found.code}, {found.intent})"
    return "" if found == clean else "completed with other rows"


def _may_fail(found: str | ConnectorError, clean: str) -> str:
    return "" if isinstance(found, ConnectorError) or found == clean else "completed with other rows"


def _at(page: int, fault: Fault) -> Callable[[Asked], Fault | None]:
    return lambda one: fault if one.kind is not None and one.number == page else None


def _from(page: int, fault: Fault) -> Callable[[Asked], Fault | None]:
    return lambda one: fault if one.kind is not None and one.number >= page else None


def _clean(faulty: FaultCase) -> tuple[str, int]:
    """The digest of a pull without a fault, and of how many pages it was."""
    faulty.proxy.begin_again()
    found = _outcome(faulty)
    if isinstance(found, ConnectorError):
        raise AssertionError(f"the pull without a fault failed ({found})") from found  # noqa: TRY004 # no type error
    pages = faulty.proxy.pages()
    if pages < 4:
        raise AssertionError(f"the pull must ask for more than four pages, not {pages}")
    return found, pages


def _outcome(faulty: FaultCase) -> str | ConnectorError:
    """The digest of what a pull brought, or how it failed. Raises AssertionError where it took too much memory."""
    context = faulty.context(faulty.proxy.url)
    base = _resident("VmRSS", begin_again=True)
    try:
        pull = asyncio.run(faulty.spec.open(context).pull(None))
    except ConnectorError as error:
        return error
    else:
        with closing(pull.package) as package:
            return package.digest
    finally:
        most = _resident("VmHWM")
        if most - base > MOST_MEMORY:
            raise AssertionError(f"the pull took {(most - base) >> 20} MB of memory, more than {MOST_MEMORY >> 20}")


def _resident(which: str, *, begin_again: bool = False) -> int:
    """Bytes of memory that this process has (VmRSS), or had at most since it began again; 0 where nobody tells."""
    try:
        if begin_again:
            Path("/proc/self/clear_refs").write_text("5")
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:  # no Linux, or not allowed
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith(f"{which}:")), 0)


def _left(faulty: FaultCase, what: str, found: str | ConnectorError) -> list[str]:
    """What a pull left that it should not have."""
    wrong = [f"{what}: files stay behind"] if any(faulty.folder.iterdir()) else []
    if isinstance(found, ConnectorError):
        secrets = [value for value in faulty.context(faulty.proxy.url).secrets.values() if value]
        text = f"{found} {found.__cause__} {found.__context__}"
        wrong += [f"{what}: a secret shows in the error"] if any(secret in text for secret in secrets) else []
        wrong += [f"{what}: says nothing"] if not found.message.strip() else []
    return wrong


def _report(wrong: list[str]) -> None:
    if wrong:
        raise AssertionError("\n".join(wrong))
