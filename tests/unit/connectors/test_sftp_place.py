"""Packages on a vendor's SFTP server: pulled whole and once, or not at all, with a code and what to do."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from connectors.oneroster_csv import SPEC
from connectors.oneroster_csv.source import OneRosterCsvConfig
from connectors.places import sftp, store
from connectors.protocol import ConnectorError, Found, Intent, NotYetError, Pull, SourceContext
from hub.errors import out_of_room
from tests.contract.test_oneroster_csv import CLEAN, archive, folder
from tests.fakes.sftp_server import PASSWORD, Vendor, keys, running
from transforms.issues import RULES, Severity

OLD, NEW = 1_700_000_000, 1_700_003_600


@pytest.fixture
def vendor(tmp_path: Path) -> Iterator[Vendor]:
    (tmp_path / "root").mkdir()
    (tmp_path / "work").mkdir()
    with running(tmp_path / "root") as found:
        yield found


class Pulling:
    """A source at the vendor's. ``slept``: how long it waited; ``meanwhile`` is done then."""

    def __init__(self, vendor: Vendor, **more: Any) -> None:
        self.vendor, self.slept = vendor, [0.0]
        self.secrets: Mapping[str, str] = more.pop("secrets", {"password": PASSWORD})
        self.reachable: Callable[[str, bool], bool] = more.pop("reachable", lambda *_: True)
        settle = more.pop("settle_seconds", 60)
        self.config = OneRosterCsvConfig.model_validate({"place": vendor.place(**more), "settle_seconds": settle})
        self.meanwhile: Callable[[], None] | None = None

    @property
    def source(self) -> Any:
        return self.opening(None)

    def opening(self, seen: Mapping[str, Any] | None) -> Any:
        return SPEC.open(
            SourceContext(
                self.config, work_folder=self.vendor.root.parent / "work", secrets=self.secrets,
                reachable=self.reachable, now=lambda: datetime.fromtimestamp(NEW + 60 + sum(self.slept), UTC),
                seen=seen,
            )
        )  # fmt: skip

    async def pull(self, cursor: Mapping[str, Any] | None = None) -> Pull:
        async with self.opened(cursor) as found:
            return found

    @asynccontextmanager
    async def opened(self, cursor: Mapping[str, Any] | None = None) -> AsyncIterator[Pull]:
        try:
            found: Pull = await self.source.pull(cursor)
        except NotYetError as error:  # it goes on with the run's next attempt
            self.slept.append(error.wait_seconds or 0.0)
            if self.meanwhile is not None:
                await asyncio.to_thread(self.meanwhile)
            found = await self.opening(error.seen).pull(cursor)
        yield found
        await asyncio.to_thread(found.package.close)

    async def refused(self, cursor: Mapping[str, Any] | None = None) -> tuple[str, Intent]:
        with pytest.raises(ConnectorError) as error:
            await self.pull(cursor)
        assert PASSWORD not in error.value.message
        return error.value.code, error.value.intent

    async def probe(self) -> dict[str, Found]:
        return {one.step: one for one in await self.source.probe()}


def put(vendor: Vendor, name: str, at: int = NEW, *, schools: int = 9) -> Path:
    text = "".join(CLEAN["orgs"].splitlines(keepends=True)[: schools + 2])
    users = CLEAN["users"].replace("s1,s2", "s1")
    path = archive(vendor.root / name, {"orgs": text, "users": users})
    os.utime(path, (at, at))
    return path


async def test_nothing_compressed_is_read(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "work").mkdir()
    with running(tmp_path / "root", compression=("zlib@openssh.com",)) as vendor:
        put(vendor, "monday.zip")
        assert await Pulling(vendor).refused() == ("no_common_method", Intent.ASK_HUMAN)


async def test_the_newest_package_is_pulled_once(vendor: Vendor) -> None:
    put(vendor, "monday.zip", OLD)
    newest = put(vendor, "tuesday.zip", NEW)
    pulling = Pulling(vendor)
    async with pulling.opened() as found:
        assert found.package.rows("users") == 30
    assert (vendor.opened, pulling.slept) == (["tuesday.zip"], [0.0, 60])
    cursor = (await pulling.pull()).cursor
    assert cursor is not None
    assert cursor["files"] == [["tuesday.zip", newest.stat().st_size, str(NEW)]]
    vendor.opened.clear()

    again = await pulling.pull(cursor)
    assert (again.unchanged, again.cursor, again.package.mode, vendor.opened) == (True, cursor, {}, [])
    newest.unlink()  # Monday's is older than what was applied
    assert (await pulling.pull(cursor)).unchanged
    (vendor.root / "monday.zip").unlink()
    assert (await pulling.pull(cursor)).unchanged
    assert await pulling.refused() == ("package_missing", Intent.RETRY)
    put(vendor, "wednesday.zip", NEW + 30)
    assert not (await pulling.pull(cursor)).unchanged
    assert vendor.opened == ["wednesday.zip"]


@pytest.mark.threat("T42")
async def test_the_first_look_goes_with_the_run_and_is_of_this_place(vendor: Vendor) -> None:
    put(vendor, "a.zip")
    pulling = Pulling(vendor)
    with pytest.raises(NotYetError) as first:
        await pulling.source.pull(None)
    assert (first.value.intent, first.value.wait_seconds, vendor.opened) == (Intent.RETRY, 60, [])
    assert len(json.dumps(first.value.seen)) < 200

    async def then(seconds: float, **place: Any) -> ConnectorError | None:
        later = Pulling(vendor, **place)
        later.slept = [seconds]
        try:
            found = await later.opening(first.value.seen).pull(None)
        except ConnectorError as error:
            return error
        await asyncio.to_thread(found.package.close)
        return None

    for gone, left, same in ((20.0, 40.0, True), (-5.0, 60.0, False)):  # too early, and by a clock that is behind
        early = await then(gone)
        assert isinstance(early, NotYetError)
        assert (early.wait_seconds, early.seen == first.value.seen, vendor.opened) == (left, same, [])
    assert await then(60.0) is None
    (vendor.root / "out").mkdir()
    (vendor.root / "a.zip").rename(vendor.root / "out" / "a.zip")
    vendor.opened.clear()
    elsewhere = await then(60.0, folder="out")
    assert elsewhere is not None
    assert (elsewhere.code, elsewhere.wait_seconds, vendor.opened) == ("package_unsettled", 60, [])
    assert elsewhere.seen not in (None, first.value.seen)
    for number in range(30):
        put(vendor, f"{number}.zip")
    with pytest.raises(NotYetError) as many:
        await pulling.source.pull(None)
    assert len(json.dumps(many.value.seen)) < 2_000


def test_the_two_looks_are_not_hours_apart(vendor: Vendor) -> None:
    assert Pulling(vendor, settle_seconds=600).config.settle_seconds == 600
    with pytest.raises(ValueError, match="settle_seconds: at a server or bucket it is 600 at most"):
        Pulling(vendor, settle_seconds=601)
    for config in ({"path": "/srv/a.zip"}, {"place": {"kind": "folder"}}):
        assert OneRosterCsvConfig.model_validate(config | {"settle_seconds": 86_400}).settle_seconds == 86_400


async def test_a_login_with_a_key_and_a_fingerprint_of_the_server(vendor: Vendor) -> None:
    put(vendor, "a.zip")
    plain = keys()[1].export_private_key().decode()
    sealed = keys()[1].export_private_key("pkcs8-pem", passphrase="words").decode()
    for secrets in ({"private_key": plain}, {"private_key": sealed, "passphrase": "words"}):
        assert not (await Pulling(vendor, secrets=secrets, host_key=vendor.fingerprint).pull()).unchanged
    wrong = {"private_key": sealed, "passphrase": "other words"}
    assert await Pulling(vendor, secrets=wrong).refused() == ("key_unreadable", Intent.ASK_HUMAN)


@pytest.mark.parametrize(
    ("given", "code", "intent"),
    [
        ({"secrets": {"password": "wrong"}}, "login_refused", Intent.ASK_HUMAN),
        ({"secrets": {}}, "no_secret", Intent.ASK_HUMAN),
        ({"username": "other"}, "login_refused", Intent.ASK_HUMAN),
        ({"folder": "missing"}, "folder_missing", Intent.ASK_HUMAN),
        ({"port": 9}, "not_connected", Intent.RETRY),
        ({"host": "a" * 64 + ".example"}, "host_unknown", Intent.RETRY),  # no label is that long
        ({"host_key": None}, "host_key_missing", Intent.ASK_HUMAN),
        ({"host_key": "SHA256:" + "A" * 43}, "host_key_changed", Intent.ASK_HUMAN),
        ({"host_key": keys()[1].export_public_key().decode()}, "host_key_changed", Intent.ASK_HUMAN),
        ({"stale_hours": 0.0}, "", Intent.RETRY),
    ],
)
async def test_what_cannot_work_says_why_and_what_to_do(
    vendor: Vendor, given: dict[str, Any], code: str, intent: Intent
) -> None:
    put(vendor, "a.zip")
    if not code:
        with pytest.raises(ValueError, match="stale_hours"):
            Pulling(vendor, **given)
        return
    assert await Pulling(vendor, **given).refused() == (code, intent)
    if "host_key" in given:
        assert vendor.logins == []  # the login is shown to the right server alone
    assert list((vendor.root.parent / "work").iterdir()) == []


@pytest.mark.threat("T31", "T32")
async def test_the_address_is_judged_when_it_is_dialled(vendor: Vendor) -> None:
    put(vendor, "a.zip")
    asked: list[tuple[str, bool]] = []

    def never(address: str, encrypted: bool) -> bool:
        asked.append((address, encrypted))
        return False

    pulling = Pulling(vendor, host="localhost", reachable=never)
    assert await pulling.refused() == ("address_blocked", Intent.ASK_HUMAN)
    assert ("127.0.0.1", True) in asked
    assert vendor.logins == []
    assert (await pulling.probe())["connection"].outcome == "bad"


@pytest.mark.threat("T42", "F7")
async def test_a_package_that_grows_or_is_replaced_is_not_taken(vendor: Vendor) -> None:
    old, path = put(vendor, "a.zip", OLD), put(vendor, "b.zip", NEW)
    pulling = Pulling(vendor)

    def grows() -> None:
        os.truncate(path, path.stat().st_size + 4)

    pulling.meanwhile = grows  # between the looks: the package before it is whole
    cursor = (await pulling.pull()).cursor
    assert cursor is not None
    assert cursor["files"][0][0] == "a.zip"
    old.unlink()
    assert await pulling.refused() == ("package_unsettled", Intent.RETRY)

    pulling.meanwhile = None
    for change in (grows, lambda: put(vendor, "b.tmp", NEW + 5, schools=4).replace(path), path.unlink):
        put(vendor, "b.zip", NEW)
        vendor.while_reading = change
        code, _ = await pulling.refused()
        assert code in {"package_unsettled", "folder_missing"}
    put(vendor, "b.zip", NEW)
    assert not (await pulling.pull()).unchanged


@pytest.mark.threat("T42", "F7")
async def test_a_connection_that_breaks_off_in_the_middle_leaves_nothing(vendor: Vendor) -> None:
    put(vendor, "a.zip")
    (vendor.root / "a.zip").write_bytes(os.urandom(3 << 20))
    pulling = Pulling(vendor)
    for after in (0, 1 << 20, 2 << 20):
        vendor.cut_after = after
        code, intent = await pulling.refused()
        assert (code, intent) == ("not_connected", Intent.RETRY)
    put(vendor, "a.zip", NEW + 1)
    assert not (await pulling.pull()).unchanged


async def test_a_server_that_stalls_or_drips_is_given_up(vendor: Vendor, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(vendor, "a.zip")
    pulling = Pulling(vendor)
    monkeypatch.setattr(sftp, "longest_seconds", lambda _size: 0.0)
    assert await pulling.refused() == ("too_slow", Intent.RETRY)
    monkeypatch.undo()
    monkeypatch.setattr(sftp, "STALL_SECONDS", 0.2)
    vendor.hangs_at = path.stat().st_size - 1
    assert await pulling.refused() == ("timed_out", Intent.RETRY)


@pytest.mark.threat("T38", "T39", "T35")
async def test_hostile_names_large_folders_and_bombs(vendor: Vendor, monkeypatch: pytest.MonkeyPatch) -> None:
    put(vendor, "a.zip")
    (vendor.root / "z.zip").symlink_to("/etc/passwd")
    vendor.hostile = ("../../evil.zip", "/etc/passwd.zip", "c:\\evil.zip", ".zip", "nul.zip")
    pulling = Pulling(vendor)
    cursor = (await pulling.pull()).cursor
    assert cursor is not None
    assert [name for name, *_ in cursor["files"]] == ["a.zip"]
    assert vendor.opened == ["a.zip"]

    with zipfile.ZipFile(vendor.root / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("users.csv", bytes(16 << 20))
    async with pulling.opened() as found:
        blocking = [code for code, rule in RULES.items() if rule.severity is Severity.BLOCK_SYNC]
        assert found.package.issues["code"].is_in(blocking).any()
        assert found.package.mode == {}

    with (vendor.root / "huge.zip").open("wb") as huge:
        huge.truncate(9 << 30)
    assert await pulling.refused() == ("package_too_large", Intent.ASK_HUMAN)
    monkeypatch.setattr(sftp, "MOST_ENTRIES", 4)
    assert await pulling.refused() == ("folder_too_large", Intent.ASK_HUMAN)


@pytest.mark.threat("F16")
async def test_a_full_disk_of_ours_is_told_as_such(vendor: Vendor, monkeypatch: pytest.MonkeyPatch) -> None:
    put(vendor, "a.zip")
    real = os.open

    def full(path: Any, flags: int, mode: int = 0o777) -> int:
        return real("/dev/full" if str(path).endswith("a.zip") else path, flags & ~(os.O_CREAT | os.O_EXCL), mode)

    monkeypatch.setattr(sftp.os, "open", full)
    with pytest.raises(ConnectorError) as refused:
        await Pulling(vendor).pull()
    assert out_of_room(refused.value)
    assert refused.value.intent is Intent.RETRY


@pytest.mark.parametrize("posix", [True, False])
async def test_what_was_applied_is_moved_or_deleted_and_nothing_else(vendor: Vendor, posix: bool) -> None:
    vendor.posix = posix
    (vendor.root / "taken").mkdir()
    path = put(vendor, "a.zip")
    moving = await Pulling(vendor, after="move").pull()
    assert moving.applied is not None
    assert path.exists()
    await moving.applied()
    assert [p.name for p in (vendor.root / "taken").iterdir()] == ["20231114T231320Z-a.zip"]
    assert not path.exists()
    await moving.applied()  # a pull that was cut short is done again

    put(vendor, "a.zip", NEW + 10)
    deleting = await Pulling(vendor, after="delete").pull()
    put(vendor, "a.zip", NEW + 20)  # came since
    assert deleting.applied is not None
    await deleting.applied()
    assert path.exists()
    again = await Pulling(vendor, after="delete").pull(deleting.cursor)
    assert again.applied is not None
    vendor.read_only = True
    with pytest.raises(ConnectorError, match="not_permitted"):
        await again.applied()
    vendor.read_only = False
    await again.applied()
    assert not path.exists()
    put(vendor, "b.zip")
    assert (await Pulling(vendor).pull()).applied is None


@pytest.mark.parametrize(("after", "posix"), [("delete", True), ("move", True), ("move", False)])
async def test_a_file_that_comes_while_another_is_put_away_stays(vendor: Vendor, after: str, posix: bool) -> None:
    vendor.posix = posix
    (vendor.root / "taken").mkdir()
    path, marker = put(vendor, "a.zip"), vendor.root / "a.zip.done"
    marker.touch()
    found = await Pulling(vendor, after=after, marker="{name}.done").pull()
    assert found.applied is not None

    def comes() -> None:
        put(vendor, "b.tmp", NEW + 5, schools=4).replace(path)
        marker.touch()

    vendor.after_listing = comes
    await found.applied()
    assert (vendor.after_listing, path.stat().st_mtime) == (None, NEW + 5)
    await found.applied()  # this listing shows the new one
    assert sorted(p.name for p in vendor.root.rglob("*")) == ["a.zip", "a.zip.done", "taken"]
    put(vendor, "a.zip")
    vendor.after_listing = path.unlink  # somebody else has removed it
    with contextlib.suppress(ConnectorError):
        await found.applied()
    assert not path.exists()


async def test_markers_and_folders(vendor: Vendor) -> None:
    put(vendor, "a.zip")
    marked = Pulling(vendor, marker="{name}.done", after="delete")
    assert await marked.refused() == ("package_unsettled", Intent.RETRY)
    (vendor.root / "a.zip.done").touch()
    found = await marked.pull()
    assert marked.slept == [0.0]  # nobody needs to look twice
    assert found.applied is not None
    await found.applied()
    assert list(vendor.root.iterdir()) == []

    folder(vendor.root / "out", CLEAN)
    (vendor.root / "out" / "notes.txt").write_text("not ours")
    of_files = Pulling(vendor, folder="/out", package="folder")
    async with of_files.opened() as found:
        assert sorted(found.package.mode) == ["orgs", "users"]
    assert sorted(vendor.opened[1:]) == ["manifest.csv", "orgs.csv", "users.csv"]


async def test_a_try_shows_the_servers_keys_and_what_lies_there(vendor: Vendor) -> None:
    put(vendor, "a.zip", OLD)
    unpinned = await Pulling(vendor, host_key=None).probe()
    assert vendor.fingerprint in unpinned["host key"].text
    assert " ".join(vendor.host_key.split()[:2]) in unpinned["host key"].text
    assert vendor.logins == []
    good = await Pulling(vendor).probe()
    assert [(step, one.outcome) for step, one in good.items()] == [
        ("host key", "good"), ("login", "good"), ("packages", "good"),
    ]  # fmt: skip
    other = await Pulling(vendor, host_key="SHA256:" + "A" * 43).probe()
    assert other["host key"].outcome == "bad"
    assert (await Pulling(vendor, stale_hours=1).probe())["packages"].outcome == "bad"
    assert (await Pulling(vendor, pattern="*.tgz").probe())["packages"].outcome == "warning"
    assert (await Pulling(vendor, secrets={"password": "no"}).probe())["login"].outcome == "bad"
    assert vendor.opened == []
    assert await Pulling(vendor, stale_hours=1).refused() == ("package_stale", Intent.ASK_HUMAN)


@pytest.mark.parametrize("values", [{"host_key": "SHA256:short"}, {"host_key": "nothing"}, {"folder": "a/../b"},
                                    {"pattern": "a/b"}, {"host": "a b"}, {"unknown": 1}, {"port": 0}])  # fmt: skip
def test_places_that_cannot_be_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="place"):
        OneRosterCsvConfig.model_validate({"place": Vendor(Path(), 22).place() | values})


def test_a_place_or_a_path() -> None:
    with pytest.raises(ValueError, match="not both"):
        OneRosterCsvConfig.model_validate({"place": Vendor(Path(), 22).place(), "path": "/srv/a.zip"})


def test_the_pace_that_is_asked_for() -> None:
    assert store.longest_seconds(200_000_000) == store.STALL_SECONDS + 10_000
