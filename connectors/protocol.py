"""What every connector is: a kind, a configuration, and a source that hands over packages of RAW frames.

A RAW frame is one CSV file of the OneRoster binding or a batch of its rows: String columns under the standard's header
names of the package's version, any ``metadata.<name>`` columns, and ``line`` (UInt32; 1 is the header, data starts at
2; connectors without lines count rows from 2). Empty cells are null. Optional columns may be missing.

Bad data is never an exception: it is a finding (``transforms.issues``). ``ConnectorError`` is for what a person or a
later attempt has to mend: a system that does not answer, a login that is refused, a disk that is full.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import polars as pl
from pydantic import BaseModel

from connectors.failure import ConnectorError, Intent, NotYetError, may_go_on
from connectors.limits import DEFAULT_LIMITS, DEFAULT_TIMEOUTS, Limits, Timeouts
from connectors.tracing import Exchange
from transforms.catalogue import Version
from transforms.validate import alike

if TYPE_CHECKING:  # it takes cryptography, which who only reads files does not need
    from connectors.journal import Journal

__all__ = [
    "Batch",
    "Capability",
    "ConnectorError",
    "ConnectorSpec",
    "Courteous",
    "Found",
    "Intent",
    "Kit",
    "Mode",
    "NotYetError",
    "Package",
    "Pull",
    "Source",
    "SourceContext",
    "Subscribing",
    "Tried",
    "located",
    "may_go_on",
    "nowhere",
    "pair_marks",
    "utc_now",
]

Mode = Literal["bulk", "delta"]


class Capability(StrEnum):
    """What a source can do. ``UPLOAD`` takes packages that somebody sent; without it the source is only pulled.

    ``PULL``: beside uploads it can be pulled as well, since its configuration names a place. ``CHANGES``: a pull with a
    cursor brings what changed since then alone, in files of mode "delta".
    """

    BULK = "bulk"
    DELTA = "delta"
    UPLOAD = "upload"
    PULL = "pull"
    CHANGES = "changes"


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows of one file, in the file's order, and the findings made while reading them.

    A finding of severity BLOCK_RECORD stands for a row that is not in ``frame``; its ``key`` is the row's sourcedId. An
    empty ``key`` there means that nobody can tell which record the row was: deletions must not be drawn from that file.
    """

    frame: pl.DataFrame
    issues: pl.DataFrame


class Package(Protocol):
    """What a source hands over in one pull. All methods are synchronous and may take long: call them in a thread."""

    @property
    def version(self) -> Version:
        """The OneRoster version that the headers follow."""

    @property
    def mode(self) -> Mapping[str, Mode]:
        """The files that were supplied (names without ``.csv``) and how each is meant. Others are untouched."""

    @property
    def digest(self) -> str:
        """SHA-256 over the names and bytes of all files, in hex: equal digest, equal content."""

    @property
    def issues(self) -> pl.DataFrame:
        """Findings about the package and its files. One of severity BLOCK_SYNC refuses the whole package."""

    @property
    def source_system(self) -> str | None:
        """The name that the exporting system gave itself."""

    def rows(self, file: str) -> int | None:
        """How many rows ``batches`` goes through, or None while that is not known."""

    def batches(self, file: str, size: int = 250_000) -> Iterator[Batch]:
        """The rows of ``file``, at most ``size`` at a time; each call starts anew. Raises KeyError for other files."""

    def keys(self, file: str) -> pl.Series:
        """The column sourcedId of all rows that ``batches`` yields, in the same order, read without the others."""

    def close(self) -> None:
        """Removes everything that the package keeps on disk. May be called twice."""


def located(package: Package, found: pl.DataFrame) -> pl.DataFrame:
    """Findings about rows with the file and line that people know them by.

    A package whose rows are made of other files has a method ``located`` that says which; of all others these are the
    rows' own.
    """
    locate = getattr(package, "located", None)
    return found if locate is None else locate(found)


def pair_marks(package: Package, file: str) -> pl.Series:
    """``transforms.validate.alike.pair_marks`` of all rows that ``batches`` yields, and maybe of others, in any order.

    A package that can read these columns without the others has a method ``marks`` that does.
    """
    marks = getattr(package, "marks", None)
    if marks is not None:
        found: pl.Series = marks(file)
        return found
    return pl.concat([alike.marks_of(batch.frame) for batch in package.batches(file)])


@dataclass(frozen=True, slots=True)
class Pull:
    """A package and the cursor that the next pull should get once this package is applied.

    ``announced``: how many rows of a file the source itself says there are (an ``X-Total-Count``, say), where it does.
    A package with another number of them is not whole, and is not applied.

    ``present``: by file of changes, all sourcedIds that the source has now, where the pull went through them. Records
    of the source that are not among them end. A pull that could not see them all must fail, or leave the file out.

    ``objects``: rows of changes come with all parts of their objects (the roles of a user, say), not with changed ones.

    ``unchanged``: the system has nothing but what ``cursor`` stands for already; the package has no files.

    ``applied``: what is to be done at the system once the package was applied, or found to change nothing. It may be
    called again by a later pull, since nobody knows of one that was cut short. Raises ConnectorError.
    """

    package: Package
    cursor: Mapping[str, Any] | None = None
    announced: Mapping[str, int] = field(default_factory=dict)
    present: Mapping[str, pl.Series] = field(default_factory=dict)
    objects: bool = False
    unchanged: bool = False
    applied: Callable[[], Awaitable[None]] | None = None


class Source(Protocol):
    """One configured system of one district."""

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What this source can do."""

    async def pull(self, cursor: Mapping[str, Any] | None) -> Pull:
        """Fetches what there is since ``cursor`` (None: everything). Raises ConnectorError."""


@dataclass(frozen=True, slots=True)
class Found:
    """One thing that a try of a source found out: what was tried, how it went, and in plain words what to do.

    ``text`` has neither personal data nor secrets. Steps that all systems share are in ``connectors.probing``.
    """

    step: str
    outcome: Literal["good", "warning", "bad"]
    text: str


@runtime_checkable
class Tried(Protocol):
    """What a source may have beside ``pull``: a try that takes nothing over."""

    async def probe(self) -> Sequence[Found]:
        """Asks the system for a little of everything. What goes wrong is found, never raised."""


@runtime_checkable
class Courteous(Protocol):
    """What a source may have beside ``pull``: hours in which its system is left alone."""

    def quiet_seconds(self, now: datetime) -> float:
        """For how long no pull should begin; 0 where one may begin now. Reads files: call it in a thread."""


@runtime_checkable
class Subscribing(Protocol):
    """What a source may have beside ``pull``: its system can be told to say when something changed."""

    async def subscribe(self, address: str) -> None:
        """Has the system send hints to ``address``, in place of what it was told before. Raises ConnectorError."""

    async def unsubscribe(self) -> None:
        """Has it send none any more. Raises ConnectorError."""


def utc_now() -> datetime:
    """The time now, with its zone."""
    return datetime.now(UTC)


def nowhere(_address: str, _encrypted: bool) -> bool:
    """Refuses all addresses: whoever opens a source says where it may connect to."""
    return False


@dataclass(frozen=True, slots=True)
class SourceContext:
    """All that a source may use. ``config`` is an instance of its spec's ``config_model``.

    ``upload`` is the package that somebody sent (None: pull from the configured place). ``work_folder`` is where
    temporary files may go (None: the system's place). ``watched`` is the district's own folder for packages that are
    put down on this machine (None: there is none). ``secrets`` never show in a repr. ``reachable`` says of an
    address, at the moment of dialling, whether a connection to it may be opened (``connectors.http`` asks it).
    ``journal`` has the answers of an attempt that was cut off, and keeps this one's (``connectors.client`` asks it).
    ``observer`` is told of each request and its answer, where somebody asked for a trace (``Web.of`` sees to that).
    ``seen`` is what an earlier attempt of the same run left with its error.
    """

    config: BaseModel
    upload: Path | None = None
    work_folder: Path | None = None
    limits: Limits = DEFAULT_LIMITS
    timeouts: Timeouts = DEFAULT_TIMEOUTS
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    watched: Path | None = None
    now: Callable[[], datetime] = utc_now
    reachable: Callable[[str, bool], bool] = nowhere
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    journal: Journal | None = None
    observer: Callable[[Exchange], Awaitable[None]] | None = None
    seen: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Kit:
    """What a district installs in its system before the hub can read there, made for what it chose.

    ``options``: the model of these choices. A source's configuration has members of the same names. ``make`` takes an
    instance of it and the time now, and gives the bytes of an archive; ``name`` is what to call that file.
    """

    options: type[BaseModel]
    make: Callable[[Any, datetime], bytes]
    name: str


@dataclass(frozen=True, slots=True)
class ConnectorSpec:
    """One kind of source. ``open`` reads nothing and connects to nothing; the first pull does.

    ``mapped``: its configuration has a ``mapping`` (``transforms.shaping.definition``), so a transform may state one.
    ``secrets``: the names of what a district enters that nobody may read again, each with a description; the hub keeps
    them encrypted and hands them over as ``SourceContext.secrets``. ``places``: the members of the configuration that
    say where these secrets go; whoever changes one enters the secrets anew. ``kit``: where the system needs a part of
    its own.
    """

    kind: str
    title: str
    config_model: type[BaseModel]
    open: Callable[[SourceContext], Source]
    mapped: bool = False
    secrets: Mapping[str, str] = field(default_factory=dict)
    places: frozenset[str] = frozenset()
    kit: Kit | None = None
