"""Requests byte by byte, where a client library would mend or refuse them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson

from hub.api.oneroster.bindings import ROSTERING_PATH
from tests.api.oneroster.rosters import Hub

LONGEST_SECONDS = 30


@dataclass(frozen=True)
class Raw:
    """One answer as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


def request(method: str, path: str, *headers: str, token: str = "", body: bytes = b"") -> bytes:
    """The bytes of a request; the body's length is for the caller to say."""
    lines = [f"{method} {path} HTTP/1.1", "Host: hub", *([f"Authorization: Bearer {token}"] if token else []), *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def service(hub: Hub, path: str) -> str:
    """A path of the Rostering service in the first district."""
    return ROSTERING_PATH.replace("{district}", str(hub.prepared.here)) + path


async def read_answer(reader: asyncio.StreamReader, *, head: bool = False) -> Raw:
    """The next answer of a connection; ``head`` where none of them has a body."""
    text = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = text.strip().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    status = int(first.split(" ")[1])
    body = b""
    if not head and status not in {204, 304}:
        body = await reader.readexactly(int(headers["content-length"]))
    return Raw(status, headers, body)


async def ask(hub: Hub, *requests: bytes, head: bool = False) -> list[Raw]:
    """The answers to requests that are sent one after the other over one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
    try:
        async with asyncio.timeout(LONGEST_SECONDS):
            answers = []
            for data in requests:
                writer.write(data)
                answers.append(await read_answer(reader, head=head))
            return answers
    finally:
        writer.close()


async def until_closed(reader: asyncio.StreamReader) -> bytes:
    """What comes until the other side closes."""
    found = bytearray()
    async with asyncio.timeout(LONGEST_SECONDS):
        with suppress(ConnectionResetError):
            while data := await reader.read(65_536):
                found += data
    return bytes(found)
