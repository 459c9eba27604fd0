"""Keys that wrap keys: everything that is sealed through the API, replaced while it is in use, and never lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from hub import rekeying, vault
from hub.api.context import CONTEXT
from hub.crypto import DERIVED, ENVELOPE, ERASURES, WALKS, Keys, seal, unseal
from hub.errors import Code, HubError
from hub.settings import master_key
from hub.store import data_keys, sealed
from hub.store.audit import HUB
from hub.store.database import Database as Pool
from tests.api.admin.commands import process
from tests.api.admin.service import AdminHub
from tests.api.admin.test_agreements import agreed
from tests.api.admin.test_exports import PASSWORD, SFTP
from tests.api.admin.test_grade_targets import LOGIN, URL
from tests.fakes.certificates import certificate

NEW = b"the master key that comes after, long enough"
Opened = dict[tuple[str, str, str], bytes]


class StoppedError(Exception):
    """As if the process ended here."""


@pytest.fixture
async def worker(hub: AdminHub) -> AsyncIterator[Pool]:
    db = await Pool.open(hub.worker_url, name="tests as a worker", largest=4)
    yield db
    await db.close()


async def furnish(hub: AdminHub, folder: Path) -> bytes:
    """Seals one secret of each kind through its own route; the master key."""
    here, there = f"/districts/{hub.district}", f"/districts/{hub.foreign_district}"
    pem = await asyncio.to_thread(lambda: certificate(folder, "192.0.2.7", days=3).read_text())
    receiver = {"url": hub.there.url, "client_certificate": pem, "signatures": ["v1", "v1a"]}
    await hub.made("POST", f"{here}/subscriptions", json=receiver | {"grant_id": str(hub.grant)})
    await hub.made("POST", f"{there}/subscriptions", json=receiver | {"grant_id": str(hub.foreign_grant)})
    await hub.made("POST", f"{here}/recipients", json={"channel": "webhook", "address": hub.there.url})
    target = {"source_id": str(hub.source), "url": URL, "login": LOGIN, "client_secret": "one"}
    await hub.made("POST", f"{here}/grade-targets", role="district", json=target)
    schedule = {"grant_id": str(hub.grant), "target": SFTP, "password": PASSWORD}
    await hub.made("POST", f"{here}/export-schedules", role="district", json=schedule)
    config = {
        "url": "https://127.0.0.1:8443/x",
        "login": {"kind": "oauth2", "token_url": "https://127.0.0.1:8443/token", "client_id": "hub"},
    }  # fmt: skip
    source = {"name": "SIS", "kind": "oneroster_rest", "config": config, "secrets": {"client_secret": "two"}}
    await hub.made("POST", f"{here}/sources", role="district", json=source)
    granted = {"app_id": str(hub.foreign_app), "definition": {}, "pseudonymous_ids": True}
    await hub.made("POST", f"{here}/grants", json=granted)
    await agreed(hub)
    client = await hub.made("POST", f"/apps/{hub.app}/clients", json={})
    for act in ("", "/rotate"):
        await hub.made("POST", f"/apps/{hub.app}/clients/{client['client_id']}/oauth1{act}", json={} if act else None)
    settings = hub.server.app[CONTEXT].settings
    return await asyncio.to_thread(master_key, settings)


async def opened(db: Pool, *masters: bytes) -> Opened:
    """All that is sealed, in clear, as a process sees it that begins now with these master keys."""
    keys, found = Keys(masters), {}
    for place in await rekeying.places(db):
        for column in sealed.COLUMNS:
            if column.of_the_hub is not (place == HUB):
                continue
            async with db.district(place) as tx:
                for value in await sealed.batch(tx, column, None, 1000):
                    if value.sealed:
                        await vault.to_open(tx, keys, value.sealed)
                        found[column.table, column.column, value.row] = unseal(
                            keys, value.sealed, district_id=place, table=column.table, column=column.bound_to,
                            row=value.row,
                        )  # fmt: skip
    return found


async def versions(db: Pool, district: UUID) -> dict[tuple[str, str], set[bytes]]:
    """What stands before the nonce of each ciphertext, by column."""
    found: dict[tuple[str, str], set[bytes]] = {}
    async with db.district(district) as tx:
        for column in sealed.COLUMNS:
            if column.of_the_hub is (district == HUB):
                values = await sealed.batch(tx, column, None, 1000)
                found[column.table, column.column] = {value.sealed[:17] for value in values if value.sealed}
    return found


async def statuses(db: Pool, keys: Keys) -> list[rekeying.Status]:
    return [await rekeying.status(db, keys, place, batch=2) for place in await rekeying.places(db)]


@pytest.mark.threat("T27")
async def test_every_secret_is_sealed_with_a_counted_key_of_its_district(
    hub: AdminHub, worker: Pool, tmp_path: Path
) -> None:
    master = await furnish(hub, tmp_path)
    clear = await opened(worker, master)
    seen: dict[UUID, bytes] = {}
    for place in (hub.district, hub.foreign_district, HUB):
        heads = await versions(worker, place)
        if place == hub.district:
            assert all(heads.values()), "a column that no route seals"
        (head,) = set().union(*heads.values())
        async with worker.district(place) as tx:
            (key,) = [key for key in await data_keys.listing(tx) if key.purpose == data_keys.COLUMNS]
        assert head == bytes([ENVELOPE]) + key.key_id.bytes
        assert key.encryptions >= sum(len(values) for values in heads.values()) > 0
        seen[place] = vault.unwrapped(Keys((master,)), key)
        assert seen[place] not in str(key.wrapped).encode()
    assert len(set(seen.values())) == 3
    assert len(clear) == 12
    assert len({(table, column) for table, column, _ in clear}) == len(sealed.COLUMNS)
    for status in await statuses(worker, Keys((master,))):
        assert (status.unwrapped, status.doubly, status.older, status.derived) == (0, 0, 0, 0)


@pytest.mark.threat("T26")
async def test_a_copied_key_and_a_copied_secret_open_nowhere_else(hub: AdminHub, worker: Pool, tmp_path: Path) -> None:
    master = await furnish(hub, tmp_path)
    owner = await asyncpg.connect(hub.owner_url)
    await owner.execute(
        "INSERT INTO hub.data_keys (district_id, key_id, purpose, wrapped) "
        "SELECT $2, key_id, purpose, wrapped FROM hub.data_keys WHERE district_id = $1", hub.district,
        hub.foreign_district,
    )  # fmt: skip
    await owner.execute(
        "UPDATE hub.subscriptions t SET secret = f.secret FROM hub.subscriptions f "
        "WHERE t.district_id = $2 AND f.district_id = $1", hub.district, hub.foreign_district,
    )  # fmt: skip
    await owner.close()
    keys = Keys((master,))
    async with worker.district(hub.foreign_district) as tx:
        (value,) = await sealed.batch(tx, sealed.COLUMNS[0], None, 10)
        with pytest.raises(HubError, match="altered or copied"):
            await vault.to_open(tx, keys, value.sealed)
    async with worker.district(hub.district) as tx:
        await vault.to_open(tx, keys, value.sealed)
    with pytest.raises(HubError, match="cannot be decrypted"):  # with the key at hand too
        unseal(keys, value.sealed, district_id=hub.foreign_district, table="subscriptions", column="secret",
               row=value.row)  # fmt: skip
    async with worker.district(hub.foreign_district) as tx:
        assert await tx.fetchval("SELECT count(*) FROM data_keys WHERE district_id = $1", hub.district) == 0


@pytest.mark.threat("T27")
async def test_a_data_key_is_replaced_long_before_it_has_sealed_too_often(
    hub: AdminHub, worker: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert vault.MOST_ENCRYPTIONS < 2**32 / 8
    monkeypatch.setattr(vault, "MOST_ENCRYPTIONS", 100)
    monkeypatch.setattr(vault, "_BLOCK", 16)
    keys, values = Keys((NEW,)), []
    place = {"district_id": hub.district, "table": "t", "column": "c"}
    for number in range(250):
        async with worker.district(hub.district) as tx:
            sealer = await vault.to_seal(tx, keys)
        values.append(seal(sealer, b"%d" % number, **place, row=str(number)))
    async with worker.district(hub.district) as tx:
        known = [key for key in await data_keys.listing(tx) if key.purpose == data_keys.COLUMNS]
    assert len(known) >= 3
    used = [sum(value[1:17] == key.key_id.bytes for value in values) for key in known]
    assert sum(used) == 250
    assert all(count <= key.encryptions <= 100 for count, key in zip(used, known, strict=True))
    fresh = Keys((NEW,))
    async with worker.district(hub.district) as tx:
        await vault.to_open(tx, fresh, *values)
    assert [unseal(fresh, value, **place, row=str(n)) for n, value in enumerate(values)] == [
        b"%d" % n for n in range(250)
    ]


@pytest.mark.threat("T27")
async def test_what_was_rolled_back_is_never_sealed_with(hub: AdminHub, worker: Pool) -> None:
    keys = Keys((NEW,))
    with suppress(StoppedError):
        async with worker.district(hub.district) as tx:
            lost = await vault.to_seal(tx, keys)
            raise StoppedError
    async with worker.district(hub.district) as tx:
        kept = await vault.to_seal(tx, keys)
        assert kept.key_id != lost.key_id
        assert [key.key_id for key in await data_keys.listing(tx)] == [kept.key_id]
    with pytest.raises(HubError, match="another district"):
        seal(kept, b"x", district_id=hub.foreign_district, table="t", column="c", row="r")


@pytest.mark.threat("T28")
async def test_the_master_key_is_replaced_while_workers_with_either_go_on(
    hub: AdminHub, worker: Pool, tmp_path: Path
) -> None:
    master = await furnish(hub, tmp_path)
    clear = await opened(worker, master)
    before, both = Keys((master,)), Keys((NEW, master))
    for keys in (before, both):
        await vault.fix(worker, keys)
    await _seals_for_others(worker, hub.district, both, before, fresh=True)
    await _seals_for_others(worker, hub.district, before, both)
    found = await statuses(worker, both)
    assert sum(one.unwrapped for one in found) >= 4
    with pytest.raises(HubError) as caught:
        await rekeying.forget(worker, both, found)
    assert caught.value.code is Code.CONFLICT
    with pytest.raises(HubError) as caught:
        await opened(worker, NEW)
    assert (caught.value.code, "HUB_MASTER_KEY_FORMER" in caught.value.message) == (Code.SETTINGS_CONTRADICT, True)

    done = [await rekeying.rotate(worker, both, place) for place in await rekeying.places(worker)]
    assert sum(one.wrapped for one in done) == sum(one.unwrapped for one in found)
    for masters in ((master,), (NEW, master), (NEW,)):
        assert await opened(worker, *masters) == clear
    await _seals_for_others(worker, hub.district, both, Keys((master,)))
    await _seals_for_others(worker, hub.district, Keys((master,)), both)

    found = await statuses(worker, both)
    assert await rekeying.forget(worker, both, found) == sum(one.doubly for one in found) > 0
    after = Keys((NEW,))
    await vault.fix(worker, after)
    assert await opened(worker, NEW) == clear
    for purpose in (WALKS, ERASURES):  # links, ids and digests are what they were
        assert after.fixed(purpose) == both.fixed(purpose) == before.fixed(purpose) == Keys((master,)).fixed(purpose)
        assert Keys((NEW,)).fixed(purpose) != after.fixed(purpose)
    with pytest.raises(HubError):
        await opened(worker, master)
    with pytest.raises(HubError) as caught:
        await vault.fix(worker, Keys((master,)))
    assert caught.value.code is Code.SETTINGS_CONTRADICT


async def _seals_for_others(db: Pool, district: UUID, mine: Keys, theirs: Keys, *, fresh: bool = False) -> None:
    """One worker seals, with a new data key or the one there is; another one with other master keys opens it."""
    place = {"district_id": district, "table": "t", "column": "c", "row": "r"}
    async with db.district(district) as tx:
        sealer = await vault.made(tx, mine) if fresh else await vault.to_seal(tx, mine)
    value = seal(sealer, b"ours", **place)
    async with db.district(district) as tx:
        await vault.to_open(tx, theirs, value)
    assert unseal(theirs, value, **place) == b"ours"


@pytest.mark.threat("T28")
async def test_what_a_master_key_sealed_itself_is_opened_and_sealed_anew(
    hub: AdminHub, worker: Pool, tmp_path: Path
) -> None:
    """As everything was before there were data keys."""
    master = await furnish(hub, tmp_path)
    clear, old, both = await opened(worker, master), Keys((master,)), Keys((NEW, master))
    for place in await rekeying.places(worker):
        for column in sealed.COLUMNS:
            if column.of_the_hub is (place == HUB):
                async with worker.district(place) as tx:
                    values = [value for value in await sealed.batch(tx, column, None, 100) if value.sealed]
                    anew = [
                        (value, seal(old, clear[column.table, column.column, value.row], district_id=place,
                                     table=column.table, column=column.bound_to, row=value.row))
                        for value in values
                    ]  # fmt: skip
                    await sealed.replace(tx, column, anew)
    assert {head[:1] for heads in (await versions(worker, hub.district)).values() for head in heads} == {
        bytes([DERIVED])
    }
    assert await opened(worker, NEW, master) == clear
    found = await statuses(worker, both)
    assert sum(one.derived for one in found) == len(clear)
    for place in await rekeying.places(worker):
        await rekeying.rotate(worker, both, place, batch=1)
    found = await statuses(worker, both)
    assert [(one.derived, one.older) for one in found] == [(0, 0)] * len(found)
    await rekeying.forget(worker, both, found)
    assert await opened(worker, NEW) == clear


def environment(hub: AdminHub, master: bytes, crash_at: str = "") -> dict[str, str]:
    """The settings of a command that replaces ``master``."""
    return {
        "HUB_DATABASE_URL": hub.owner_url, "HUB_WORKER_DATABASE_URL": hub.worker_url, "HUB_MASTER_KEY": NEW.decode(),
        "HUB_MASTER_KEY_FORMER": master.decode(), "HUB_REDIS_URL": "redis://127.0.0.1:1/0", "HUB_CRASH_AT": crash_at,
    }  # fmt: skip


@pytest.mark.threat("T28", "F1")
async def test_a_rotation_that_ends_anywhere_leaves_everything_readable(
    hub: AdminHub, worker: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    master = await furnish(hub, tmp_path)
    clear, stops = await opened(worker, master), 0
    for end in range(1, 100):
        passed = iter(range(1, 1000))

        def stop(_place: str, end: int = end, passed: Iterator[int] = passed) -> None:
            if next(passed) == end:
                raise StoppedError

        monkeypatch.setattr(rekeying, "crash_point", stop)
        try:
            await rekeying.rotate(worker, Keys((NEW, master)), hub.district, new_data_key=end < 4, batch=1)
            break
        except StoppedError:
            stops += 1
        for masters in ((master,), (NEW, master)):
            assert await opened(worker, *masters) == clear
    assert stops >= 8
    both = Keys((NEW, master))
    monkeypatch.setattr(rekeying, "crash_point", lambda _place: None)
    for place in await rekeying.places(worker):
        await rekeying.rotate(worker, both, place)
    found = await statuses(worker, both)

    def stop_at_once(_place: str) -> None:
        raise StoppedError

    monkeypatch.setattr(rekeying, "crash_point", stop_at_once)
    with pytest.raises(StoppedError):
        await rekeying.forget(worker, both, found)
    assert await opened(worker, NEW, master) == await opened(worker, NEW) == clear
    assert {one.doubly for one in await statuses(worker, both)} > {0}


@pytest.mark.threat("T28", "F1")
async def test_the_command_rotates_forgets_and_may_be_killed(hub: AdminHub, worker: Pool, tmp_path: Path) -> None:
    master = await furnish(hub, tmp_path)
    clear = await opened(worker, master)
    killed, told = await process("keys", "rotate", "--data-keys", **environment(hub, master, "keys.sealed"))
    assert killed == 137, told
    assert await opened(worker, master) == clear
    for word, told in (
        ("rotate", f"{hub.district}: 1 keys wrapped, 0 made, "),
        ("forget", "under the present master key alone now"),
        ("status", "the hub itself: 2 data keys, at most "),
    ):
        code, output = await process("keys", word, **environment(hub, master))
        assert (code, told in output) == (0, True), output
    assert await opened(worker, NEW) == clear
    with pytest.raises(HubError):
        await opened(worker, master)


@pytest.mark.threat("T28")
async def test_every_column_of_ciphertexts_can_be_sealed_anew(hub: AdminHub, tmp_path: Path) -> None:
    """No column of the database but those that are known begins with the name of a data key."""
    await furnish(hub, tmp_path)
    owner = await asyncpg.connect(hub.owner_url)
    heads = [bytes([ENVELOPE]) + row["key_id"].bytes for row in await owner.fetch("SELECT key_id FROM hub.data_keys")]
    found = set()
    for row in await owner.fetch(
        "SELECT table_name AS table, column_name AS column FROM information_schema.columns "
        "WHERE table_schema = 'hub' AND data_type = 'bytea'"
    ):
        held = f"SELECT count(*) FROM hub.{row['table']} WHERE substring({row['column']} FOR 17) = ANY($1::bytea[])"
        if await owner.fetchval(held, heads):
            found.add((row["table"], row["column"]))
    await owner.close()
    assert found == {(column.table, column.column) for column in sealed.COLUMNS if not column.document}
