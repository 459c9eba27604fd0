"""A bucket that speaks S3 as a place: AWS, MinIO, Ceph, R2 and what else there is."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO
from xml.etree import ElementTree as ET

from yarl import URL

from connectors.answer import Answer
from connectors.http import Web
from connectors.places.place import S3Place
from connectors.places.sigv4 import Signer, canonical_query, encoded
from connectors.places.store import MOST_ENTRIES, Entry, longest_seconds, too_slow, unsettled
from connectors.protocol import ConnectorError, Intent, SourceContext

#: Bytes that are asked for at a time: no more of an object is ever in memory.
RANGE_BYTES = 8 << 20
_MOST_XML = 4 << 20
#: A listing with more pages, or that takes longer, is none of a folder for packages.
MOST_PAGES = 100
LISTING_SECONDS = 300.0
#: No answer of S3 has these, and whoever defines entities can make a small answer large.
_DEFINES = re.compile(r"<!(?:DOCTYPE|ENTITY)", re.IGNORECASE)
_GOOD, _GONE = frozenset({200, 204, 206}), 404
_NAMESPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"
_CHANGED = "The object in the bucket changed while it was copied."
_KEYS = "The bucket refuses the keys. Enter access_key and secret_key anew, and check the region."
_DENIED = (
    "The keys may not do that with the bucket. Whoever owns it must permit listing, reading and, for move and delete,"
    " writing below the folder."
)
_SKEWED = "The hub's clock and that of the bucket are more than 15 minutes apart."
_TOLD: Mapping[str, tuple[str, str, Intent]] = {
    "SignatureDoesNotMatch": ("login_refused", _KEYS, Intent.ASK_HUMAN),
    "InvalidAccessKeyId": ("login_refused", _KEYS, Intent.ASK_HUMAN),
    "AuthorizationHeaderMalformed": ("login_refused", _KEYS, Intent.ASK_HUMAN),
    "AccessDenied": ("not_permitted", _DENIED, Intent.ASK_HUMAN),
    "NoSuchBucket": ("folder_missing", "There is no such bucket at this endpoint.", Intent.ASK_HUMAN),
    "RequestTimeTooSkewed": ("clock_wrong", _SKEWED, Intent.ASK_HUMAN),
}
_BY_STATUS: Mapping[int, str] = {403: "AccessDenied", 404: "NoSuchBucket"}


@contextlib.asynccontextmanager
async def open_bucket(place: S3Place, context: SourceContext) -> AsyncIterator[Bucket]:
    """The bucket's folder. Raises ConnectorError (``no_secret``)."""
    access, secret = context.secrets.get("access_key"), context.secrets.get("secret_key")
    if not access or not secret:
        text = "Enter access_key and secret_key among the source's secrets."
        raise ConnectorError("no_secret", text, intent=Intent.ASK_HUMAN)
    async with Web.of(context) as web:
        yield Bucket(web, place, context, Signer(access, secret, place.region))


@dataclass(frozen=True, slots=True)
class Bucket:
    """One folder (a prefix) of a bucket."""

    web: Web
    place: S3Place
    context: SourceContext
    signer: Signer

    async def entries(self) -> list[Entry]:
        """The objects right below the folder."""
        try:
            async with asyncio.timeout(LISTING_SECONDS):
                return await self._entries()
        except TimeoutError:
            text = f"The bucket did not list the folder within {LISTING_SECONDS:.0f} seconds."
            raise ConnectorError("timed_out", text, intent=Intent.RETRY) from None

    async def _entries(self) -> list[Entry]:
        found: list[Entry] = []
        token = ""
        for _ in range(MOST_PAGES):  # a page may have no object: folders in the folder come as well
            query = [("list-type", "2"), ("prefix", self._key("")), ("delimiter", "/")]
            answer = await self._ask("GET", "", query + ([("continuation-token", token)] if token else []))
            entries, following = await asyncio.to_thread(self._page, answer.body)
            found += entries
            if len(found) > MOST_ENTRIES:
                text = f"The folder has more than {MOST_ENTRIES:,} objects. State one for packages alone."
                raise ConnectorError("folder_too_large", text, intent=Intent.ASK_HUMAN)
            if not following or following == token:
                return found
            token = following
        text = f"The folder is listed in more than {MOST_PAGES} pages. State one for packages alone."
        raise ConnectorError("folder_too_large", text, intent=Intent.ASK_HUMAN)

    def _page(self, body: bytes) -> tuple[list[Entry], str]:
        """The objects of a page, and what the next one is asked for with; empty after the last. Takes its time."""
        page = _parsed(body)
        entries = [e for one in page.iter(f"{_NAMESPACE}Contents") if (e := self._entry(one)) is not None]
        more = page.findtext(f"{_NAMESPACE}IsTruncated") == "true"
        return entries, (page.findtext(f"{_NAMESPACE}NextContinuationToken") or "") if more else ""

    def _entry(self, one: ET.Element) -> Entry | None:
        key, size, tag, at = (one.findtext(_NAMESPACE + n) for n in ("Key", "Size", "ETag", "LastModified"))
        name = (key or "").removeprefix(self._key(""))
        if not name or "/" in name or not size or not tag or not at:
            return None
        try:
            return Entry(name, int(size), tag, datetime.fromisoformat(at).timestamp())
        except ValueError:
            return None

    async def fetch(self, entry: Entry, target: Path) -> None:
        """Copies the object range by range, as long as it has the same ETag."""
        limit = asyncio.timeout(longest_seconds(entry.size))
        try:
            async with limit:
                await self._copy(entry, target)
        except TimeoutError:
            raise too_slow() from None
        except OSError as error:
            text = f"The package cannot be kept on the hub's machine: {error.strerror or type(error).__name__}."
            raise ConnectorError("unreadable", text, intent=Intent.RETRY) from error

    async def _copy(self, entry: Entry, target: Path) -> None:
        copy: IO[bytes] = await asyncio.to_thread(target.open, "xb")
        try:
            for start in range(0, entry.size, RANGE_BYTES):
                end = min(start + RANGE_BYTES, entry.size)
                headers = {"range": f"bytes={start}-{end - 1}", "if-match": entry.stamp, "accept-encoding": "identity"}
                answer = await self._ask("GET", entry.name, [], headers, gone_is_changed=True)
                if len(answer.body) != end - start or answer.headers.get("ETag") != entry.stamp:
                    raise unsettled(_CHANGED)
                await asyncio.to_thread(copy.write, answer.body)
        finally:
            await asyncio.to_thread(copy.close)

    async def move(self, entry: Entry, folder: str, name: str) -> bool:
        """Copies the object below the folder, if it is the same still, and removes it."""
        source = encoded(f"/{self.place.bucket}/{self._key(entry.name)}")
        headers = {"x-amz-copy-source": source, "x-amz-copy-source-if-match": entry.stamp}
        answer = await self._ask("PUT", f"{folder.strip('/')}/{name}", [], headers, gone_is_changed=True)
        if b"<Error>" in answer.body:  # S3 may fail after it has said 200
            raise await _refusal(answer)
        return await self.remove(entry)

    async def remove(self, entry: Entry) -> bool:
        """Removes the object. Few servers take conditions for that, so a look comes right before."""
        found = await self._send("HEAD", entry.name, [])
        if found.status == _GONE:
            return True
        if found.status not in _GOOD:
            raise await _refusal(found)
        if found.headers.get("ETag") != entry.stamp:
            return False
        await self._ask("DELETE", entry.name, [])
        return True

    def _key(self, name: str) -> str:
        folder = self.place.folder.strip("/")
        return f"{folder}/{name}" if folder else name

    async def _ask(
        self, method: str, name: str, query: Sequence[tuple[str, str]], given: Mapping[str, str] | None = None, *,
        gone_is_changed: bool = False,
    ) -> Answer:  # fmt: skip
        """One request to the bucket (``name`` empty) or to an object of the folder. Raises ConnectorError."""
        answer = await self._send(method, name, query, given)
        if answer.status in _GOOD:
            return answer
        if gone_is_changed and answer.status in {_GONE, 412, 416}:
            raise unsettled(_CHANGED)
        raise await _refusal(answer)

    async def _send(
        self, method: str, name: str, query: Sequence[tuple[str, str]], given: Mapping[str, str] | None = None
    ) -> Answer:
        """The same, whatever is answered. Raises ConnectorError where nothing is."""
        endpoint = URL(self.place.endpoint)
        host = endpoint.host or ""
        port = f":{endpoint.explicit_port}" if endpoint.explicit_port else ""
        key = self._key(name) if name else ""
        if self.place.path_style:
            path = encoded(f"/{self.place.bucket}/{key}")
        else:
            host, path = f"{self.place.bucket}.{host}", encoded(f"/{key}")
        headers = self.signer.headers(method, host + port, path, query, given or {}, self.context.now())
        text = f"{endpoint.scheme}://{host}{port}{path}" + (f"?{canonical_query(query)}" if query else "")
        most = RANGE_BYTES + 1024 if name and method == "GET" else _MOST_XML
        return await self.web.send(method, URL(text, encoded=True), headers=headers, most_bytes=most)


async def _refusal(answer: Answer) -> ConnectorError:
    """What the bucket answered, in plain words."""
    with contextlib.suppress(ConnectorError):
        code = (await asyncio.to_thread(_parsed, answer.body)).findtext("Code") or ""
        if code in _TOLD:
            name, text, intent = _TOLD[code]
            return ConnectorError(name, text, intent=intent)
    if answer.status in _BY_STATUS:
        name, text, intent = _TOLD[_BY_STATUS[answer.status]]
        return ConnectorError(name, text, intent=intent)
    if answer.status in {301, 307, 400}:
        text = f"The bucket is not here (HTTP {answer.status}). Check endpoint, region and path_style."
        return ConnectorError("moved", text, intent=Intent.ASK_HUMAN)
    text = f"The bucket cannot answer just now (HTTP {answer.status})."
    return ConnectorError("server_failed", text, intent=Intent.RETRY)


def _parsed(body: bytes) -> ET.Element:
    """An answer's XML, which may take its time.

    Raises ConnectorError (``not_s3``) for what is none, is not in UTF-8, has a document type or defines entities.
    """
    with contextlib.suppress(ET.ParseError, UnicodeDecodeError):
        text = body.decode("utf-8-sig")  # what is parsed is what was searched, whatever encoding it claims to have
        if "\0" not in text and not _DEFINES.search(text):
            return ET.fromstring(text)  # noqa: S314 -- bounded, and without entities
    text = "The endpoint does not answer as S3 does. Check its address."
    raise ConnectorError("not_s3", text, intent=Intent.ASK_HUMAN)
