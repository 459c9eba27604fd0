"""``hub listen`` as a process of its own against a real hub, and a real receiver that it forwards to."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from hub.webhooks import sign
from tests.api.changes.conftest import Follower
from tests.fakes.receiver import in_turn, receiver, status

#: Of an app developer: neither settings of the hub nor a database.
BARE = {name: value for name, value in os.environ.items() if not name.startswith("HUB_")}


class Listening:
    """The command as it runs. ``out`` and ``err`` hold what it printed so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.out, self.err = "", ""
        assert process.stdout is not None
        assert process.stderr is not None
        self.readers = [
            asyncio.create_task(self._read(stream, name))
            for stream, name in ((process.stdout, "out"), (process.stderr, "err"))
        ]

    async def _read(self, stream: asyncio.StreamReader, name: str) -> None:
        while data := await stream.read(65_536):
            setattr(self, name, getattr(self, name) + data.decode())

    async def until(self, pattern: str, where: str = "out", seconds: float = 20) -> str:
        try:
            async with asyncio.timeout(seconds):
                while not (found := re.search(pattern, getattr(self, where))):
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"{pattern!r} not in {where}: {self.out}\n{self.err}") from None
        return found[0]

    async def end(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return await self.ended()

    async def ended(self) -> int:
        code = await asyncio.wait_for(self.process.wait(), 20)
        await asyncio.gather(*self.readers)
        return code


@asynccontextmanager
async def listening(follower: Follower, *options: str, **environment: str) -> AsyncIterator[Listening]:
    client, secret = follower.hub.prepared.clients["lms"]
    url = ("--base-url", f"http://127.0.0.1:{follower.hub.port}", "--client-id", client)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "hub.cli", "listen", *url, *options,
        env=BARE | {"HUB_CLIENT_SECRET": secret} | environment, cwd="/",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, stdin=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    found = Listening(process)
    try:
        yield found
    finally:
        if process.returncode is None:
            process.kill()
        await found.ended()


async def test_changes_are_printed_as_they_happen_and_it_ends_with_a_position(follower: Follower) -> None:
    here = ("--district", str(follower.here))
    head = (await follower.told())["to"]
    async with listening(follower, *here, "--after", str(head)) as there:
        step = await follower.move(updated=[1], left=[2])
        await there.until(rf"{step}  syncs.completed +users \+0 ~1 -1")
        await there.until(rf"{step}  users.updated +[0-9a-f-]{{36}}")
        assert await there.end() == 0
        position = (await there.until(r"--after \S+", "err")).split()[1]
    missed = await follower.move(entered=[2])
    async with listening(follower, *here, "--after", position, "--json", "--once", "--types", "users.*") as there:
        assert await there.ended() == 0
        (answer,) = [json.loads(text) for text in there.out.splitlines()]
        assert (answer["from"], answer["to"]) == (step, missed)
        assert [c["type"] for c in answer["changes"]] == ["users.created"]


async def test_each_batch_is_forwarded_until_it_is_taken(follower: Follower) -> None:
    secret = sign.new_secret()
    async with receiver(in_turn(status(500), status(302, Location="http://127.0.0.1:9/"), status(204))) as receiving:
        first = await follower.told()
        forward = ("--forward", receiving.url, "--after", first["next"], "--district", str(follower.here))
        async with listening(follower, *forward, HUB_SIGNING_SECRET=secret) as there:
            step = await follower.move(updated=[1])
            got = await receiving.wait_for(3, 20)
            await there.until("204 in", "err")
            await follower.move(updated=[3])
            got = await receiving.wait_for(4, 20)
            await there.until(r"(?s)204 in.*204 in", "err")
            assert await there.end() == 0
        assert "500 in" in there.err
        assert secret not in there.err + there.out
    for one in got:
        one.verify(secret)
        assert set(one.data) == {"subscription", "district", "grant", "from", "to", "more", "changes"}
    assert len({one.id for one in got[:3]}) == 1
    assert len({one.body for one in got[:3]}) == 1
    assert (got[0].data["from"], got[0].data["to"], got[3].data["from"]) == (first["to"], step, step)
    alone = await follower.told(after=first["next"])
    assert got[0].data["changes"] + got[3].data["changes"] != alone["changes"]  # two batches, merged here
    assert got[0].changes[0][:2] == ("users", "updated")


async def test_all_districts_are_forwarded_one_message_each_with_a_fresh_secret(follower: Follower) -> None:
    async with receiver() as receiving:
        head = (await follower.told("/changes"))["next"]
        await follower.move(updated=[1])
        async with listening(follower, "--forward", receiving.url, "--after", head, "--once") as there:
            assert await there.ended() == 0
        secret = await there.until(r"whsec_\S+", "err")
        (got,) = receiving.received
        got.verify(secret)
        assert got.data["district"] == str(follower.here)
        assert all("district" not in change for change in got.data["changes"])


async def test_faults_are_waited_out_and_refusals_are_told(follower: Follower, tmp_path: Path) -> None:
    here = ("--district", str(follower.here))
    token = tmp_path / "token"
    token.write_text(follower.token + "\n")
    async with listening(follower, *here, "--token-file", str(token)) as there:
        await there.until("Following from p", "err")
        owner = follower.feeds.connection
        await owner.execute("UPDATE access_tokens SET revoked_at = now()")
        assert await there.ended() == 2
        assert re.search(r"(?s)Go on with: --after p.*unauthorized: ", there.err), there.err
    for options, environment, expected in (
        ((*here, "--after", "100000"), {}, "resync_required: "),
        ((*here, "--types", "nothing"), {}, "invalid_request: "),
        (here, {"HUB_CLIENT_SECRET": "wrong"}, "unauthorized: "),
        (("--district", "00000000-0000-7000-8000-000000000000"), {}, "not_found: "),
    ):
        async with listening(follower, *options, **environment) as there:
            assert await there.ended() == 2
            assert there.err.startswith(expected), there.err
            assert "Traceback" not in there.err
    dead: dict[str, Any] = {"HUB_CLIENT_SECRET": "x"}
    async with listening(follower, *here, "--base-url", "http://127.0.0.1:9", **dead) as there:
        await there.until("does not answer", "err")
        assert await there.end() == 0


async def test_a_secret_that_is_none_is_refused(follower: Follower) -> None:
    async with listening(follower, "--forward", "http://127.0.0.1:9/", HUB_SIGNING_SECRET="whsec_%") as there:
        assert await there.ended() == 2
        assert there.err.startswith("invalid_request: A signing secret")
