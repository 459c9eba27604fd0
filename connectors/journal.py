"""Answers of a pull that was cut off, so that the next attempt goes on at the page where this one ended.

One file, encrypted, to which each answer that was understood is added. The next attempt of the same pull gets its
answers from there, as long as it asks the same; what it asks besides goes to the system. Whether what was read over
such a time is whole is judged as ever: by totals, seams and keys.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import blake2b
from pathlib import Path
from threading import Lock

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from multidict import CIMultiDict
from yarl import URL

from connectors.answer import Answer

#: What was read longer ago is asked for again.
LONGEST = timedelta(hours=2)
#: A pull of which more would be kept is not kept to its end.
MOST_BYTES = 8 << 30
_HEAD, _LENGTH, _NONCE_BYTES, _NAME_BYTES = struct.Struct(">d"), struct.Struct(">Q"), 12, 16


def _own(found: os.stat_result) -> os.stat_result:
    """What is known of a file. Raises PermissionError for one that is not this user's alone."""
    if found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise PermissionError("the journal's file is not this user's alone")
    return found


@dataclass
class Journal:
    """The answers of one pull. ``key``: 32 bytes that are this pull's alone. ``now``: seconds since 1970.

    One process at a time has it: raises BlockingIOError while another one does, and OSError for a file that is somebody
    else's. Its methods read and write the file: call them in a thread.
    """

    path: Path
    key: bytes = field(repr=False)
    now: float
    _ended: bool = False
    _places: dict[bytes, deque[tuple[int, int]]] = field(default_factory=dict, repr=False)
    _lock: Lock = field(default_factory=Lock, repr=False)

    def __post_init__(self) -> None:
        self._cipher = AESGCM(self.key)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        self._file = os.fdopen(descriptor, "r+b")
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._end = self._read_index(_own(os.fstat(descriptor)).st_size)
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Closes the file and leaves it for the next attempt."""
        self._file.close()

    def remove(self) -> None:
        """Closes the file and removes it."""
        self.path.unlink(missing_ok=True)
        self._file.close()

    def answered(self, method: str, url: URL, headers: Mapping[str, str], body: bytes | None) -> Answer | None:
        """What was answered to a request in an earlier attempt; each answer is given once, in the order they came.

        ``headers``: those that decide what is answered; nothing of the login.
        """
        name = self._name(method, url, headers, body)
        with self._lock:
            places = self._places.get(name)
            if not places:
                return None
            start, length = places.popleft()
            self._file.seek(start)
            sealed = self._file.read(length)
        try:
            plain = self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], name)
        except InvalidTag:
            return None  # a disk that was full, or another key: the system is asked
        size = _LENGTH.unpack_from(plain)[0]
        head = orjson.loads(plain[_LENGTH.size : _LENGTH.size + size])
        following = URL(head["following"], encoded=True) if head["following"] else None
        return Answer(head["status"], CIMultiDict(head["headers"]), plain[_LENGTH.size + size :], following, kept=True)

    def keep(self, method: str, url: URL, headers: Mapping[str, str], body: bytes | None, answer: Answer) -> None:
        """Adds an answer that was understood. The kernel's pages outlive this process: nothing waits for the disk.

        A disk that is full ends the journal, not the pull.
        """
        following = str(answer.following) if answer.following is not None else None
        given = [(name, value) for name, value in answer.headers.items() if name.lower() != "set-cookie"]
        head = orjson.dumps({"status": answer.status, "headers": given, "following": following})
        name, nonce = self._name(method, url, headers, body), os.urandom(_NONCE_BYTES)
        sealed = nonce + self._cipher.encrypt(nonce, _LENGTH.pack(len(head)) + head + answer.body, name)
        record = name + _LENGTH.pack(len(sealed)) + sealed
        with self._lock:
            if self._ended or self._end + len(record) > MOST_BYTES:
                return
            try:
                self._file.seek(self._end)
                self._file.write(record)
                self._file.flush()
            except OSError:
                self._ended = True
                return
            self._end += len(record)

    def _name(self, method: str, url: URL, headers: Mapping[str, str], body: bytes | None) -> bytes:
        told = f"{method} {url.raw_path_qs}\n{sorted(headers.items())}\n".encode() + (body or b"")
        return blake2b(told, digest_size=_NAME_BYTES, key=self.key).digest()

    def _read_index(self, size: int) -> int:
        """Notes which answer is where; the end of the last whole one, after which the next one is written."""
        head = self._file.read(_HEAD.size)
        if len(head) < _HEAD.size or not 0 <= self.now - _HEAD.unpack(head)[0] <= LONGEST.total_seconds():
            self._file.seek(0)
            self._file.truncate()
            self._file.write(_HEAD.pack(self.now))
            self._file.flush()
            return _HEAD.size
        at = _HEAD.size
        while at + _NAME_BYTES + _LENGTH.size <= size:
            self._file.seek(at)
            head = self._file.read(_NAME_BYTES + _LENGTH.size)
            start, length = at + len(head), _LENGTH.unpack_from(head, _NAME_BYTES)[0]
            if start + length > size:
                break
            self._places.setdefault(head[:_NAME_BYTES], deque()).append((start, length))
            at = start + length
        return at
