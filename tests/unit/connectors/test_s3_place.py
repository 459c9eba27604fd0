"""Packages in a bucket: signed as AWS says, pulled whole and once, or not at all, with a code and what to do."""

from __future__ import annotations

import asyncio
import contextlib
import io
import threading
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors.oneroster_csv import SPEC
from connectors.oneroster_csv.source import OneRosterCsvConfig
from connectors.places import s3
from connectors.places.sigv4 import Signer
from connectors.protocol import ConnectorError, Intent, NotYetError, Pull, SourceContext
from tests.contract.test_oneroster_csv import CLEAN, contents
from tests.fakes.s3_server import ACCESS, SECRET, Bucket, running

OLD, NEW = 1_700_000_000.0, 1_700_003_600.0
KEYS = {"access_key": ACCESS, "secret_key": SECRET}


def test_signatures_are_those_of_the_published_examples() -> None:
    """Amazon S3 API Reference, "Examples: Signature Calculations": GET object, GET bucket lifecycle, list objects."""
    signer = Signer("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "us-east-1")
    host, at = "examplebucket.s3.amazonaws.com", datetime(2013, 5, 24, tzinfo=UTC)
    for path, query, given, signature in (
        ("/test.txt", [], {"range": "bytes=0-9"}, "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"),
        ("/", [("lifecycle", "")], {}, "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        ("/", [("max-keys", "2"), ("prefix", "J")], {},
         "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
    ):  # fmt: skip
        assert signer.headers("GET", host, path, query, given, at)["authorization"].endswith(signature)
    assert "wJalr" not in repr(signer)


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with running() as found:
        yield found


def put(bucket: Bucket, key: str, at: float = NEW, files: Mapping[str, str] = CLEAN) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in contents(dict(files)).items():
            archive.writestr(name, data)
    bucket.objects[key] = (out.getvalue(), at)


async def pull(bucket: Bucket, work: Path, cursor: Any = None, /, **more: Any) -> Pull:
    secrets, now = more.pop("secrets", KEYS), more.pop("now", lambda: datetime.now(UTC))
    reachable, meanwhile = more.pop("reachable", lambda *_: True), more.pop("meanwhile", None)

    config, waited = OneRosterCsvConfig.model_validate({"place": bucket.place(**more)}), timedelta()
    context = SourceContext(config, work_folder=work, secrets=secrets, reachable=reachable, now=lambda: now() + waited)
    try:
        found: Pull = await SPEC.open(context).pull(cursor)
    except NotYetError as error:  # it goes on with the run's next attempt
        waited = timedelta(seconds=error.wait_seconds or 0)
        if meanwhile is not None:
            meanwhile()
        found = await SPEC.open(replace(context, seen=error.seen)).pull(cursor)
    await asyncio.to_thread(found.package.close)
    return found


async def refused(bucket: Bucket, work: Path, /, **more: Any) -> tuple[str, Intent]:
    with pytest.raises(ConnectorError) as error:
        await pull(bucket, work, **more)
    assert SECRET not in error.value.message
    return error.value.code, error.value.intent


async def test_the_newest_package_is_pulled_once_range_by_range(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "RANGE_BYTES", 300)
    for key, at in (("out/a b+c.zip", OLD), ("out/b.zip", NEW), ("out/deep/z.zip", NEW + 9), ("other.zip", NEW + 9)):
        put(bucket, key, at)
    found = await pull(bucket, tmp_path, folder="out")
    assert found.cursor is not None
    assert [name for name, *_ in found.cursor["files"]] == ["b.zip"]
    bucket.asked.clear()
    assert (await pull(bucket, tmp_path, found.cursor, folder="/out/")).unchanged
    assert {path.partition("?")[0] for _, path in bucket.asked} == {"/rosters/"}
    del bucket.objects["out/b.zip"]
    assert (await pull(bucket, tmp_path, found.cursor, folder="out")).unchanged  # the other one is older
    assert not (await pull(bucket, tmp_path, folder="out")).unchanged


async def test_what_was_applied_is_put_away_and_nothing_that_came_since(bucket: Bucket, tmp_path: Path) -> None:
    put(bucket, "out/a.zip")
    for after, left in (("move", ["out/taken/20231114T231320Z-a.zip"]), ("delete", [])):
        bucket.objects.clear()
        put(bucket, "out/a.zip")
        found = await pull(bucket, tmp_path, folder="out", after=after)
        assert found.applied is not None
        original = bucket.objects["out/a.zip"]
        bucket.objects["out/a.zip"] = (b"came since", NEW + 1)
        await found.applied()
        assert list(bucket.objects) == ["out/a.zip"]
        bucket.objects["out/a.zip"] = original
        await found.applied()
        assert list(bucket.objects) == left


async def test_an_object_that_comes_while_another_is_put_away_stays(bucket: Bucket, tmp_path: Path) -> None:
    newer = (b"came since", NEW + 1)

    def comes() -> None:
        bucket.objects["out/a.zip"] = newer

    for after, moment, left in (
        ("delete", "after_listing", {"out/a.zip"}), ("move", "after_listing", {"out/a.zip"}),
        ("move", "after_copying", {"out/a.zip", "out/taken/20231114T231320Z-a.zip"}),
    ):  # fmt: skip
        bucket.objects.clear()
        put(bucket, "out/a.zip")
        package = bucket.objects["out/a.zip"]
        found = await pull(bucket, tmp_path, folder="out", after=after)
        assert found.applied is not None
        setattr(bucket, moment, comes)
        with contextlib.suppress(ConnectorError):  # the log says that it stays
            await found.applied()
        assert getattr(bucket, moment) is None
        assert (set(bucket.objects), bucket.objects["out/a.zip"]) == (left, newer)
        assert all(data == package for key, data in bucket.objects.items() if "taken" in key)
    bucket.objects.clear()
    put(bucket, "out/a.zip")
    found = await pull(bucket, tmp_path, folder="out", after="delete")
    assert found.applied is not None
    bucket.after_listing = bucket.objects.clear
    await found.applied()  # somebody else has removed it


@pytest.mark.threat("T42", "F7")
async def test_an_object_that_changes_or_breaks_off_is_not_taken(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "RANGE_BYTES", 2_000)
    for change in (lambda: put(bucket, "a.zip", NEW, {"orgs": CLEAN["orgs"]}), bucket.objects.clear):
        put(bucket, "a.zip")
        bucket.while_reading = change
        assert await refused(bucket, tmp_path) == ("package_unsettled", Intent.RETRY)
        put(bucket, "a.zip")
        assert (await refused(bucket, tmp_path, meanwhile=change))[0] == "package_unsettled"
    put(bucket, "a.zip")
    bucket.cut = True
    assert await refused(bucket, tmp_path) == ("answer_cut_off", Intent.RETRY)
    assert not (await pull(bucket, tmp_path)).unchanged


@pytest.mark.threat("T34")
async def test_a_listing_has_an_end_also_without_objects(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(bucket, "a.zip")
    bucket.empty_pages = 3
    assert not (await pull(bucket, tmp_path)).unchanged
    bucket.empty_pages = 60
    assert s3.MOST_PAGES == 100
    monkeypatch.setattr(s3, "MOST_PAGES", 8)
    bucket.asked.clear()
    assert await refused(bucket, tmp_path) == ("folder_too_large", Intent.ASK_HUMAN)
    assert len(bucket.asked) == 8
    monkeypatch.setattr(s3, "MOST_PAGES", 100)
    bucket.slow_seconds = 0.05
    monkeypatch.setattr(s3, "LISTING_SECONDS", 0.3)
    bucket.asked.clear()
    assert await refused(bucket, tmp_path) == ("timed_out", Intent.RETRY)
    assert len(bucket.asked) < 10


LISTED = '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{}<Name>é{}</Name></ListBucketResult>'
DEFINING = '<!DOCTYPE a [<!ENTITY b "c">]>'


@pytest.mark.threat("T34", "T35")
async def test_xml_is_in_utf_8_defines_nothing_and_is_read_in_a_thread(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: set[bool] = set()
    real = s3.ET.fromstring

    def noted(text: str | bytes) -> Any:
        threads.add(threading.current_thread() is threading.main_thread())
        return real(text)

    monkeypatch.setattr(s3.ET, "fromstring", noted)
    plain, missing = LISTED.format("", ""), ("package_missing", Intent.RETRY)
    for body in (plain.encode(), b"\xef\xbb\xbf" + plain.encode(), LISTED.format("<!-- -->", " &lt;!ENTITY").encode()):
        bucket.fault = (200, body)
        assert await refused(bucket, tmp_path) == missing
    padded = " " * 5_000 + DEFINING + LISTED.format("", "&b;")
    for body in (
        padded.encode(), padded.lower().encode(), (DEFINING + plain).encode("utf-16"), plain.encode("utf-16"),
        plain.encode("utf-16-le"), plain.encode("latin-1"), b'<?xml version="1.0" encoding="latin-1"?>' +
        plain.encode("latin-1"), plain.encode() + b"\0", b'<?xml version="1.0" encoding="utf-16"?>' +
        (DEFINING + plain).encode("utf-16-be"),
    ):  # fmt: skip
        bucket.fault = (200, body)
        assert await refused(bucket, tmp_path) == ("not_s3", Intent.ASK_HUMAN), body
    bucket.fault = (503, b"<Error><Code>AccessDenied</Code></Error>")
    assert (await refused(bucket, tmp_path))[0] == "not_permitted"
    assert threads == {False}


async def test_what_cannot_work_says_why(bucket: Bucket, tmp_path: Path) -> None:
    put(bucket, "a.zip")
    wrong = {"access_key": ACCESS, "secret_key": "wrong"}
    ask = Intent.ASK_HUMAN
    for more, code in (
        ({"secrets": {}}, "no_secret"), ({"secrets": wrong}, "login_refused"),
        ({"region": "us-east-1"}, "login_refused"),
        ({"secrets": wrong | {"access_key": "AKIAOTHER"}}, "login_refused"), ({"bucket": "other"}, "folder_missing"),
        ({"now": lambda: datetime.now(UTC) - timedelta(hours=1)}, "clock_wrong"),
        ({"reachable": lambda *_: False}, "address_blocked"),
    ):  # fmt: skip
        assert await refused(bucket, tmp_path, **more) == (code, ask), more
    for status, body, code, intent in (
        (200, b"<html>", "not_s3", ask), (200, b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "not_s3", ask),
        (301, b"", "moved", ask), (403, b"", "not_permitted", ask), (500, b"", "server_failed", Intent.RETRY),
        (503, b"<Error><Code>SlowDown</Code></Error>", "server_failed", Intent.RETRY),
    ):  # fmt: skip
        bucket.fault = (status, body)
        assert await refused(bucket, tmp_path) == (code, intent)


@pytest.mark.parametrize("values", [{"bucket": "A"}, {"bucket": "../x"}, {"endpoint": "file:///etc"},
                                    {"endpoint": "https://u:p@h"}, {"region": "a/b"}])  # fmt: skip
def test_places_that_cannot_be_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="place"):
        OneRosterCsvConfig.model_validate({"place": Bucket(port=1).place() | values})
